"""Ctrl-C and the signals with which clusters announce that a job must go."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

import torch
from lightning.fabric import Fabric

__all__ = ["Interruption", "ignore_signals"]

log = logging.getLogger(__name__)

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""Ctrl-C, preemption, and SLURM's ``--signal=USR1@seconds``."""


class Interruption:
    """While it is open, the first signal is noted for the end of the step; a second Ctrl-C works as ever.

    Attributes:
        signal: What was noted.
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
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def requested(self, fabric: Fabric) -> bool:
        """Whether to stop now: the same answer in every process."""
        if fabric.world_size == 1:
            return self.signal is not None
        number = torch.tensor(float(self.signal or 0), device=fabric.device)
        agreed = int(fabric.all_reduce(number, reduce_op="max"))  # type: ignore[arg-type]
        if agreed and self.signal is None:
            self.signal = signal.Signals(agreed)
        return agreed > 0

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = self.signal or signal.Signals(number)
        log.warning("%s: finishing this step, then saving (Ctrl-C again stops at once)", signal.Signals(number).name)


def ignore_signals(_: int) -> None:
    """For worker processes: a signal to the whole group is the parent's business."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
