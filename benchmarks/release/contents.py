"""What must be in a wheel and an sdist of creps, and what must not."""

from __future__ import annotations

import getpass
import hashlib
import re
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path, PurePosixPath

__all__ = ["LARGEST_SDIST_MB", "LARGEST_WHEEL_MB", "sdist_faults", "wheel_faults"]

LARGEST_WHEEL_MB, LARGEST_SDIST_MB = 20.0, 30.0

SUFFIXES = {"", ".css", ".html", ".j2", ".js", ".json", ".md", ".py", ".safetensors", ".txt", ".typed", ".yaml"}
"""Of files of a wheel. No volume or picture is among them: nothing of a patient can hide in one."""

PATIENT = {".dcm", ".gz", ".hdr", ".ima", ".img", ".mha", ".mhd", ".nhdr", ".nii", ".nrrd", ".npz", ".zip"}
"""Suffixes that an sdist must not have: it ships no volume."""

NEEDED = (
    "creps/__init__.py", "creps/py.typed", "creps/presets/brain.yaml", "creps/report/vendor/niivue.umd.js",
    "creps/report/vendor/NIIVUE-LICENSE.txt", "creps/shipped/SHA256SUMS", "creps/slicer/standalone.py",
)  # fmt: skip

LICENCES = ("LICENSE", "src/creps/report/vendor/NIIVUE-LICENSE.txt")

OF_A_MACHINE = re.compile(r"(?<![\w./~-])/(?:home|root|Users|work|mnt)/[\w.-]+")
"""A path of the machine where something was made."""


def wheel_faults(wheel: Path, tracked: list[str]) -> list[str]:
    """What is wrong with the contents of a wheel, a line each.

    Args:
        wheel: The file.
        tracked: Files of the project, relative to its root.
    """
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    own = {name for name in files if ".dist-info/" not in name}
    expected = {name.removeprefix("src/") for name in tracked if name.startswith("src/creps/")}
    info = {name.split("/", 1)[1] for name in files if ".dist-info/" in name}
    faults = [f"{wheel.name}: {name} is missing." for name in sorted((expected | set(NEEDED)) - own)]
    faults += [f"{wheel.name}: {name} does not belong here." for name in sorted(own - expected)]
    faults += [f"{wheel.name}: licence {name} is missing." for name in LICENCES if f"licenses/{name}" not in info]
    faults += [
        f"{wheel.name}: {name} has a suffix that a wheel of creps does not have."
        for name in sorted(own)
        if PurePosixPath(name).suffix not in SUFFIXES
    ]
    faults += _changed_models(wheel.name, files)
    faults += _bad_metadata(wheel.name, files)
    faults += _machine_paths(wheel.name, files)
    return faults + _too_large(wheel, LARGEST_WHEEL_MB)


def sdist_faults(sdist: Path, tracked: list[str]) -> list[str]:
    """What is wrong with the contents of an sdist, a line each.

    Args:
        sdist: The file.
        tracked: Files of the project, relative to its root; all of `src`, `tests`, `benchmarks` and `docs` are wanted.
    """
    with tarfile.open(sdist) as archive:
        members = [member for member in archive.getmembers() if member.isfile()]
        files = {member.name.split("/", 1)[1]: _content(archive, member) for member in members}
    wanted = {name for name in tracked if name.split("/")[0] in ("src", "tests", "benchmarks", "docs", "deploy", ".ci")}
    wanted |= {name for name in tracked if "/" not in name and not name.startswith(".git")} - {".dockerignore"}
    faults = [f"{sdist.name}: {name} is missing." for name in sorted((wanted | {"PKG-INFO"}) - set(files))]
    extra = set(files) - set(tracked) - {"PKG-INFO"}
    faults += [f"{sdist.name}: {name} does not belong here." for name in sorted(extra)]
    faults += [
        f"{sdist.name}: {name} may be a volume of a patient."
        for name in sorted(files)
        if PurePosixPath(name).suffix.lower() in PATIENT
    ]
    return faults + _too_large(sdist, LARGEST_SDIST_MB)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return file.read() if file else b""


def _changed_models(wheel: str, files: dict[str, bytes]) -> list[str]:
    """Files of the shipped models that differ from their hashes, or are not listed."""
    listed = {}
    for line in files.get("creps/shipped/SHA256SUMS", b"").decode().splitlines():
        digest, name = line.split(maxsplit=1)
        listed[f"creps/shipped/{name.lstrip('*')}"] = digest
    faults = [
        f"{wheel}: {name} is not what SHA256SUMS says."
        for name, digest in listed.items()
        if hashlib.sha256(files.get(name, b"")).hexdigest() != digest
    ]
    weights = {name for name in files if name.endswith(".safetensors")}
    return faults + [f"{wheel}: {name} has no hash in SHA256SUMS." for name in sorted(weights - set(listed))]


def _bad_metadata(wheel: str, files: dict[str, bytes]) -> list[str]:
    (metadata,) = (text for name, text in files.items() if name.endswith(".dist-info/METADATA"))
    fields = message_from_string(metadata.decode("utf-8"))
    faults = [] if fields["License-Expression"] else [f"{wheel}: no licence expression."]
    if any(line.startswith("License ::") for line in fields.get_all("Classifier", [])):
        faults.append(f"{wheel}: a licence classifier beside a licence expression; package indexes refuse that.")
    entry = next((text for name, text in files.items() if name.endswith("entry_points.txt")), b"")
    if b"creps = creps.cli:main" not in entry:
        faults.append(f"{wheel}: no command creps.")
    return faults


def _machine_paths(wheel: str, files: dict[str, bytes]) -> list[str]:
    """Texts that name a folder of the machine where they were made, or its user; vendored ones are not ours."""
    user = getpass.getuser()
    faults = []
    for name, content in files.items():
        if name.endswith(".safetensors") or "/vendor/" in name:
            continue
        text = content.decode("utf-8", errors="replace")
        if found := OF_A_MACHINE.search(text):
            faults.append(f"{wheel}: {name} names a folder of a machine: {found[0]}.")
        if len(user) > 4 and re.search(rf"\b{re.escape(user)}\b", text):
            faults.append(f"{wheel}: {name} names the user who built it.")
    return faults


def _too_large(path: Path, most: float) -> list[str]:
    size = path.stat().st_size / 1e6
    return [f"{path.name}: {size:.1f} MB; {most:g} MB are allowed."] if size > most else []
