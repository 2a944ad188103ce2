"""Series that a node received: which are complete, and which rule matches them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from creps.errors import CrepsError
from creps.io.dicom.read.series import find_series
from creps.service.node.filing import RECEIVED
from creps.service.rules import facts_of_series, first_rule
from creps.service.settings import ServiceSettings
from creps.service.state import Job, State

__all__ = ["ReceivedSeries"]

log = logging.getLogger(__name__)


class ReceivedSeries:
    """Makes a job of each series of which nothing has arrived for a while.

    Args:
        folder: Of the service.
        settings: Rules, and how long a series must have been still.
        state: Where jobs are added.
        is_receiving: Whether an association is open that sent images of a series.
        clock: Seconds that never run backwards.
    """

    def __init__(
        self,
        folder: Path,
        settings: ServiceSettings,
        state: State,
        is_receiving: Callable[[str], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self.settings, self.state = folder / RECEIVED, settings, state
        self._is_receiving, self._clock = is_receiving, clock
        self._lock = threading.Lock()
        there = self.folder.iterdir() if self.folder.is_dir() else ()
        self._there = {place.name for place in there if place.is_dir()}
        self._arrived = dict.fromkeys(self._there, clock())

    def arrived(self, series: str) -> None:
        """An image of a series was filed; any thread may say so."""
        with self._lock:
            self._arrived[series] = self._clock()
            self._there.discard(series)

    def is_waiting(self) -> bool:
        """Whether a series is not complete yet."""
        with self._lock:
            return bool(self._arrived)

    def collect(self) -> None:
        """Add a job for every series that is complete; the same images get one job."""
        now = self._clock()
        with self._lock:
            still = [one for one, at in self._arrived.items() if now - at >= self.settings.settle_seconds]
        for series in still:
            if self._is_receiving(series):
                continue
            with self._lock:
                if self._arrived[series] > now:  # another image, just now
                    continue
                del self._arrived[series]
            try:
                self._add_job(series)
            except Exception:
                self.arrived(series)  # the disk is full, say: it is not forgotten
                raise

    def revisit(self, job: Job) -> None:
        """Treat the series of a job that is about to be deleted as if it had just arrived."""
        self.arrived(job.series)

    def source_of(self, job: Job) -> tuple[Path, str | None]:
        """Folder of a job's series, and the hash of its UID."""
        return self.folder / job.source, job.series

    def _add_job(self, series: str) -> None:
        images = [path.stem for path in (self.folder / series).glob("*.dcm")]
        if not images:
            return
        rule, problem = self._rule(series)
        job = self.state.add_job(
            series,
            self.state.hasher.fingerprint(images),
            series,
            rule,
            state="parked" if problem else "ready",
            reason=problem,
        )
        if job is not None:
            log.info("Job %d: a series of %d images is complete; rule '%s'.", job.id, len(images), rule)
        elif series not in self._there:
            log.info("A series came again, with the same images; nothing is done twice.")

    def _rule(self, series: str) -> tuple[str, str]:
        """Name of the rule, or why there is none."""
        try:
            found = find_series(self.folder / series)
            callers = self.state.callers_of(series) or [""]
            facts = [facts_of_series(one, caller) for one in found for caller in callers]
        except CrepsError as error:
            return "", str(error)
        except Exception as error:  # whatever a sender made of a header: it must not end the service, again and again
            log.debug("%s", error, exc_info=True)
            return "", f"Its headers cannot be read ({type(error).__name__}). Send it again, or export it anew."
        rules = [rule for one in facts if (rule := first_rule(self.settings.rules, one)) is not None]
        return (rules[0].name, "") if rules else ("", "No rule wants the series as a whole.")
