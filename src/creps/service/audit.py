"""The audit log: who sent what, what became of it, who got it; without patients.

One JSON object per line. Series and images appear as keyed hashes of their UIDs (`State.hashed`): with the state file,
`creps service FOLDER --uid UID` finds the entries of a series; without it nobody can.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import threading
from datetime import UTC, datetime
from pathlib import Path

from creps.service.disk import make_private

__all__ = ["AUDIT", "Audit"]

AUDIT = "audit.jsonl"
"""Name of the file in the folder of a service."""

BYTES, FILES = 20_000_000, 50
"""A file of that size is put aside as audit.jsonl.1 and so on; the oldest of so many is deleted."""


class Audit:
    """The audit log of a folder.

    Args:
        folder: The folder of the service.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / AUDIT
        self._lock = threading.Lock()
        self._handler = logging.handlers.RotatingFileHandler(
            self.path, maxBytes=BYTES, backupCount=FILES, encoding="utf-8"
        )
        self._handler.setFormatter(logging.Formatter("%(message)s"))
        make_private(self.path)

    def note(self, event: str, **details: str | int | float | None) -> None:
        """Append an entry.

        Args:
            event: What happened.
            **details: Hashes, AE titles, addresses, numbers; nothing of a patient.
        """
        entry = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **details}
        line = json.dumps({key: value for key, value in entry.items() if value is not None}, ensure_ascii=False)
        record = logging.LogRecord("creps.audit", logging.INFO, "", 0, line, None, None)
        with self._lock:
            self._handler.emit(record)
            if self.path.stat().st_size <= len(line.encode()) + 1:  # a new file
                make_private(self.path)

    def close(self) -> None:
        """Close the file."""
        self._handler.close()
