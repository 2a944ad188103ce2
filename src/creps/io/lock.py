"""Keep a second process out of a folder."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from creps.errors import CrepsError

__all__ = ["FolderLock"]


class FolderLock:
    """A lock file beside a folder, which need not exist yet; the system releases it when the process ends.

    Args:
        folder: The folder to lock.
        held: The error to raise if another process holds the lock.
    """

    def __init__(self, folder: Path, held: CrepsError) -> None:
        self.folder, self.held = folder, held
        self._lock: FileLock | None = None

    def acquire(self) -> None:
        """Keep other processes out of the folder until `release`.

        Raises:
            CrepsError: `held`, if another process holds the lock.
        """
        place = self.folder.absolute()
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place.with_name(f".{place.name}.lock"), timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise self.held from error
        self._lock = lock

    def release(self) -> None:
        """Let other processes in again; does nothing without `acquire`."""
        if self._lock is not None:
            self._lock.release()
            Path(self._lock.lock_file).unlink(missing_ok=True)
            self._lock = None

    def __enter__(self) -> FolderLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
