"""What a job does: its tasks one after the other, apart from those that are whole already."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from creps.cluster.folder import Ended, JobFolder, Message, Started
from creps.errors import CrepsError
from creps.parallel import Work

__all__ = ["run_shard"]


def run_shard(folder: Path, work_file: Path, shard: Sequence[int], level: int) -> None:
    """Do some tasks of a run; called by submitit in a job.

    Args:
        folder: The job folder.
        work_file: The work, its tasks and their keys (`JobFolder.write_work`).
        shard: Index of each task.
        level: Lowest level of messages that the user asked for.
    """
    _handle_signals()
    place = JobFolder(folder)
    work, tasks, keys = pickle.loads(work_file.read_bytes())
    with _Messages(level) as messages:
        for index in shard:
            if place.ended(keys[index]) is None:
                result = _done(work, tasks[index], keys[index], place)
                place.end(keys[index], Ended(**result, messages=messages.taken(), trace=work.trace(tasks[index])))


def _done(work: Work[Any, Any], task: Any, key: str, place: JobFolder) -> dict[str, Any]:
    """Do a task, unless a job that was killed at that moment has already written its output."""
    earlier, trace = place.started(key), work.trace(task)
    if earlier is not None and trace != earlier.trace and (found := work.found(task)) is not None:
        return {"result": found}
    place.start(key, Started(trace if earlier is None else earlier.trace, _job()))
    try:
        return {"result": work.do(task)}
    except Exception as error:  # noqa: BLE001 - the process that waits raises it
        if not isinstance(error, CrepsError):
            traceback.print_exc()
        return {"raised": _portable(error)}


def _portable(error: Exception) -> Exception:
    """The error, or one with its text if it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - whatever an error's own methods raise
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _job() -> str:
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ.get("SLURM_JOB_ID", "")


def _handle_signals() -> None:
    """Leave at SIGTERM, which submitit ignores, so that no half-written file stays.

    Its own signal, 90 s before the time limit, would end a case that may still be finished.
    """
    signal.signal(signal.SIGTERM, _leave)
    if hasattr(signal, "SIGUSR2"):
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def _leave(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


class _Messages(logging.Handler):
    """Collects what creps logs, and writes it into the job's log as the command line would.

    Args:
        level: Lowest level of messages.
    """

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._messages: list[Message] = []
        self._log = logging.StreamHandler()
        self._log.setFormatter(logging.Formatter("%(asctime)s  %(message)s", datefmt="%H:%M:%S"))

    def __enter__(self) -> _Messages:
        logger = logging.getLogger("creps")
        logger.handlers[:] = [self, self._log]
        logger.setLevel(self.level)
        logger.propagate = False
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("creps").handlers[:] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self._messages.append((record.name, record.levelno, record.getMessage()))

    def taken(self) -> tuple[Message, ...]:
        """The messages since the last call."""
        messages, self._messages = tuple(self._messages), []
        return messages
