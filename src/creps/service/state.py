"""The state of a service: what arrived, what became of it, what was sent.

It is kept in one SQLite file, see `Database`. Times are those of the wall clock, and are only displayed or compared
with days; what must not depend on a clock that jumps is measured by the loop.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from creps.errors import InputError
from creps.service.database import Database
from creps.service.hashing import Hasher

__all__ = ["STATE", "Delivery", "DeliveryState", "Job", "JobState", "State"]

STATE = "service.sqlite"
"""Name of the file in the folder of a service."""

JobState = Literal["ready", "working", "held", "released", "made", "done", "parked"]
"""To be synthesized, being synthesized, held by a failed check, released, to be sent, finished, given up."""

DeliveryState = Literal["waiting", "sent", "parked"]


@dataclass(frozen=True)
class Job:
    """One MR to synthesize.

    Attributes:
        id: Its number.
        series: Hash of the SeriesInstanceUID, or of the place of a volume file.
        fingerprint: Hash of what the MR consists of: other images, another job.
        source: The folder or file, relative to the folder that is watched or received into.
        rule: Name of the rule that matches it.
        state: What is to be done with it.
        attempts: Syntheses that were started, without those that the end of creps cut short.
        stops: Times that creps ended in the middle of it.
        reason: Why it is parked, held or tried again.
        target: Its sCT, relative to the folder of the results; empty until it is made.
        created: Wall clock, seconds.
        changed: Wall clock, seconds.
    """

    id: int
    series: str
    fingerprint: str
    source: str
    rule: str
    state: JobState
    attempts: int
    stops: int
    reason: str
    target: str
    created: float
    changed: float


@dataclass(frozen=True)
class Delivery:
    """The results of one job for one destination."""

    job: int
    destination: str
    state: DeliveryState
    attempts: int
    reason: str
    created: float
    changed: float


class State:
    """What a service remembers; every method may be called by any thread.

    Args:
        path: Its file; made if there is none.
        read_only: Only read; the service may be running.

    Attributes:
        hasher: Hashes of the UIDs and places that the state knows.

    Raises:
        InputError: it cannot be opened, is damaged, or was written by a newer creps.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._db = Database(path, read_only=read_only)
        self.hasher = Hasher(self._db.key)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # Images that a node received

    def add_image(self, image: str, series: str, caller: str, size: int) -> None:
        """Record that an image was filed; the same again changes nothing."""
        with self._db.change() as db:
            db.execute(
                "INSERT OR IGNORE INTO images (series, image, caller, bytes, received) VALUES (?, ?, ?, ?, ?)",
                (series, image, caller, size, time.time()),
            )

    def has_image(self, series: str, image: str) -> bool:
        """Whether an image of a series was filed, now or once."""
        return bool(self._db.rows("SELECT 1 FROM images WHERE series = ? AND image = ?", series, image))

    def last_received(self, series: str) -> float:
        """When the last new image of a series was filed; 0 if none was."""
        return float(self._db.rows("SELECT max(received) AS at FROM images WHERE series = ?", series)[0]["at"] or 0.0)

    def images_of(self, series: str) -> list[str]:
        """Images of a series, in order of their hashes."""
        return [
            row["image"] for row in self._db.rows("SELECT image FROM images WHERE series = ? ORDER BY image", series)
        ]

    def forget_images(self, series: str) -> None:
        """Received images of a series are about to be deleted: sent again, they are filed again."""
        with self._db.change() as db:
            db.execute("DELETE FROM images WHERE series = ?", (series,))

    def callers_of(self, series: str) -> list[str]:
        """AE titles that sent images of a series."""
        return [row["caller"] for row in self._db.rows("SELECT DISTINCT caller FROM images WHERE series = ?", series)]

    # What a watch has handled

    def signature(self, place: str) -> str:
        """Signature of a place in the watched folder when it was last handled; empty if it never was."""
        return next(
            (row["signature"] for row in self._db.rows("SELECT signature FROM seen WHERE place = ?", place)), ""
        )

    def handled(self, place: str, signature: str) -> None:
        """Record that a place with this signature was handled."""
        with self._db.change() as db:
            db.execute("INSERT OR REPLACE INTO seen VALUES (?, ?)", (place, signature))

    def forget_seen(self, place: str) -> None:
        """Handle a place again when it is next listed."""
        with self._db.change() as db:
            db.execute("DELETE FROM seen WHERE place = ?", (place,))

    # Jobs

    def add_job(
        self, series: str, fingerprint: str, source: str, rule: str, *, state: JobState = "ready", reason: str = ""
    ) -> Job | None:
        """A new job; None if the same images are known already: nothing is done twice."""
        now = time.time()
        with self._db.change() as db:
            added = db.execute(
                "INSERT OR IGNORE INTO jobs (series, fingerprint, source, rule, state, reason, created, changed)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (series, fingerprint, source, rule, state, reason, now, now),
            )
        return self.job(added.lastrowid or 0) if added.rowcount else None

    def job(self, number: int) -> Job:
        """A job by its number.

        Raises:
            InputError: there is none.
        """
        found = self._db.rows("SELECT * FROM jobs WHERE id = ?", number)
        if not found:
            raise InputError(f"There is no job {number}.", "List them: creps service FOLDER.")
        return Job(**found[0])

    def jobs(self, *states: JobState) -> list[Job]:
        """Jobs in some states (default: all), the oldest first."""
        marks = ",".join("?" * len(states))
        where = f"WHERE state IN ({marks})" if states else ""
        return [Job(**row) for row in self._db.rows(f"SELECT * FROM jobs {where} ORDER BY id", *states)]

    def jobs_of(self, series: str) -> list[Job]:
        """All jobs of a series, the oldest first."""
        return [Job(**row) for row in self._db.rows("SELECT * FROM jobs WHERE series = ? ORDER BY id", series)]

    def set_job(
        self,
        number: int,
        state: JobState,
        *,
        reason: str = "",
        target: str | None = None,
        attempts: int | None = None,
        stops: int | None = None,
        destinations: Sequence[str] = (),
    ) -> None:
        """Change a job; its deliveries are added in the same step.

        Args:
            number: Of the job.
            state: The new one.
            reason: Why.
            target: The sCT that was made; None: as it was.
            attempts: How many there were; None: as it was.
            stops: How often creps ended in the middle; None: as it was.
            destinations: Who is to get the results.
        """
        now = time.time()
        with self._db.change() as db:
            db.execute(
                "UPDATE jobs SET state = ?, reason = ?, target = coalesce(?, target), attempts = coalesce(?, attempts),"
                " stops = coalesce(?, stops), changed = ? WHERE id = ?",
                (state, reason, target, attempts, stops, now, number),
            )
            db.executemany(
                "INSERT OR IGNORE INTO deliveries (job, destination, state, created, changed)"
                " VALUES (?, ?, 'waiting', ?, ?)",
                [(number, one, now, now) for one in destinations],
            )

    def forget_job(self, number: int) -> None:
        """Remove a job and its deliveries: the same images would be done again."""
        with self._db.change() as db:
            db.execute("DELETE FROM jobs WHERE id = ?", (number,))
            _delete_deliveries(db, number)

    def forget_result(self, number: int) -> None:
        """The sCT of a job is deleted; the job stays, so that the same images are not done again."""
        with self._db.change() as db:
            db.execute("UPDATE jobs SET target = '' WHERE id = ?", (number,))
            _delete_deliveries(db, number)

    # Deliveries

    def deliveries(self, *states: DeliveryState, job: int | None = None) -> list[Delivery]:
        """Deliveries in some states (default: all), the oldest first."""
        conditions = [f"state IN ({','.join('?' * len(states))})"] if states else []
        conditions += ["job = ?"] if job is not None else []
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        values = states if job is None else (*states, job)
        return [
            Delivery(**row)
            for row in self._db.rows(f"SELECT * FROM deliveries {where} ORDER BY job, destination", *values)
        ]

    def forget_deliveries(self, job: int) -> None:
        """Forget the deliveries of a job that were not made."""
        with self._db.change() as db:
            db.execute("DELETE FROM deliveries WHERE job = ? AND state <> 'sent'", (job,))

    def set_delivery(
        self, job: int, destination: str, state: DeliveryState, *, reason: str = "", tried: bool = True
    ) -> None:
        """Change a delivery."""
        with self._db.change() as db:
            db.execute(
                "UPDATE deliveries SET state = ?, reason = ?, attempts = attempts + ?, changed = ?"
                " WHERE job = ? AND destination = ?",
                (state, reason, int(tried), time.time(), job, destination),
            )

    def files_sent(self, job: int, destination: str) -> dict[str, str]:
        """File → "sent", or "sending": a send was begun and its answer is not known."""
        query = "SELECT file, state FROM sent WHERE job = ? AND destination = ?"
        return {row["file"]: row["state"] for row in self._db.rows(query, job, destination)}

    def record_files(self, job: int, destination: str, files: Sequence[str], state: str) -> None:
        """Record files as being sent, or as sent."""
        with self._db.change() as db:
            db.executemany(
                "INSERT OR REPLACE INTO sent VALUES (?, ?, ?, ?)", [(job, destination, file, state) for file in files]
            )

    def was_reached(self, endpoint: str) -> bool:
        """Whether a destination ever answered, as it is configured now."""
        return bool(self._db.rows("SELECT 1 FROM reached WHERE endpoint = ?", endpoint))

    def record_reached(self, endpoint: str) -> None:
        """Record that a destination answered."""
        with self._db.change() as db:
            db.execute("INSERT OR REPLACE INTO reached VALUES (?, ?)", (endpoint, time.time()))


def _delete_deliveries(db: sqlite3.Connection, job: int) -> None:
    db.execute("DELETE FROM deliveries WHERE job = ?", (job,))
    db.execute("DELETE FROM sent WHERE job = ?", (job,))
