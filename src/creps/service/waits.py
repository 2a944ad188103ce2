"""When something that failed may be tried again: soon at first, then more and more rarely."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Waits"]

FIRST_SECONDS, LONGEST_SECONDS = 30.0, 900.0


@dataclass
class _Wait:
    until: float = 0.0
    times: int = 0


class Waits:
    """Waits by name.

    Args:
        clock: Seconds that never run backwards.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._waits: dict[str, _Wait] = {}

    def may_try(self, name: str) -> bool:
        """Whether the wait is over, or there is none."""
        return self._clock() >= self._waits.get(name, _Wait()).until

    def later(self, name: str) -> float:
        """It failed: wait, twice as long as the last time. Returns the seconds."""
        wait = self._waits.setdefault(name, _Wait())
        seconds = min(FIRST_SECONDS * 2**wait.times, LONGEST_SECONDS)
        wait.times += 1
        wait.until = self._clock() + seconds
        return seconds

    def over(self, name: str) -> None:
        """It worked."""
        self._waits.pop(name, None)
