"""Ctrl-C, and the signals with which clusters announce the end of a job."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from creps.training.processes import Processes

__all__ = ["Interruption", "StepInterruptedError", "ignore_signals"]

log = logging.getLogger(__name__)

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""Ctrl-C, preemption, and SLURM's ``--signal=USR1@seconds``."""


class StepInterruptedError(Exception):
    """A signal came during a step that may be dropped."""


class Interruption:
    """While it is open, a signal ends the run after the current step, or within a long one; a second ends it at once.

    Attributes:
        signal: The first signal that came, if any.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[int, Any] = {}
        self._raises = False
        self._sockets: tuple[socket.socket, socket.socket] | None = None
        self._wakeup_before = -1

    def __enter__(self) -> Interruption:
        """Catch the signals; only a program's main thread can."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
            reader, writer = self._sockets = socket.socketpair()
            writer.setblocking(False)
            self._wakeup_before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
            threading.Thread(target=_end_with_the_second, args=(reader,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore the handlers that were there before."""
        if self._sockets is not None:
            signal.set_wakeup_fd(self._wakeup_before)
            self._sockets[1].close()
            self._sockets = None
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def requested(self, processes: Processes) -> bool:
        """Whether to stop now: the same answer in every process, whichever got the signal."""
        number = processes.largest(self.signal or 0)
        self.signal = self.signal or (signal.Signals(number) if number else None)
        return number > 0

    @contextmanager
    def within(self, *, allowed: bool) -> Iterator[None]:
        """Do something that a signal stops wherever it is, if that is allowed.

        Raises:
            StepInterruptedError: a signal came; networks may be half updated.
        """
        if not allowed or not self._before:
            yield
            return
        hook = register_module_forward_hook(_stoppable_backward)
        self._raises = True
        try:
            if self.signal is not None:
                raise StepInterruptedError
            yield
        finally:
            self._raises = False
            hook.remove()

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.signal is not None:
            return  # a second one, which the watching thread obeys
        self.signal = signal.Signals(number)
        doing = "dropping this step" if self._raises else "finishing this step, then saving"
        log.warning("%s: %s (a second signal stops at once)", self.signal.name, doing)
        if self._raises:
            self._raises = False
            raise StepInterruptedError


def ignore_signals(_: int) -> None:
    """For worker processes: the training process handles a signal to the whole group."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _stoppable_backward(_: nn.Module, __: Any, output: Any) -> None:
    """Let Python run, and so its signal handlers, at every layer of a backward pass."""
    if isinstance(output, torch.Tensor) and output.requires_grad:
        output.register_hook(_nothing)


def _nothing(_: torch.Tensor) -> None:
    return None


def _end_with_the_second(reader: socket.socket) -> None:
    """End the process with the second signal, whatever it is doing: what is written is whole or is not there."""
    seen = 0
    with reader, suppress(OSError):
        while numbers := reader.recv(16):
            for number in numbers:
                seen += number in SIGNALS
                if seen > 1:
                    sys.stderr.write(f"{signal.Signals(number).name} again: stopped at once.\n")
                    sys.stderr.flush()
                    os._exit(128 + number)
