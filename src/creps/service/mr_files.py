"""Which files make up an MR, and what stands for their content: if they change, it is another MR."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from creps.service.hashing import Hasher

__all__ = ["fingerprint_of_file", "fingerprint_of_series", "loose_files", "with_data"]

HEADERS = (".mhd", ".nhdr")
"""Volume files whose voxels are in another file."""


def loose_files(folder: Path) -> list[Path]:
    """The files in a folder itself that are neither hidden nor volumes nor the data of one: single DICOM files."""
    from creps.io.itk import is_volume_file

    files = [one for one in sorted(folder.iterdir()) if one.is_file() and not one.name.startswith(".")]
    volumes = {data for one in files if is_volume_file(one) for data in with_data(one)}
    return [one for one in files if one not in volumes]


def with_data(path: Path) -> list[Path]:
    """A volume file; for a header also the files of its name beside it, one of which has the voxels."""
    if path.suffix.lower() not in HEADERS:
        return [path]
    others = path.parent.glob(f"{glob.escape(path.stem)}.*")
    return [path, *sorted(one for one in others if one.is_file() and one.suffix.lower() not in (*HEADERS, ".json"))]


def fingerprint_of_file(path: Path, hasher: Hasher) -> str:
    """Hash the content of a volume file; for a header also that of its data file."""
    from creps.provenance import sha256_file

    return hasher.fingerprint(sha256_file(one) for one in with_data(path))


def fingerprint_of_series(files: Sequence[Path], hasher: Hasher) -> str:
    """Hash the SOPInstanceUIDs of a series, whatever its files are named.

    Raises:
        InputError: a file cannot be read.
    """
    from creps.io.dicom.read.headers import read_header

    headers = [header for path in files if (header := read_header(path)) is not None]
    return hasher.fingerprint(hasher.of(str(header.dataset.get("SOPInstanceUID", ""))) for header in headers)
