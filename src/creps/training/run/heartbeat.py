"""A line on the console at least every half minute, whatever a run is busy with."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType

__all__ = ["SILENCE_SECONDS", "Heartbeat"]

SILENCE_SECONDS = 25.0
"""After so long without a line one is written; a little less than 30, since a busy process may be late."""

log = logging.getLogger(__name__)


class Heartbeat:
    """While it is open, says what goes on whenever nothing else has been logged for a while.

    Args:
        doing: What begins.
        silence_seconds: How long nothing may be said.
    """

    def __init__(self, doing: str, silence_seconds: float = SILENCE_SECONDS) -> None:
        self._doing, self._silence = doing, silence_seconds
        self._since = self._said = time.monotonic()
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat, daemon=True)
        self._ear = _Ear(self)

    def __enter__(self) -> Heartbeat:
        logging.getLogger("creps").addHandler(self._ear)
        self._beating.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._beating.join()
        logging.getLogger("creps").removeHandler(self._ear)

    def doing(self, what: str) -> None:
        """Take note of what begins now."""
        self._doing, self._since = what, time.monotonic()

    def hear(self) -> None:
        """Take note that something was logged."""
        self._said = time.monotonic()

    def _beat(self) -> None:
        while not self._ended.wait(max(0.05, self._said + self._silence - time.monotonic())):
            now = time.monotonic()
            if now - self._said >= self._silence:
                seconds = now - self._since
                log.info("busy with %s%s", self._doing, f" for {seconds:.0f} s" if seconds >= 1 else "")
                self.hear()


class _Ear(logging.Handler):
    def __init__(self, heartbeat: Heartbeat) -> None:
        super().__init__(logging.INFO)
        self._heartbeat = heartbeat

    def emit(self, _: logging.LogRecord) -> None:
        self._heartbeat.hear()
