"""Provenance of a result: versions, hashes, machine, time."""

from __future__ import annotations

import hashlib
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["NOTICE", "installed_version", "provenance", "sha256_file"]

NOTICE = "Synthetic CT for research. Not for diagnosis. Not a medical device."

PACKAGES = ("creps", "torch", "torchvision", "numpy", "scipy", "scikit-image", "SimpleITK")


def provenance() -> dict[str, Any]:
    """Versions, machine and time as plain JSON values, without anything about the patient or the user."""
    versions = {name: installed_version(name) or "not installed" for name in PACKAGES}
    return {
        "notice": NOTICE,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **versions},
        "machine": {"system": platform.system(), "architecture": platform.machine()},
    }


def sha256_file(path: Path) -> str:
    """SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def installed_version(package: str) -> str | None:
    """Version of a package; None if it is not installed."""
    from importlib.metadata import PackageNotFoundError, version  # takes longer than all else of `import creps`

    try:
        return version(package)
    except PackageNotFoundError:
        return None
