"""What a person sees and decides of a running service: parked, held and waiting jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from creps.errors import InputError
from creps.service.state import STATE, Delivery, Job, JobState, State

__all__ = ["Overview", "overview", "release_job", "retry_job", "unfinished_jobs"]

SHOWN = 20
"""Finished jobs that are listed."""


@dataclass(frozen=True)
class Overview:
    """The jobs of a service.

    Attributes:
        jobs: All of them, or those of one series.
        deliveries: Of these jobs.
    """

    jobs: tuple[Job, ...]
    deliveries: tuple[Delivery, ...]

    def document(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        counts = Counter(job.state for job in self.jobs)
        return {
            "counts": dict(sorted(counts.items())),
            "jobs": [asdict(job) for job in self.jobs],
            "deliveries": [asdict(one) for one in self.deliveries],
        }

    def text(self) -> str:
        """A table: what needs a person first, then what runs and waits, then the last that were finished."""
        if not self.jobs:
            return "There is no job."
        counts = Counter(job.state for job in self.jobs)
        lines = [", ".join(f"{count} {state}" for state, count in sorted(counts.items())), ""]
        first = [job for job in self.jobs if job.state in ("parked", "held")]
        then = [job for job in self.jobs if job.state in ("ready", "working", "released", "made")]
        last = [job for job in self.jobs if job.state == "done"][-SHOWN:]
        for job in (*first, *then, *last):
            lines += self._lines(job)
        return "\n".join(lines)

    def _lines(self, job: Job) -> list[str]:
        when = datetime.fromtimestamp(job.changed).astimezone().isoformat(timespec="minutes", sep=" ")
        lines = [f"{job.id:>6}  {job.state:<8}  {when[:16]}  {job.rule or '-'}  {job.target}".rstrip()]
        lines += [f"        {job.reason}"] if job.reason else []
        for one in self.deliveries:
            if one.job == job.id and one.state != "sent":
                lines.append(f"        {one.state} for '{one.destination}'. {one.reason}".rstrip())
        return lines


def overview(folder: Path, *, uid: str | None = None) -> Overview:
    """Look at the state of a service, which may be running.

    Args:
        folder: Of a node, or the output of a watch.
        uid: Only the jobs of the series with this SeriesInstanceUID.

    Raises:
        InputError: there is no service in the folder.
    """
    state = State(folder / STATE, read_only=True)
    try:
        jobs = state.jobs() if uid is None else state.jobs_of(state.hasher.of(uid))
        numbers = {job.id for job in jobs}
        return Overview(tuple(jobs), tuple(one for one in state.deliveries() if one.job in numbers))
    finally:
        state.close()


def unfinished_jobs(folder: Path, source: Path) -> list[Job]:
    """Jobs of MRs in a watched folder that have no sCT, or one that is still to be sent.

    An MR that was replaced or taken away does not count, whatever became of it.

    Args:
        folder: The output of the watch.
        source: The folder that is watched.

    Raises:
        InputError: there is no service in the folder.
    """
    newest = {job.series: job for job in overview(folder).jobs}  # the oldest come first
    return [job for job in newest.values() if job.state not in ("done", "held") and (source / job.source).exists()]


def retry_job(folder: Path, number: int) -> None:
    """Try a parked job again: its synthesis, or only its sending if its sCT was made.

    Raises:
        InputError: there is no such job, or it is not parked.
    """
    with _job(folder, number, "parked", "Retry") as (state, job):
        if job.target:  # it goes to those that the settings name now
            state.forget_deliveries(number)
            state.set_job(number, "released", reason="Sent again.")
        else:  # without a rule, the service looks at it again from the beginning
            state.set_job(number, "ready", attempts=0, stops=0)


def release_job(folder: Path, number: int) -> None:
    """Let an sCT that a check held go to its destinations.

    Raises:
        InputError: there is no such job, or it is not held.
    """
    with _job(folder, number, "held", "Release") as (state, _):
        state.set_job(number, "released", reason="Released by a person.")


@contextmanager
def _job(folder: Path, number: int, expected: JobState, do: str) -> Iterator[tuple[State, Job]]:
    """The state to be changed, and a job that must be as expected."""
    State(folder / STATE, read_only=True).close()  # never make one where there is none
    state = State(folder / STATE)
    try:
        job = state.job(number)
        if job.state != expected:
            raise InputError(f"Job {number} is not {expected} but {job.state}.", f"{do} those that are {expected}.")
        yield state, job
    finally:
        state.close()
