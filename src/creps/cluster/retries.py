"""What becomes of the tasks of a job that ended before they did: another job, or the end of them."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from creps.cluster.folder import JobFolder
from creps.cluster.queue import OVER
from creps.errors import ClusterError
from creps.parallel import WorkerDied

__all__ = ["Retries"]

log = logging.getLogger(__name__)

LATE_SECONDS = 60.0
"""How long a network disk may take to show what a completed job wrote."""

NOT_ITS_FAULT = ("NODE_FAIL", "PREEMPTED")
"""Ends of a job that have nothing to do with the task it was at."""

REMEDIES = {
    "OUT_OF_MEMORY": "Ask for more memory: --slurm memory=32G.",
    "TIMEOUT": "Ask for more time: --slurm time=4:00:00.",
}


class Retries:
    """Counts how often each task was lost with its job.

    A task that is lost too often is given up; the others of its job go on without it.

    Args:
        place: The job folder.
        keys: Key of each task.
        limit: How often a task may be lost and started again.
    """

    def __init__(self, place: JobFolder, keys: Sequence[str], limit: int) -> None:
        self.place, self.keys, self.limit = place, keys, limit
        self._lost: Counter[int] = Counter()
        self._never_started: Counter[int] = Counter()
        self._completed: dict[str, float] = {}

    def settle(
        self, running: dict[str, list[int]], states: Mapping[str, str], waiting: Collection[int]
    ) -> tuple[list[list[int]], dict[int, WorkerDied]]:
        """Take the jobs that are over out of `running`.

        Args:
            running: Job → its tasks.
            states: Job → its state.
            waiting: The tasks without a result.

        Returns:
            The tasks of each job to start again, and the tasks that are given up.

        Raises:
            ClusterError: jobs end again and again before they start a task.
        """
        again: list[list[int]] = []
        given_up: dict[int, WorkerDied] = {}
        for job in [job for job, state in states.items() if state in OVER and not self._late(job, state)]:
            left = [index for index in running.pop(job) if index in waiting]
            if not left:
                continue
            died = self._given_up(job, states[job], left)
            given_up |= died
            rest = [index for index in left if index not in died]
            log.info("job %s has ended early (%s); cases to start again: %d", job, states[job], len(rest))
            again += [rest] if rest else []
        return again, given_up

    def _late(self, job: str, state: str) -> bool:
        """Whether a completed job's results may still appear."""
        if state != "COMPLETED":
            return False
        return time.monotonic() - self._completed.setdefault(job, time.monotonic()) < LATE_SECONDS

    def _given_up(self, job: str, state: str, left: Sequence[int]) -> dict[int, WorkerDied]:
        """Count what the job lost: the task it was at, or all if it had started none."""
        started = [index for index in left if self._was_at(job, index)]
        if not started:
            self._never_started.update(left)
            if min(self._never_started[index] for index in left) > self.limit:
                reason = self.place.last_log_line(job) or f"state {state}"
                raise ClusterError(
                    f"Jobs of SLURM end before they start a case: {reason.rstrip('.')}.",
                    f"Read the logs in {self.place.jobs}; --slurm setup=… prepares what a job needs.",
                )
        if state not in NOT_ITS_FAULT:
            self._lost.update(started)
        remedy = REMEDIES.get(state, f"Read the logs in {self.place.jobs}.")
        how = "was killed with its job of SLURM ({} times, the last time: {})"
        return {
            index: WorkerDied(how.format(self._lost[index], state), remedy)
            for index in started
            if self._lost[index] > self.limit
        }

    def _was_at(self, job: str, index: int) -> bool:
        started = self.place.started(self.keys[index])
        return started is not None and started.job == job
