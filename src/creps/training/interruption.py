"""Ctrl-C, and the signals with which clusters announce the end of a job."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from creps.training.processes import Processes

__all__ = ["Interruption", "ignore_signals"]

log = logging.getLogger(__name__)

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""Ctrl-C, preemption, and SLURM's ``--signal=USR1@seconds``."""


class Interruption:
    """While it is open, a signal ends the run after the current step; a second Ctrl-C ends it at once.

    Attributes:
        signal: The first signal that came, if any.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        """Catch the signals; only a program's main thread can."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore the handlers that were there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def requested(self, processes: Processes) -> bool:
        """Whether to stop now: the same answer in every process, whichever got the signal."""
        number = processes.largest(self.signal or 0)
        self.signal = self.signal or (signal.Signals(number) if number else None)
        return number > 0

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = self.signal or signal.Signals(number)
        log.warning("%s: finishing this step, then saving (Ctrl-C again stops at once)", signal.Signals(number).name)


def ignore_signals(_: int) -> None:
    """For worker processes: the training process handles a signal to the whole group."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
