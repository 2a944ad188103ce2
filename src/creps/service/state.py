"""The state of a service in one SQLite file: what arrived, what became of it, what was sent.

Every change is on the disk when its call returns. Times are of the wall clock and only shown or compared with days;
what must not depend on a clock that jumps is measured by the loop.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from creps.errors import InputError
from creps.service.hashing import Hasher

__all__ = ["FAILING_DISK", "STATE", "Delivery", "Job", "JobState", "State"]

STATE = "service.sqlite"
"""Name of the file in the folder of a service."""

SCHEMA = 1

FAILING_DISK = (OSError, sqlite3.OperationalError, InputError)
"""What a full or missing disk raises."""

JobState = Literal["ready", "working", "held", "released", "made", "done", "parked"]
"""To be synthesized, being so, held by a failed check, released by a person, to be sent, finished, given up."""

TABLES = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE jobs (
  id INTEGER PRIMARY KEY AUTOINCREMENT, series TEXT NOT NULL, fingerprint TEXT NOT NULL,
  source TEXT NOT NULL, rule TEXT NOT NULL,
  state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, stops INTEGER NOT NULL DEFAULT 0,
  reason TEXT NOT NULL DEFAULT '', target TEXT NOT NULL DEFAULT '', created REAL NOT NULL, changed REAL NOT NULL,
  UNIQUE (series, fingerprint)
);
CREATE TABLE images (
  series TEXT NOT NULL, image TEXT NOT NULL, caller TEXT NOT NULL, bytes INTEGER NOT NULL, received REAL NOT NULL,
  PRIMARY KEY (series, image)
);
CREATE TABLE seen (place TEXT PRIMARY KEY, signature TEXT NOT NULL);
CREATE TABLE deliveries (
  job INTEGER NOT NULL, destination TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
  reason TEXT NOT NULL DEFAULT '', created REAL NOT NULL, changed REAL NOT NULL, PRIMARY KEY (job, destination)
);
CREATE TABLE sent (
  job INTEGER NOT NULL, destination TEXT NOT NULL, file TEXT NOT NULL, state TEXT NOT NULL,
  PRIMARY KEY (job, destination, file)
);
CREATE TABLE reached (endpoint TEXT PRIMARY KEY, at REAL NOT NULL);
"""
"""`series` and `image` are hashes of UIDs, or of the place of a volume file."""

INDEXES = """
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state);
CREATE INDEX IF NOT EXISTS deliveries_by_state ON deliveries (state);
"""


