"""Do the same for many cases in several processes; one that dies takes only its own case with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from creps.errors import CohortError
from creps.machine import cores

__all__ = ["WorkerDied", "run_all"]

Task = TypeVar("Task")
Result = TypeVar("Result")

THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)
"""Environment variables that say how many threads a library starts."""

READY = "ready"


class WorkerDied:
    """What is returned for a task whose process ended without an answer (usually: killed for memory)."""


class _Raised:
    """An exception on its way from a worker to the parent."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def run_all(
    function: Callable[[Task], Result], tasks: Sequence[Task], jobs: int
) -> Iterator[tuple[int, Result | WorkerDied]]:
    """Call `function` for every task; yield (index of the task, result) as they come.

    Workers are fresh processes, each with its share of the cores as threads. When the caller stops (an error, Ctrl-C),
    they are ended at once.

    Args:
        function: A module's function; it, the tasks and the results travel by pickle.
        tasks: What it is called with.
        jobs: Processes; 1 works in this one.

    Raises:
        CohortError: no worker can be started.
        Exception: whatever `function` raises.
    """
    if jobs <= 1 or len(tasks) <= 1:
        for index, task in enumerate(tasks):
            yield index, function(task)
        return
    jobs = min(jobs, len(tasks))
    waiting = list(enumerate(tasks))[::-1]
    crew = [_Worker(function, max(1, cores() // jobs)) for _ in range(jobs)]
    try:
        while waiting or any(worker.index is not None for worker in crew):
            for worker in crew:
                if worker.index is None and waiting:
                    worker.give(*waiting.pop())
            busy = {worker.connection: worker for worker in crew if worker.index is not None}
            for connection in wait(list(busy)):
                worker = busy[connection]  # type: ignore[index]
                answer = worker.answer()
                if answer is not None:
                    yield answer
                if not worker.alive:
                    crew[crew.index(worker)] = _Worker(function, max(1, cores() // jobs))
    finally:
        for worker in crew:
            worker.end()


class _Worker:
    """A process and what it is at."""

    def __init__(self, function: Callable[[Any], Any], threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_serve, args=(theirs, function), daemon=True)
        self.index: int | None = None
        self.alive, self.started = True, False
        with _threads(threads):
            self.process.start()
        theirs.close()

    def give(self, index: int, task: Any) -> None:
        """Send it a task."""
        self.index = index
        with suppress(OSError):  # it has died; `answer` will say so
            self.connection.send((index, task))

    def answer(self) -> tuple[int, Any] | None:
        """(index, result) of its task; None if it has only said that it is there."""
        index = self.index
        try:
            reply = self.connection.recv()
        except (EOFError, OSError):
            reply, self.alive = WorkerDied(), False
            if not self.started:
                raise CohortError(
                    "The processes that prepare cases cannot be started.",
                    "Use one job; a script needs its calls below 'if __name__ == \"__main__\":'.",
                ) from None
        if reply == READY:
            self.started = True
            return None
        if isinstance(reply, _Raised):
            raise reply.error
        self.index = None
        return None if index is None else (index, reply)

    def end(self) -> None:
        """Stop the process now."""
        self.connection.close()
        self.process.terminate()
        self.process.join()
        self.process.close()


def _serve(connection: Connection, function: Callable[[Any], Any]) -> None:
    """The worker's loop: until the parent has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    try:
        connection.send(READY)
        while True:
            _, task = connection.recv()
            try:
                reply = function(task)
            except Exception as error:  # noqa: BLE001 - it is raised again in the parent
                reply = _Raised(error)
            connection.send(reply)
    except (EOFError, OSError):
        return


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Processes started inside get `count` threads per library."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, str(count)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
