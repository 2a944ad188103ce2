"""`Service`: what turns arrived MRs into sCTs and sends them, one step at a time, whenever it was stopped."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from creps.io.atomic import write_json
from creps.io.unfinished import tidy_folder
from creps.provenance import provenance
from creps.service.audit import Audit
from creps.service.database import FAILING_DISK
from creps.service.deliveries import Deliveries
from creps.service.disk import space_left
from creps.service.results import can_be_sent, qa_if_whole, remove_result, target_of
from creps.service.retention import delete_old
from creps.service.settings import Rule, ServiceSettings
from creps.service.state import Job, JobState, State
from creps.service.task import Answer, Task, perform
from creps.service.waits import Waits
from creps.service.watching import LOOSE
from creps.service.worker import Worker, WorkerEndedError

__all__ = ["PARKED", "Arrivals", "Service"]

log = logging.getLogger(__name__)

PARKED = "parked"
"""Folder, in that of the results, of one JSON file for each MR that needs a person's decision."""

TICK_SECONDS = 0.5

TIDY_SECONDS = 3600.0

MOST_STOPS = 10
"""An MR in the middle of which creps ended as often may be what ends it (a machine that runs out of memory)."""


class Arrivals(Protocol):
    """Where MRs come from: a watched folder or a node."""

    def collect(self) -> None:
        """Add a job for every MR that is complete."""

    def is_waiting(self) -> bool:
        """Whether something has arrived that is not complete yet."""

    def revisit(self, job: Job) -> None:
        """Treat the MR of a job that is about to be deleted as if it had just arrived."""

    def source_of(self, job: Job) -> tuple[Path, str | None]:
        """The file or folder of a job's MR, and the hash of its series; None for a volume file."""


@dataclass
class Running:
    """The synthesis that runs now."""

    job: Job
    task: Task
    future: Future[Answer]
    since: float