@dataclass(frozen=True)
class Job:
    """One MR to synthesize.

    Attributes:
        id: Its number.
        series: Hash of the SeriesInstanceUID, or of the place of a volume file.
        fingerprint: Hash of what the MR consists of: other images, another job.
        source: The folder or file, relative to the folder that is watched or received into.
        rule: Name of the rule that wants it.
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
    state: Literal["waiting", "sent", "parked"]
    attempts: int
    reason: str
    created: float
    changed: float


class State:
    """The file, opened; every method may be called by any thread.

    Args:
        path: The file; made if there is none.
        read_only: Only look; the service may be running.

    Raises:
        InputError: it cannot be opened, is damaged, or was written by a newer creps.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self._lock = threading.RLock()
        if read_only and not path.is_file():
            raise InputError(
                f"{path.parent} has no {path.name}.", "Name the folder of a node or the output of a watch."
            )
        try:
            self._db = self._opened(read_only=read_only)
        except sqlite3.OperationalError as error:
            raise InputError(
                f"{path} cannot be opened now: {error}.", "Check its permissions, and try again."
            ) from error
        except sqlite3.DatabaseError as error:
            raise InputError(
                f"{path} is damaged: {error}.", "Restore it from a backup; without it, everything is done again."
            ) from error

    def _opened(self, *, read_only: bool) -> sqlite3.Connection:
        writable = os.access(self.path, os.W_OK)  # a look, too, must be able to undo what a killed process left open
        mode = ("?mode=rw" if writable else "?mode=ro") if read_only else ""
        address = f"{self.path.absolute().as_uri()}{mode}"
        db = sqlite3.connect(address, uri=True, check_same_thread=False, isolation_level=None, timeout=10)
        db.row_factory = sqlite3.Row
        if not read_only:
            self.path.chmod(0o600)
            db.execute("PRAGMA synchronous = FULL")
        if not db.execute("SELECT name FROM sqlite_master WHERE name = 'about'").fetchone():
            self._fill(db)
        (found,) = db.execute("SELECT value FROM about WHERE key = 'schema'").fetchone()
        if int(found) > SCHEMA:
            raise InputError(f"{self.path} was written by a newer creps.", "Update creps.")
        (key,) = db.execute("SELECT value FROM about WHERE key = 'key'").fetchone()
        self.hasher = Hasher(key)
        return db

    @staticmethod
    def _fill(db: sqlite3.Connection) -> None:
        rows = ("schema", str(SCHEMA)), ("key", secrets.token_hex(32))
        values = "".join(f"INSERT INTO about VALUES ('{key}', '{value}');" for key, value in rows)
        db.executescript(f"BEGIN; {TABLES} {INDEXES} {values} COMMIT;")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        with self._lock:
            return [dict(row) for row in self._db.execute(query, values)]

    # Images that a node received

    def add_image(self, image: str, series: str, caller: str, size: int) -> None:
        """An image was filed; the same again changes nothing."""
        with self._change() as db:
            db.execute(
                "INSERT OR IGNORE INTO images (series, image, caller, bytes, received) VALUES (?, ?, ?, ?, ?)",
                (series, image, caller, size, time.time()),
            )

    def has_image(self, series: str, image: str) -> bool:
        """Whether an image of a series was filed, now or once."""
        return bool(self._rows("SELECT 1 FROM images WHERE series = ? AND image = ?", series, image))

    def last_received(self, series: str) -> float:
        """When the last new image of a series was filed; 0 if none was."""
        return float(self._rows("SELECT max(received) AS at FROM images WHERE series = ?", series)[0]["at"] or 0.0)

    def images_of(self, series: str) -> list[str]:
        """Images of a series, in order of their hashes."""
        return [row["image"] for row in self._rows("SELECT image FROM images WHERE series = ? ORDER BY image", series)]

    def forget_images(self, series: str) -> None:
        """Received images of a series are about to be deleted: sent again, they are filed again."""
        with self._change() as db:
            db.execute("DELETE FROM images WHERE series = ?", (series,))

    def callers_of(self, series: str) -> list[str]:
        """AE titles that sent images of a series."""
        return [row["caller"] for row in self._rows("SELECT DISTINCT caller FROM images WHERE series = ?", series)]

    # What a watch has looked at

    def signature(self, place: str) -> str:
        """How a place in the watched folder looked when it was last dealt with; empty if it never was."""
        return next((row["signature"] for row in self._rows("SELECT signature FROM seen WHERE place = ?", place)), "")

    def dealt_with(self, place: str, signature: str) -> None:
        """A place was dealt with as it looks now."""
        with self._change() as db:
            db.execute("INSERT OR REPLACE INTO seen VALUES (?, ?)", (place, signature))

    def forget_seen(self, place: str) -> None:
        """Look at a place again."""
        with self._change() as db:
            db.execute("DELETE FROM seen WHERE place = ?", (place,))

    # Jobs

    def add_job(
        self, series: str, fingerprint: str, source: str, rule: str, *, state: JobState = "ready", reason: str = ""
    ) -> Job | None:
        """A new job; None if the same images are known already: nothing is done twice."""
        now = time.time()
        with self._change() as db:
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
        found = self._rows("SELECT * FROM jobs WHERE id = ?", number)
        if not found:
            raise InputError(f"There is no job {number}.", "List them: creps service FOLDER.")
        return Job(**found[0])

    def jobs(self, *states: JobState) -> list[Job]:
        """Jobs in some states (default: all), the oldest first."""
        marks = ",".join("?" * len(states))
        where = f"WHERE state IN ({marks})" if states else ""
        return [Job(**row) for row in self._rows(f"SELECT * FROM jobs {where} ORDER BY id", *states)]

    def jobs_of(self, series: str) -> list[Job]:
        """All jobs of a series, the oldest first."""
        return [Job(**row) for row in self._rows("SELECT * FROM jobs WHERE series = ? ORDER BY id", series)]

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
        """Change a job; its deliveries are noted in the same step.

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
        with self._change() as db:
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
        with self._change() as db:
            db.execute("DELETE FROM jobs WHERE id = ?", (number,))
            db.execute("DELETE FROM deliveries WHERE job = ?", (number,))
            db.execute("DELETE FROM sent WHERE job = ?", (number,))

    def forget_result(self, number: int) -> None:
        """The sCT of a job is deleted; the job stays, so that the same images are not done again."""
        with self._change() as db:
            db.execute("UPDATE jobs SET target = '' WHERE id = ?", (number,))
            db.execute("DELETE FROM deliveries WHERE job = ?", (number,))
            db.execute("DELETE FROM sent WHERE job = ?", (number,))

    # Deliveries

    def deliveries(self, *states: str, job: int | None = None) -> list[Delivery]:
        """Deliveries in some states (default: all), the oldest first."""
        wanted = [f"state IN ({','.join('?' * len(states))})"] if states else []
        wanted += ["job = ?"] if job is not None else []
        where = f"WHERE {' AND '.join(wanted)}" if wanted else ""
        values = states if job is None else (*states, job)
        return [
            Delivery(**row)
            for row in self._rows(f"SELECT * FROM deliveries {where} ORDER BY job, destination", *values)
        ]

    def forget_deliveries(self, job: int) -> None:
        """Forget the deliveries of a job that were not made."""
        with self._change() as db:
            db.execute("DELETE FROM deliveries WHERE job = ? AND state <> 'sent'", (job,))

    def set_delivery(self, job: int, destination: str, state: str, *, reason: str = "", tried: bool = True) -> None:
        """Change a delivery."""
        with self._change() as db:
            db.execute(
                "UPDATE deliveries SET state = ?, reason = ?, attempts = attempts + ?, changed = ?"
                " WHERE job = ? AND destination = ?",
                (state, reason, int(tried), time.time(), job, destination),
            )

    def files_sent(self, job: int, destination: str) -> dict[str, str]:
        """File → "sent", or "sending": a send was begun and its answer is not known."""
        query = "SELECT file, state FROM sent WHERE job = ? AND destination = ?"
        return {row["file"]: row["state"] for row in self._rows(query, job, destination)}

    def note_files(self, job: int, destination: str, files: Sequence[str], state: str) -> None:
        """Files are being sent, or were taken."""
        with self._change() as db:
            db.executemany(
                "INSERT OR REPLACE INTO sent VALUES (?, ?, ?, ?)", [(job, destination, file, state) for file in files]
            )

    def was_reached(self, endpoint: str) -> bool:
        """Whether a destination ever answered, as it is configured now."""
        return bool(self._rows("SELECT 1 FROM reached WHERE endpoint = ?", endpoint))

    def reached(self, endpoint: str) -> None:
        """A destination answered."""
        with self._change() as db:
            db.execute("INSERT OR REPLACE INTO reached VALUES (?, ?)", (endpoint, time.time()))
