"""One process that synthesizes: it can run out of memory or time, or be killed, and the service goes on."""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from creps.errors import CrepsError
from creps.parallel import begin_worker, end_executor, is_lost, script_hidden

__all__ = ["Worker", "WorkerEndedError"]

Given = TypeVar("Given")
Result = TypeVar("Result")

TASKS = 100
"""After as many tasks a fresh process takes over: whatever a library leaks is bounded."""


class WorkerEndedError(CrepsError):
    """The process ended without an answer."""


class Worker:
    """A process that is started when it is needed, and replaced after `TASKS` tasks or when it dies."""

    def __init__(self) -> None:
        self._executor: ProcessPoolExecutor | None = None
        self._pid: Future[int] | None = None
        self._tasks = 0

    def submit(self, function: Callable[[Given], Result], given: Given) -> Future[Result]:
        """Start a task; `function` is one of a module."""
        if self._tasks >= TASKS:
            self.end()
        try:
            return self._running().submit(function, given)
        except BrokenProcessPool:  # it died between two tasks
            self.end()
            return self._running().submit(function, given)
        finally:
            self._tasks += 1

    def _running(self) -> ProcessPoolExecutor:
        if self._executor is None:
            self._executor = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin)
            self._tasks = 0
            with script_hidden():
                self._pid = self._executor.submit(os.getpid)  # starts the process
        return self._executor

    def answer(self, future: Future[Result]) -> Result:
        """The result of a task; waits for it.

        Raises:
            WorkerEndedError: the process ended without one.
            Exception: what the task raised.
        """
        try:
            return future.result()
        except BrokenProcessPool as error:
            self.end()
            raise WorkerEndedError(
                "The process that synthesizes ended without an answer.", "Usually the machine had too little memory."
            ) from error

    def end(self) -> None:
        """Stop the process now, whatever it does."""
        if self._executor is None or self._pid is None:
            return
        end_executor(self._executor, self._pid)
        self._executor = None

    def is_lost(self, future: Future[Result]) -> bool:
        """Whether a task will never end; see `creps.parallel.is_lost`."""
        return self._executor is not None and is_lost(self._executor, future)


def _begin() -> None:
    begin_worker()
    logging.getLogger("creps").addHandler(logging.NullHandler())  # what it finds is in its answers
