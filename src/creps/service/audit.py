"""The audit log: who sent what, what became of it, who got it; without patients.

One JSON object per line. Series and images appear as keyed hashes of their UIDs (`State.hashed`): with the state file,
`creps service FOLDER --uid UID` finds the entries of a series; without it nobody can.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from creps.service.disk import make_private

__all__ = ["AUDIT", "Audit"]

log = logging.getLogger(__name__)

AUDIT = "audit.jsonl"
"""Name of the file in the folder of a service."""

BYTES, FILES = 20_000_000, 50
"""Size at which a file is renamed to audit.jsonl.1 and so on; number of such files that are kept."""


class _File(logging.handlers.RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - of the base class
        log.warning("The audit log %s cannot be written. Check the disk.", self.baseFilename)


class Audit:
    """The audit log of a folder.

    Args:
        folder: The folder of the service.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / AUDIT
        self._lock = threading.Lock()
        self._handler = _File(self.path, maxBytes=BYTES, backupCount=FILES, encoding="utf-8")
        self._handler.setFormatter(logging.Formatter("%(message)s"))
        make_private(self.path)

    def record(self, event: str, **details: str | int | float | None) -> None:
        """Append an entry; what cannot be written is logged, never raised: callers decide who may connect.

        Args:
            event: What happened.
            **details: Hashes, AE titles, addresses, numbers; nothing of a patient.
        """
        entry = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **details}
        line = json.dumps({key: value for key, value in entry.items() if value is not None}, ensure_ascii=False)
        message = logging.LogRecord("creps.audit", logging.INFO, "", 0, line, None, None)
        with self._lock, suppress(OSError):
            if not self.path.exists():  # somebody moved it away
                self._handler.close()
            self._handler.emit(message)
            if self.path.stat().st_size <= len(line.encode()) + 1:  # a new file
                make_private(self.path)

    def close(self) -> None:
        """Close the file."""
        self._handler.close()
