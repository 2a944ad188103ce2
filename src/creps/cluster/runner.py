"""`SlurmRunner`: does the tasks of a verb in jobs, restarts killed ones, and continues where it was interrupted."""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from creps.cluster.folder import Ended, JobFolder, hashed, log_again
from creps.cluster.options import Given, SlurmOptions, slurm_options
from creps.cluster.queue import OVER, Queue, check_slurm
from creps.cluster.retries import Retries
from creps.cluster.shard import run_shard
from creps.errors import ClusterError, CrepsError, InputError, RunInterruptedError
from creps.io.lock import FolderLock
from creps.parallel import Runner, Work, WorkerDied
from creps.provenance import installed_version

__all__ = ["SlurmRunner", "slurm_runner"]

Task = TypeVar("Task")
Result = TypeVar("Result")

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""Time between two searches of the folder for results."""

LAST_SECONDS = 20.0
"""How long a job may take to end after its last result."""

ASK_SECONDS = 15.0
"""Longest time between two questions to SLURM; shorter at first, so that a wrong start is noticed soon."""


def slurm_runner(given: Given | None, verb: str, output: Path | str) -> AbstractContextManager[Runner | None]:
    """Make the runner for a verb, to be used in a ``with`` block; without options of SLURM it is None.

    Args:
        given: What is asked of SLURM (`slurm_options`), or None.
        verb: Such as ``synthesize``: part of the names of the jobs.
        output: What the verb writes or reads; the job folder lies beside it unless the options name another.

    Raises:
        SettingsError: a wrong option.
        ClusterError: SLURM or submitit is missing.
        InputError: the options or the folder cannot be used.
    """
    if given is None:
        return nullcontext()
    options = slurm_options(given)
    check_slurm()
    place = Path(output).absolute()
    return SlurmRunner(options, verb, options.folder or place.with_name(f"{place.name}.slurm"))


class SlurmRunner:
    """Does work in jobs of SLURM; a context manager, which at its end cancels what still runs.

    The job folder is deleted once every task has succeeded. Otherwise it stays with the logs, and the next run of the
    same command reuses its results.

    Args:
        options: What each job asks for.
        verb: Part of the names of the jobs.
        folder: The job folder; every node has to see it.
    """

    def __init__(self, options: SlurmOptions, verb: str, folder: Path) -> None:
        self.options = options
        self.place = JobFolder(folder.absolute())
        self.queue = Queue(options, self.place.jobs, f"creps-{verb}")
        held = InputError(f"{folder} is used by another run.", "Wait for it, or name another: --slurm folder=DIR.")
        self._lock = FolderLock(self.place.path, held)
        self._running: dict[str, list[int]] = {}
        self._tasks = self._done = 0
        self._reusable = self._former = self._logs_needed = False
        self._last_logged = ""

    def __enter__(self) -> SlurmRunner:
        self._lock.acquire()
        try:
            self.place.create()
            self._former = bool(self.place.all_ended())
            former = self.place.former_jobs()
            if not self.queue.cancel(former):
                raise ClusterError(
                    f"Jobs of an earlier run still run: {', '.join(sorted(former))}.",
                    f"End them: scancel {' '.join(sorted(former))}.",
                )
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel what still runs; delete the job folder, or say what it is kept for."""
        try:
            self._end() if error is None else self._cancel()
            whole = error is None and self._done == self._tasks
            useful = self._logs_needed or self._former or (self._reusable and self._done > 0)
            if whole or not useful:
                self.place.delete()
            elif error is None:
                log.warning(
                    "%s keeps the logs of the jobs and the results: run the same again to go on, or delete it",
                    self.place.path,
                )
        finally:
            self._lock.release()
        if isinstance(error, KeyboardInterrupt):
            raise RunInterruptedError(
                f"Interrupted: {self._done} of {self._tasks} cases are done, and the jobs are cancelled.",
                "Run the same command again to go on.",
            ) from error

    def __call__(self, work: Work[Task, Result], tasks: Sequence[Task]) -> Iterator[tuple[int, Result]]:
        """Yield (index of the task, result) as results arrive; those of an earlier run come first.

        Raises:
            ClusterError: SLURM refuses the jobs, or they end before they start a task.
            Exception: whatever the work raises.
        """
        keys = [_key(work, task) for task in tasks]
        self._tasks += len(tasks)
        self._reusable |= any(work.key(task) is not None for task in tasks[:1])
        left = []
        for index, task in enumerate(tasks):
            ended = self.place.ended(keys[index])
            if ended is not None and _still_good(work, task, ended):
                yield index, self._result(work, ended)
            else:
                self.place.forget(keys[index])
                left.append(index)
        if len(left) < len(tasks):
            log.info("%d of %d cases were done by an earlier run", len(tasks) - len(left), len(tasks))
        try:
            for index, answer in self._in_jobs(work, tasks, keys, left):
                if isinstance(answer, WorkerDied):
                    yield index, work.lost(tasks[index], answer)
                else:
                    yield index, self._result(work, answer)
        except GeneratorExit:  # the caller has every result; `__exit__` sees to the jobs
            raise
        except BaseException:
            self._cancel()
            raise

    def knows(self, work: Work[Task, Result], task: Task) -> bool:
        """Whether an earlier run that was interrupted wrote the output of this task."""
        key, trace = _key(work, task), work.trace(task)
        ended, started = self.place.ended(key), self.place.started(key)
        if ended is not None and ended.trace == trace:
            return True
        return started is not None and trace != started.trace and work.found(task) is not None

    def _result(self, work: Work[Task, Result], ended: Ended) -> Result:
        log_again(ended.messages)
        if ended.raised is not None:
            self._logs_needed |= not isinstance(ended.raised, CrepsError)  # its traceback is in the log of the job
            raise ended.raised
        result: Result = ended.result
        if not work.failed(result):
            self._done += 1
        return result

    def _in_jobs(
        self, work: Work[Task, Result], tasks: Sequence[Task], keys: Sequence[str], left: Sequence[int]
    ) -> Iterator[tuple[int, Ended | WorkerDied]]:
        """Submit jobs for the tasks that are left, and wait for what comes of them."""
        if not left:
            return
        file = self.place.write_work(work, tasks, keys)
        count = min(len(left), self.options.shards)
        self._submit(file, [list(left[first::count]) for first in range(count)])
        waiting = {keys[index]: index for index in left}
        retries, clock = Retries(self.place, keys, self.options.retries), _Clock()
        while waiting:
            states = self._states() if clock.is_due() else {}  # before the results are read: they are then complete
            for key in sorted(self.place.all_ended() & waiting.keys()):
                if (ended := self.place.ended(key)) is not None:
                    yield waiting.pop(key), ended
            again, given_up = self._settled(retries, states, waiting.values())
            for index, died in given_up.items():
                del waiting[keys[index]]
                yield index, died
            if again:
                clock.restart()
                self._submit(file, again)
            if waiting:
                time.sleep(LOOK_SECONDS)
        self._end()

    def _states(self) -> dict[str, str]:
        """The states of the jobs; while none runs, what they wait for is logged."""
        states = self.queue.states(self._running) or {}
        counts = Counter(state for state in states.values() if state not in OVER)
        listed = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
        if listed and listed != self._last_logged and "RUNNING" not in counts:
            log.info("waiting for SLURM: %s", listed)
            self._last_logged = listed
        return states

    def _settled(
        self, retries: Retries, states: dict[str, str], waiting: Collection[int]
    ) -> tuple[list[list[int]], dict[int, WorkerDied]]:
        """As `Retries.settle`; if something is lost, the logs are kept."""
        try:
            again, given_up = retries.settle(self._running, states, waiting)
        except ClusterError:
            self._logs_needed = True
            raise
        self._logs_needed |= bool(given_up)
        return again, given_up

    def _submit(self, file: Path, shards: Sequence[list[int]]) -> None:
        level = logging.getLogger("creps").getEffectiveLevel()
        jobs = self.queue.submit(run_shard, [(self.place.path, file, shard, level) for shard in shards])
        self._running |= dict(zip(jobs, shards, strict=True))
        self.place.write_jobs(self._running)
        log.info("jobs of SLURM: %s", jobs[0] if len(jobs) == 1 else f"{jobs[0]} to {jobs[-1]}")

    def _end(self) -> None:
        """Let jobs without further tasks end; cancel those that do not."""
        self.queue.wait(self._running, LAST_SECONDS)
        self._cancel()

    def _cancel(self) -> None:
        """Cancel the jobs that still run."""
        if self._running:
            ended = self.queue.cancel(self._running)
            self.place.write_jobs(() if ended else self._running)
            self._running.clear()


class _Clock:
    """When to ask SLURM again: after a second at first, after `ASK_SECONDS` later on."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Ask often again."""
        self._pause, self._next = LOOK_SECONDS, 0.0

    def is_due(self) -> bool:
        """Whether it is time to ask."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._pause = min(ASK_SECONDS, 1.2 * self._pause)
        self._next = now + self._pause
        return True


def _key(work: Work[Task, Result], task: Task) -> str:
    """The name of a task in the job folder; a new one if no result of an earlier run can be used."""
    key = work.key(task)
    return hashed(type(work).__name__, installed_version("creps") or "", uuid.uuid4().hex if key is None else key)


def _still_good(work: Work[Task, Result], task: Task, ended: Ended) -> bool:
    """Whether a task of an earlier run has succeeded, and its output is as it was left."""
    return ended.raised is None and not work.failed(ended.result) and ended.trace == work.trace(task)
