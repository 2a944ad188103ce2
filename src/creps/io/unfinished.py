"""Hidden folders for what is being written, and what a killed process left in them.

Such a folder lies beside its destination, so that a rename completes the result::

    .writing-k3x9/
        HOST.lock      locked by the process that writes
        new/           what it writes
        old/NAME       what NAME was, between the two renames that replace a folder

The system releases the lock when the process ends, however it ends. The next process that writes beside it can then
tell that nobody will finish the folder: it puts back what was to be replaced, and deletes the rest. It leaves folders
of other computers alone, whose locks it may not see, and those of disks that have no locks.
"""

from __future__ import annotations

import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["PREFIX", "aside", "destination", "tidy_folder", "unfinished_folder"]

PREFIX = ".writing-"

NEW, OLD = "new", "old"


@contextmanager
def unfinished_folder(parent: Path) -> Iterator[Path]:
    """Yield an empty hidden folder in `parent`, which is deleted in the end, with everything in it.

    What killed processes left in `parent` is tidied first, once in the life of this process.

    Raises:
        OSError: `parent` cannot be written to.
    """
    _tidied_once(parent)
    holder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    lock = _locked(holder)
    try:
        (holder / NEW).mkdir()  # after the lock: without it, nobody else may judge this folder
        yield holder / NEW
    finally:
        if lock is not None:
            lock.release()
        shutil.rmtree(holder, ignore_errors=True)


def destination(path: Path) -> Path:
    """Where something within an unfinished folder will be; another path as it is. For messages."""
    for folder in path.parents:
        if folder.name == NEW and folder.parent.name.startswith(PREFIX):
            return folder.parent.parent / path.relative_to(folder)
    return path


def aside(new: Path, path: Path) -> Path:
    """Where, within the unfinished folder of `new`, what `path` was is kept until it is replaced."""
    place = new.parent / OLD
    place.mkdir(exist_ok=True)
    return place / path.name


def tidy_folder(parent: Path) -> list[str]:
    """Delete what killed processes of this computer left half-written in a folder.

    What was to be replaced, and is gone, is put back.

    Returns:
        Names of the hidden folders that were deleted.
    """
    tidied = []
    for holder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # of somebody else, or deleted by another process at this moment
            if _is_abandoned(holder):
                _put_back(holder / OLD, parent)
                shutil.rmtree(holder)
                tidied.append(holder.name)
    return tidied


@cache
def _tidied_once(parent: Path) -> None:
    tidy_folder(parent)


def _locked(holder: Path) -> BaseFileLock | None:
    """Lock a hidden folder; None where the disk has no locks."""
    from filelock import FileLock  # 60 ms, for those who write

    lock = FileLock(_lock_file(holder), thread_local=False)
    try:
        lock.acquire()
    except (OSError, NotImplementedError):
        _lock_file(holder).unlink(missing_ok=True)
        return None
    return lock


def _is_abandoned(holder: Path) -> bool:
    """Whether the process that wrote into a hidden folder has ended."""
    from filelock import FileLock, Timeout

    if not _lock_file(holder).is_file():
        return False
    lock = FileLock(_lock_file(holder), timeout=0, thread_local=False)
    try:
        lock.acquire()
    except (Timeout, NotImplementedError):
        return False
    abandoned = (holder / NEW).is_dir()
    lock.release()
    return abandoned


def _lock_file(holder: Path) -> Path:
    return holder / f"{platform.node() or 'this'}.lock"


def _put_back(old: Path, parent: Path) -> None:
    """Rename what was to be replaced to its own name, unless something has that name."""
    for kept in old.iterdir() if old.is_dir() else ():
        if not (parent / kept.name).exists():
            kept.rename(parent / kept.name)
