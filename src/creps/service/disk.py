"""The folder of a service: private where the disk can, and never filled to the last byte."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from creps.errors import InputError
from creps.io.unfinished import PREFIX, tidy_folder

__all__ = [
    "DAY_SECONDS",
    "GB",
    "MB",
    "make_private",
    "move_synced",
    "private_folder",
    "space_left",
    "tidy_writing",
    "write_synced",
]

MB, GB = 1e6, 1e9
DAY_SECONDS = 86_400.0

FOLDER_MODE, FILE_MODE = 0o700, 0o600

PART = ".part"


def private_folder(path: Path, *, private: bool = True) -> Path:
    """Make a folder that only its owner may enter, where the disk has modes.

    Args:
        path: The folder.
        private: Leave the modes as they are if not.

    Raises:
        InputError: it cannot be made, or is a file.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"The folder {path} cannot be made: {error.strerror}.", "Name a folder that this user may write."
        ) from error
    if private:
        _restrict(path, FOLDER_MODE)
    return path


def make_private(path: Path) -> None:
    """Take a file, or a folder with all in it, from other users, where the disk has modes."""
    for place in (path, *path.rglob("*")) if path.is_dir() else (path,):
        _restrict(place, FOLDER_MODE if place.is_dir() else FILE_MODE)


def _restrict(path: Path, mode: int) -> None:
    with suppress(OSError, NotImplementedError):
        path.chmod(mode)


def write_synced(folder: Path, content: bytes) -> Path:
    """Write a private file under a name of its own, which `move_synced` then gives its place.

    Raises:
        OSError: it cannot be written; nothing is left.
    """
    descriptor, name = tempfile.mkstemp(prefix=".", suffix=PART, dir=folder)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


def move_synced(temporary: Path, path: Path) -> None:
    """Give a file its place: when this returns, it survives a power cut.

    Raises:
        OSError: it cannot be moved.
    """
    temporary.replace(path)
    with suppress(OSError):  # not every disk syncs folders
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def space_left(folder: Path) -> float:
    """Free space of the folder's disk in GB."""
    return shutil.disk_usage(folder).free / GB


def tidy_writing(folder: Path) -> None:
    """Delete what a killed process left half-written in a folder of the service's own, and below it."""
    for holder in list(folder.rglob(f"{PREFIX}*")):
        tidy_folder(holder.parent)
    for left in list(folder.rglob(f"{PREFIX}*")):
        shutil.rmtree(left, ignore_errors=True)
    for left in list(folder.rglob(f".*{PART}")):
        with suppress(OSError):
            left.unlink()
