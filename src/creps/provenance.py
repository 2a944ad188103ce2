"""What made a result: versions, hashes, machine, time."""

from __future__ import annotations

import hashlib
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["NOTICE", "provenance", "sha256_file"]

NOTICE = "Synthetic CT for research. Not for diagnosis. Not a medical device."

PACKAGES = ("creps", "torch", "torchvision", "lightning", "numpy", "scipy", "scikit-image", "SimpleITK")


def provenance() -> dict[str, Any]:
    """Versions, machine and time as plain JSON values; nothing about the patient or the user."""
    return {
        "notice": NOTICE,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "machine": {"system": platform.system(), "architecture": platform.machine()},
    }


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
