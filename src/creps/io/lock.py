"""Keep a second process out of a folder."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import TracebackType

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from creps.errors import CrepsError

__all__ = ["FolderLock"]


class FolderLock:
    """A lock file beside a folder, which need not exist yet; the system releases it when the process ends.

    Where the disk has no locks, the file itself is the lock.

    Args:
        folder: The folder to lock.
        held: The error to raise if another process holds the lock.
    """

    def __init__(self, folder: Path, held: CrepsError) -> None:
        self.folder, self.held = folder, held
        self._lock: BaseFileLock | None = None

    def acquire(self) -> None:
        """Keep other processes out of the folder until `release`.

        Raises:
            CrepsError: `held`, if another process holds the lock.
            OSError: the folder cannot be written to.
        """
        place = self.folder.absolute()
        place.parent.mkdir(parents=True, exist_ok=True)
        path = place.with_name(f".{place.name}.lock")
        was_there = path.exists()
        try:
            self._lock = _acquired(FileLock(path, timeout=0))
        except Timeout as error:
            raise self.held from error
        except (OSError, NotImplementedError):
            if not was_there:
                path.unlink(missing_ok=True)  # made, but not locked
            try:
                self._lock = _acquired(SoftFileLock(path, timeout=0))
            except Timeout as error:
                raise self.held from error
            except OSError as error:  # the name of the lock means nothing to users
                raise OSError(error.errno or 0, error.strerror or str(error), str(self.folder)) from error

    def release(self) -> None:
        """Let other processes in again; does nothing without `acquire`."""
        if self._lock is not None:
            path = Path(self._lock.lock_file)
            if not isinstance(self._lock, SoftFileLock):
                with suppress(OSError):  # not every system deletes an open file
                    path.unlink(missing_ok=True)  # while it is held: released, it may be another process's already
            self._lock.release()
            self._lock = None

    def __enter__(self) -> FolderLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _acquired(lock: BaseFileLock) -> BaseFileLock:
    lock.acquire()
    return lock