@dataclass
class Service:
    """The service of a folder.

    Attributes:
        settings: What to do.
        state: What was done.
        folder: Of the service.
        results: Where sCTs go.
        arrivals: Where MRs come from.
        audit: The audit log.
        clock: Seconds that never run backwards.
    """

    settings: ServiceSettings
    state: State
    folder: Path
    results: Path
    arrivals: Arrivals
    audit: Audit
    clock: Callable[[], float] = time.monotonic
    worker: Worker = field(default_factory=Worker)
    _running: Running | None = None
    _tidied: float = float("-inf")

    def __post_init__(self) -> None:
        self._waits = Waits(self.clock)
        self.deliveries = Deliveries(self.settings, self.state, self.results, self.audit, self._waits, self._park)

    def run(self, stop: threading.Event, *, once: bool = False) -> None:
        """Work until `stop` is set, or with `once` until nothing can be done now."""
        self.recover()
        try:
            while not stop.is_set():
                try:
                    self.step()
                    if once and self.is_idle():
                        return
                except FAILING_DISK as error:
                    if once:
                        raise
                    self._wait_for_disk(error, stop)
                stop.wait(TICK_SECONDS)
        finally:
            self.end()

    def _wait_for_disk(self, error: Exception, stop: threading.Event) -> None:
        """Wait while the disk is full or gone; then redo what could not be recorded."""
        reason = error.strerror if isinstance(error, OSError) else type(error).__name__
        log.warning("The state or a result cannot be written (%s). Check the disk; it is tried again.", reason)
        while not stop.wait(self._waits.later("state")):
            try:
                if self._running is None:
                    self.recover()
            except FAILING_DISK:
                continue
            self._waits.over("state")
            return

    def recover(self) -> None:
        """Take over the jobs of a process that was killed: finished results are kept, the others are made again."""
        for job in self.state.jobs("working"):
            target, rule = self._target(job), self._rule(job)
            qa = qa_if_whole(target, report=self.settings.report)
            if qa is not None and rule is not None:
                self._made(job, rule, target, Answer.made(qa))
                continue
            remove_result(target)
            stops = job.stops + 1
            if stops > MOST_STOPS:
                self._park(job, f"creps ended {stops} times in the middle of its synthesis.")
            else:
                reason = "creps was stopped in the middle."
                self.state.set_job(job.id, "ready", reason=reason, attempts=max(0, job.attempts - 1), stops=stops)

    def step(self) -> None:
        """Do what can be done now; never waits for a synthesis or a destination."""
        if self._running is not None:
            self._check_running()
        self.arrivals.collect()
        for job in self.state.jobs("released"):
            self.release(job, job.target)
        if self._running is None:
            self._begin_next()
        self.deliveries.begin()
        if self.clock() - self._tidied >= TIDY_SECONDS:
            self._tidied = self.clock()
            received, results = delete_old(self.state, self.folder, self.results, self.settings.keep)
            if received or results:
                self.audit.record("deleted", received=received, results=results)

    def is_idle(self) -> bool:
        """Whether nothing is left that can be done now; what failed and waits for another try is left."""
        busy = self._running is not None or self.deliveries.is_busy()
        now = [job for job in self.state.jobs("ready", "released") if self._waits.may_try(f"job {job.id}")]
        now = now if self._waits.may_try("disk") else []
        return not (busy or now or self.deliveries.due() or self.arrivals.is_waiting())

    def end(self) -> None:
        """Stop now: a running synthesis is given up and done again at the next start; it is no failed attempt."""
        self.worker.end()
        if self._running is not None:
            job = self._running.job
            with suppress(*FAILING_DISK):  # the next start finds out
                self._clear(self._running.task.target)
                self.state.set_job(job.id, "ready", reason="creps was stopped.", attempts=job.attempts)
            self._running = None
        self.deliveries.end()

    # Synthesis

    def _begin_next(self) -> None:
        if space_left(self.folder) < self.settings.limits.free_gb:
            if self._waits.may_try("disk"):
                self._waits.later("disk")
                log.warning("The disk of %s is nearly full; nothing is synthesized until there is room.", self.folder)
            return
        for job in self.state.jobs("ready"):
            if not self._waits.may_try(f"job {job.id}"):
                continue
            rule = self._rule(job)
            if rule is None:
                log.info("%s: its rule '%s' is none of the settings; its MR is matched again.", _label(job), job.rule)
                self._anew(job)
            else:
                self.state.set_job(job.id, "working", attempts=job.attempts + 1)
                task = self._task(job, rule)
                self._running = Running(job, task, self.worker.submit(perform, task), self.clock())
                return

    def _task(self, job: Job, rule: Rule) -> Task:
        source, series = self.arrivals.source_of(job)
        target, settings = self._target(job), self.settings
        given = (source, series, job.fingerprint, target, rule, self.state.hasher)
        return Task(*given, settings.report, settings.private, loose=job.source == LOOSE)

    def _target(self, job: Job) -> Path:
        source, series = self.arrivals.source_of(job)
        first = self.state.jobs_of(job.series)[0].id == job.id
        return self.results / target_of(job, source, series, first=first)

    def _rule(self, job: Job) -> Rule | None:
        """The rule of a job; None if the settings have it no more. Never another one: its model may be wrong."""
        return next((rule for rule in self.settings.rules if rule.name == job.rule), None)

    def _check_running(self) -> None:
        """Take the answer of the running synthesis, or end it if it takes too long."""
        running = self._running
        if running is None:
            return
        minutes = self.settings.limits.synthesis_minutes
        if not running.future.done():
            reason = ""
            if self.worker.is_lost(running.future):
                reason = "The process that synthesizes was lost. Usually memory is too little."
            elif self.clock() - running.since > minutes * 60:
                reason = f"It took more than {minutes:g} minutes."
            if reason:
                self.worker.end()
                self._running = None
                self._failed(running, reason)
            return
        self._running = None
        try:
            answer = self.worker.answer(running.future)
        except WorkerEndedError as error:
            self._failed(running, str(error))
            return
        self._answered(running, answer)

    def _failed(self, running: Running, reason: str) -> None:
        """A synthesis ended without an answer."""
        self._clear(running.task.target)
        job = self.state.job(running.job.id)
        if job.attempts >= self.settings.limits.attempts:
            self._park(job, f"{reason} It was tried {job.attempts} times.")
        else:
            self._later(job, reason, attempts=job.attempts)

    def _clear(self, target: Path) -> None:
        """Delete what a process that was ended had written."""
        remove_result(target)
        tidy_folder(target.parent)

    def _answered(self, running: Running, answer: Answer) -> None:
        job = running.job
        if answer.kind == "made":
            self._made(job, running.task.rule, running.task.target, answer)
        elif answer.kind == "changed":
            log.info("%s: more of its MR arrived; it starts again.", _label(job))
            self._anew(job)
        elif answer.kind == "later":
            self._later(job, answer.reason, attempts=job.attempts)
        else:
            self._park(job, answer.reason)

    def _anew(self, job: Job) -> None:
        """Forget a job, and have its MR looked at again: that first, since a kill between the two must not lose it."""
        self.arrivals.revisit(job)
        self.state.forget_job(job.id)

    def _made(self, job: Job, rule: Rule, made: Path, answer: Answer) -> None:
        target = str(made.relative_to(self.results))
        self._waits.over(f"job {job.id}")
        self._parked_file(job).unlink(missing_ok=True)
        self.audit.record("synthesized", job=job.id, series=job.series, rule=rule.name, qa=answer.qa)
        if answer.qa == "fail" and rule.on_qa_fail == "hold":
            reason = f"{answer.reason} Look at it, then: creps service FOLDER --release {job.id}"
            self.state.set_job(job.id, "held", reason=reason, target=target)
            log.warning("%s: held, because a check of its sCT failed. See creps service FOLDER.", _label(job))
            return
        self.release(job, target)
        log.info("%s: made.%s", _label(job), " A check warned." if answer.qa == "warn" else "")

    def release(self, job: Job, target: str) -> None:
        """Let the results of a job go to their destinations."""
        destinations = self.settings.destinations if can_be_sent(target) else ()
        state: JobState = "made" if destinations else "done"
        self.state.set_job(job.id, state, target=target, destinations=[one.name for one in destinations])

    def _later(self, job: Job, reason: str, *, attempts: int) -> None:
        seconds = self._waits.later(f"job {job.id}")
        self.state.set_job(job.id, "ready", reason=reason, attempts=attempts)
        log.warning("%s: tried again in %.0f s. See creps service FOLDER.", _label(job), seconds)

    def _park(self, job: Job, reason: str) -> None:
        self.state.set_job(job.id, "parked", reason=reason)
        self.audit.record("parked", job=job.id, series=job.series)
        log.warning("%s: parked. See creps service FOLDER.", _label(job))  # the reason may name a file, and a patient
        again = f"Then: creps service FOLDER --retry {job.id}"
        write_json(
            self._parked_file(job), {"job": job.id, "reason": reason, "again": again, "provenance": provenance()}
        )

    def _parked_file(self, job: Job) -> Path:
        return self.results / PARKED / f"{job.id}.json"


def _label(job: Job) -> str:
    return f"Job {job.id}"
