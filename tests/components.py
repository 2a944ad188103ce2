"""What some tests need beside Python: other programs and real volumes. A user has none of them, CI has all.

Without one of them a test is skipped. If the environment variable CREPS_REQUIRE names it (comma-separated, ``all`` for
every one), the test fails instead, so that CI cannot lose its checks without a sound.
"""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"

HOW_TO_GET = {
    "shared": f"Put the folder of real volumes at {SHARED}.",
    "dciodvfy": "Install dicom3tools.",
    "dcmcjpeg": "Install dcmtk.",
    "Orthanc": "Install orthanc.",
    "systemd-analyze": "Install systemd.",
    "chromium": "Install chromium (Debian: chromium).",
    "medcon": "Install XMedCon (Debian: medcon).",
    "strace": "Install strace.",
    "pyRadPlan": "Install creps[dose].",
    "mkdocs": "Install creps[docs].",
    "slurmctld": "Install munge, slurmctld, slurmd and slurm-client, and run the tests as root.",
    "submitit": "Install creps[cluster].",
    "hatchling": "Install creps[release].",
    "cyclonedx": "Install creps[release].",
}
"""Component → how to come by it."""


SLURM = ("munged", "slurmctld", "slurmd", "sbatch")

PACKAGES = ("pyRadPlan", "submitit", "mkdocs", "hatchling", "cyclonedx")


def is_there(name: str) -> bool:
    if name in PACKAGES:
        return find_spec(name) is not None
    if name == "slurmctld":
        return os.name == "posix" and os.getuid() == 0 and all(map(shutil.which, SLURM))
    return SHARED.is_dir() if name == "shared" else shutil.which(name) is not None


def required() -> set[str]:
    """Components that CREPS_REQUIRE names."""
    names = {name.strip() for name in os.environ.get("CREPS_REQUIRE", "").split(",") if name.strip()}
    unknown = names - {*HOW_TO_GET, "all"}
    if unknown:
        raise pytest.UsageError(
            f"CREPS_REQUIRE names {', '.join(sorted(unknown))}. It takes {', '.join(HOW_TO_GET)} or all."
        )
    return set(HOW_TO_GET) if "all" in names else names


def need(*names: str) -> None:
    """Skip the test that calls this, or fail it where CREPS_REQUIRE names the missing component."""
    for name in names:
        if not is_there(name):
            reason = f"{name} is missing. {HOW_TO_GET[name]}"
            pytest.fail(reason, pytrace=False) if name in required() else pytest.skip(reason)
