"""A log line at least every half minute, whatever a run is busy with."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType

__all__ = ["SILENCE_SECONDS", "Heartbeat"]

SILENCE_SECONDS = 25.0
"""Longest time without a log line; a little less than 30, since a busy process may be late."""

log = logging.getLogger(__name__)


class Heartbeat:
    """While it is open, logs what the run is busy with whenever nothing else has been logged for a while.

    Args:
        doing: What the run begins with.
        silence_seconds: Longest time without a log line.
    """

    def __init__(self, doing: str, silence_seconds: float = SILENCE_SECONDS) -> None:
        self._doing, self._silence = doing, silence_seconds
        self._since = self._last_line = time.monotonic()
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat, daemon=True)
        self._listener = _Listener(self)

    def __enter__(self) -> Heartbeat:
        logging.getLogger("creps").addHandler(self._listener)
        self._beating.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._beating.join()
        logging.getLogger("creps").removeHandler(self._listener)

    def doing(self, what: str) -> None:
        """Set what the run is busy with from now on."""
        self._doing, self._since = what, time.monotonic()

    def line_logged(self) -> None:
        """Start the time without a log line again."""
        self._last_line = time.monotonic()

    def _beat(self) -> None:
        while not self._ended.wait(max(0.05, self._last_line + self._silence - time.monotonic())):
            now = time.monotonic()
            if now - self._last_line >= self._silence:
                seconds = now - self._since
                log.info("busy with %s%s", self._doing, f" for {seconds:.0f} s" if seconds >= 1 else "")
                self.line_logged()


class _Listener(logging.Handler):
    def __init__(self, heartbeat: Heartbeat) -> None:
        super().__init__(logging.INFO)
        self._heartbeat = heartbeat

    def emit(self, _: logging.LogRecord) -> None:
        self._heartbeat.line_logged()
