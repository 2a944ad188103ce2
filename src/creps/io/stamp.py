"""Detect that an image on disk may have changed, without reading it."""

from __future__ import annotations

from pathlib import Path

from creps.io.itk import stem

__all__ = ["stamp"]


def stamp(path: Path) -> str:
    """Paths, sizes and times of change of an image's files: all of a folder, of a file also the data beside a header.

    Args:
        path: A volume file, or a folder of DICOM files; it need not exist.
    """
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.is_file()]
    else:
        name = stem(path)
        files = [file for file in path.parent.glob("*") if stem(file) == name] if path.parent.is_dir() else []
    return "\n".join(_line(file) for file in sorted(files))


def _line(file: Path) -> str:
    status = file.stat()
    return f"{file.absolute()} {status.st_size} {status.st_mtime_ns}"
