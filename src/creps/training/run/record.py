"""The record that tells a run's story, and its log: what was done when, and how each session ended."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from creps.io.atomic import write_json
from creps.provenance import provenance
from creps.training.state import Best

__all__ = ["RunRecord", "log_to", "read_record"]


class RunRecord:
    """``record.json`` of one run: sessions before, and this one.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._session: dict[str, Any] = {}
        self._earlier: dict[str, Any] = {}

    def open(self, start: int, training: dict[str, Any]) -> str:
        """Note that a session starts after `start` steps; `training` says what is trained.

        Returns:
            The run's id: the same for a run and its continuation.
        """
        self._earlier = read_record(self.path)
        self._earlier.setdefault("run_id", uuid.uuid4().hex[:16])
        self._session = {"started": _now(), "from_step": start}
        self._write("running", training)
        return str(self._earlier["run_id"])

    def keep_best(self, best: Best | None) -> None:
        """Note the best validation, to be written when the session closes."""
        self._earlier["best"] = asdict(best) if best else None

    def close(self, status: str, reason: str | None, step: int, training: dict[str, Any]) -> None:
        """Note how the session ended, and why, after `step` steps."""
        self._session |= {"ended": _now(), "to_step": step, "status": status, "reason": reason}
        self._write(status, training)

    def _write(self, status: str, training: dict[str, Any]) -> None:
        sessions = [*self._earlier.get("sessions", []), {**self._session}]
        kept = {"run_id": self._earlier["run_id"], "best": self._earlier.get("best")}
        write_json(self.path, {**provenance(), "status": status, **kept, "sessions": sessions, **training})


def read_record(path: Path) -> dict[str, Any]:
    """The record of earlier sessions; bookkeeping only, so that a damaged one stops nobody."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(record, dict):
        return {}
    return record if isinstance(record.get("sessions"), list) else {**record, "sessions": []}


@contextmanager
def log_to(path: Path) -> Iterator[Callable[[str], None]]:
    """Keep what creps says in a file, however quiet the console is; what is yielded writes to the file alone."""
    logger = logging.getLogger("creps")
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s"))
    level = logger.level
    if logger.getEffectiveLevel() > logging.INFO:
        logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield lambda said: handler.emit(logger.makeRecord(logger.name, logging.INFO, "", 0, said, (), None))
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
