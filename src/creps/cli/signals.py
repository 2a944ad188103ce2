"""What Ctrl-C and SIGTERM do while a verb runs."""

from __future__ import annotations

import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from creps.parallel import Runner

__all__ = ["on_cluster", "stop_on_signals", "terminated_as_interrupted"]


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Treat SIGTERM (from a container or a job queue) like Ctrl-C, so that nothing half-written is left."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C and SIGTERM set: a service ends its step and leaves nothing half-written.

    Warnings of pydicom are not printed meanwhile: they quote values of headers.
    """
    warnings.filterwarnings("ignore", module=r"pydicom\b")
    stop = threading.Event()
    before = {one: signal.signal(one, lambda *_: stop.set()) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@contextmanager
def on_cluster(given: Sequence[str], verb: str, output: Path) -> Iterator[Runner | None]:
    """The runner that ``--slurm`` asks for, or None without it; SIGTERM cancels its jobs as Ctrl-C does."""
    if not given:
        yield None
        return
    from creps.cluster.runner import slurm_runner

    with terminated_as_interrupted(), slurm_runner(list(given), verb, output) as runner:
        yield runner
