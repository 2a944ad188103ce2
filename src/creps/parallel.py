"""Call a function for many cases in several processes; a process that dies costs only its own case.

A `ProcessPoolExecutor` is broken for good when one of its processes dies, so each process is an executor of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any, Generic, Protocol, TypeVar

from creps.errors import CohortError
from creps.machine import cores

__all__ = [
    "THREADS",
    "Runner",
    "Work",
    "WorkerDied",
    "begin_worker",
    "end_executor",
    "is_lost",
    "run_all",
    "script_hidden",
]

Task = TypeVar("Task")
Result = TypeVar("Result")

THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)
"""Environment variables that limit the threads of numerical libraries."""


POLL_SECONDS = 1.0
"""`run_all` checks this often whether to stop."""


@dataclass(frozen=True)
class WorkerDied:
    """The result of a task whose process ended without an answer (usually killed for lack of memory).

    Attributes:
        how: What happened to the process, for a message.
        remedy: What to do about it.
    """

    how: str = "was killed, probably for lack of memory"
    remedy: str = "Run it again with fewer jobs."


class Work(ABC, Generic[Task, Result]):
    """A function of one task that is applied to many; it and its tasks can be pickled.

    Its other methods let a `Runner` reuse results of an earlier run. By default none is reused.
    """

    @abstractmethod
    def do(self, task: Task) -> Result:
        """Compute the result of one task."""

    @abstractmethod
    def lost(self, task: Task, died: WorkerDied) -> Result:
        """The result of a task whose process died again and again."""

    def key(self, task: Task) -> str | None:  # noqa: ARG002
        """Everything that the result depends on, as text; None if it is never reused unchecked."""
        return None

    def failed(self, result: Result) -> bool:  # noqa: ARG002
        """Whether a result means that the task failed; a later run then tries again."""
        return False

    def trace(self, task: Task) -> str | None:  # noqa: ARG002
        """Identifies the output that lies at the task's location, such as its hash; None if there is none."""
        return None

    def found(self, task: Task) -> Result | None:  # noqa: ARG002
        """The result, read from the output at the task's location; None if something else wrote that output."""
        return None


class Runner(Protocol):
    """Does a `Work` for all its tasks elsewhere, such as on a cluster; the counterpart of `run_all`."""

    def __call__(self, work: Work[Task, Result], tasks: Sequence[Task]) -> Iterator[tuple[int, Result]]:
        """Yield (index of the task, result) as results arrive."""
        ...

    def knows(self, work: Work[Task, Result], task: Task) -> bool:
        """Whether an earlier run that was interrupted wrote the output of this task."""
        ...


def run_all(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    jobs: int,
    stops: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[int, Result | WorkerDied]]:
    """Call `function` for every task; yield (index of the task, result) as results arrive.

    Workers are new processes that share the cores evenly. Unlike Python's own, they do not run the caller's script
    again, unless `function` is in it. If the caller stops (an error, Ctrl-C), they end at once.

    Args:
        function: A function of a module; it, the tasks and the results are pickled.
        tasks: Its arguments.
        jobs: Number of processes; with 1, the calls are made in this process.
        stops: Whether to stop, asked every second and between calls in this process; running calls are abandoned.

    Raises:
        CohortError: no process can be started.
        Exception: whatever `function` raises.
    """
    if jobs <= 1 or len(tasks) <= 1:
        for index, task in enumerate(tasks):
            if stops():
                return
            yield index, function(task)
        return
    jobs = min(jobs, len(tasks))
    waiting = iter(enumerate(tasks))
    script = function.__module__ == "__main__"
    workers = [_Worker(max(1, cores() // jobs), script=script) for _ in range(jobs)]
    running: dict[Future[Result], tuple[_Worker, int]] = {}
    try:
        for worker, (index, task) in zip(workers, waiting):  # noqa: B905 - the other tasks wait
            running[worker.submit(function, task)] = worker, index
        while running and not stops():
            done = wait(running, POLL_SECONDS, FIRST_COMPLETED).done
            if any(worker.is_lost(future) for future, (worker, _) in running.items()):
                raise CohortError(
                    "The work cannot go on in other processes: this one could not start a thread.",
                    "Usually there is too little memory. Close other programs, or use fewer jobs.",
                )
            for future in done:
                worker, index = running.pop(future)
                result = worker.result(future)
                for following, task in waiting:
                    running[worker.submit(function, task)] = worker, following
                    break
                yield index, result
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    """An executor with one process, which is replaced when it dies.

    Args:
        threads: Threads for each numerical library in it.
        script: Whether it needs what the caller's script defines.
    """

    def __init__(self, threads: int, *, script: bool) -> None:
        self.threads, self.script = threads, script
        self._start()

    def _start(self) -> None:
        self._executor = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), begin_worker)
        with _thread_limit(self.threads), nullcontext() if self.script else script_hidden():
            self._pid = self._executor.submit(os.getpid)  # starts the process

    def submit(self, function: Callable[[Any], Result], task: Any) -> Future[Result]:
        """Start a task."""
        try:
            return self._executor.submit(function, task)
        except BrokenProcessPool:  # it died between two tasks
            self._start()
            return self._executor.submit(function, task)

    def result(self, future: Future[Result]) -> Result | WorkerDied:
        """The result of a finished task; an exception in it is raised."""
        try:
            return future.result()
        except BrokenProcessPool:
            if self._pid.exception() is not None:
                raise CohortError(
                    "No further process can be started.",
                    "Use one job (jobs=1); in a script, call this below 'if __name__ == \"__main__\":'.",
                ) from None
            self.end()
            self._start()
            return WorkerDied()

    def is_lost(self, future: Future[Any]) -> bool:
        """Whether a task of it will never end; see `is_lost`."""
        return is_lost(self._executor, future)

    def end(self) -> None:
        """Stop the process now."""
        end_executor(self._executor, self._pid)


def is_lost(executor: ProcessPoolExecutor, future: Future[Any]) -> bool:
    """Whether a task will neither end nor fail: the thread that serves its executor died.

    So it does where no memory is left for another thread. Python sets no exception in the tasks, and has no public name
    for the thread.
    """
    thread = getattr(executor, "_executor_manager_thread", None)
    return thread is not None and not thread.is_alive() and not future.done()  # in this order: its last act may end it


def end_executor(executor: ProcessPoolExecutor, pid: Future[int]) -> None:
    """Stop the one process of an executor now, whatever it does.

    Args:
        executor: With one process.
        pid: Its first task, `os.getpid`.
    """
    while not wait([pid], POLL_SECONDS).done and not is_lost(executor, pid):
        pass
    for process in _processes(executor, pid):
        process.kill()
        process.join()
    executor.shutdown(cancel_futures=True)


def _processes(executor: ProcessPoolExecutor, pid: Future[int]) -> list[BaseProcess]:
    """The process of an executor, as it said itself; if it never came to that, as the executor knows it."""
    if pid.done():
        own = {pid.result()} if pid.exception() is None else set()  # else it is gone
    else:
        own = set(getattr(executor, "_processes", None) or ())
    return [process for process in multiprocessing.active_children() if process.pid in own]


def begin_worker() -> None:
    """First call in a worker's process: Ctrl-C is the parent's, and it ends with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    """A killed parent cannot end its processes, and they would wait for its next task for ever."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)


@contextmanager
def script_hidden() -> Iterator[None]:
    """Processes that are started inside do not run the caller's script, which may lack a guard for that."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


@contextmanager
def _thread_limit(count: int) -> Iterator[None]:
    """Limit the threads of processes that are started inside."""
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
