"""The SQLite file of a service: its tables, how it is opened, and changes that are whole or not there.

Every change is on the disk when its call returns.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from creps.errors import InputError

__all__ = ["FAILING_DISK", "Database"]

SCHEMA = 1

FAILING_DISK = (OSError, sqlite3.OperationalError, InputError)
"""What a full or missing disk raises."""

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


class Database:
    """The file, opened; every method may be called by any thread.

    Args:
        path: The file; made if there is none.
        read_only: Only read; the service may be running.

    Attributes:
        key: Secret of the service, 64 hexadecimal digits.

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
        self.key = str(key)
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
    def change(self) -> Iterator[sqlite3.Connection]:
        """One transaction: what is done within is kept whole, or not at all after an exception."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """The rows that a query finds, by column."""
        with self._lock:
            return [dict(row) for row in self._db.execute(query, values)]
