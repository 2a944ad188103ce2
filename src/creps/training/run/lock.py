"""One run a folder: what keeps a second one out."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from creps.errors import OutputExistsError

__all__ = ["RunLock"]


class RunLock:
    """A lock beside a run's folder, so that the folder need not be there yet.

    Args:
        path: The run's folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: FileLock | None = None

    def hold(self) -> None:
        """Keep every other run out of the folder until `release`, or until this process ends.

        Raises:
            OutputExistsError: another run is going on in it.
        """
        place = self.path.absolute()
        place.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(place.with_name(f".{place.name}.lock"), timeout=0)
        try:
            self._lock.acquire()
        except Timeout as error:
            self._lock = None
            raise OutputExistsError(
                f"Another process is training in {self.path}.", "Wait for it, or name another folder."
            ) from error

    def release(self) -> None:
        """Let other runs in again; does nothing in a process that did not `hold`."""
        if self._lock is not None:
            self._lock.release()
            Path(self._lock.lock_file).unlink(missing_ok=True)
            self._lock = None
