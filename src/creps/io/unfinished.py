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
import time
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

BEGINNING_SECONDS = 60.0
"""A folder without `NEW` is of a process that begins or ends at this moment, or was killed while it did."""


@contextmanager
def unfinished_folder(parent: Path) -> Iterator[Path]:
    """Yield an empty hidden folder in `parent`, which is deleted in the end, with everything in it.

    What killed processes left in `parent` is tidied first, once in the life of this process.

    Raises:
        OSError: `parent` cannot be written to.
    """
    import filelock  # noqa: F401 - 60 ms, for those who write; now, so that a kill leaves no folder without a lock

    _tidied_once(parent)
    holder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    lock = _locked(holder)
    try:
        (holder / NEW).mkdir()  # after the lock: without it, nobody else may judge this folder
        yield holder / NEW
    finally:
        _end(holder, parent, lock)


def _end(holder: Path, parent: Path, lock: BaseFileLock | None) -> None:
    """Delete a hidden folder; it stays if what was to be replaced cannot be put back, as on a disk that is gone."""
    try:
        _put_back(holder / OLD, parent)
        shutil.rmtree(holder, ignore_errors=True)  # while it is locked: nobody else tidies it at the same time
    except OSError:
        return
    finally:
        if lock is not None:
            lock.release()
    shutil.rmtree(holder, ignore_errors=True)  # again, for systems that keep a file that is open


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
            if not (holder / NEW).is_dir():
                _delete_begun(holder)
            elif _is_abandoned(holder):
                _put_back(holder / OLD, parent)
                shutil.rmtree(holder)
            else:
                continue
            tidied.append(holder.name)
    return tidied


@cache
def _tidied_once(parent: Path) -> None:
    tidy_folder(parent)


def _locked(holder: Path) -> BaseFileLock | None:
    """Lock a hidden folder; None where the disk has no locks."""
    from filelock import FileLock

    lock = FileLock(_lock_file(holder), thread_local=False)
    try:
        lock.acquire()
    except (OSError, NotImplementedError):
        _lock_file(holder).unlink(missing_ok=True)
        return None
    return lock


def _delete_begun(holder: Path) -> None:
    """Delete a hidden folder that a process was killed in before or after it wrote; never what somebody put there.

    Raises:
        OSError: it is not old enough to say so, or holds something.
    """
    if time.time() - holder.stat().st_mtime < BEGINNING_SECONDS:
        raise BlockingIOError(f"{holder} may have been begun just now")
    if [one.name for one in holder.iterdir()] == [_lock_file(holder).name]:
        _lock_file(holder).unlink()
    holder.rmdir()


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
