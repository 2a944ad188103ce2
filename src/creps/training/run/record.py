"""The record of a run and its log: what was trained when, and how each session ended."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from creps.io.atomic import write_json
from creps.io.documents import read_json
from creps.provenance import provenance
from creps.training.state import Best

__all__ = ["RecordFile", "RunRecord", "Session", "log_to", "read_record"]


class Session(BaseModel):
    """One session of a run: from its start, or from a checkpoint, to its end or an interruption."""

    started: str
    """Time of the start (UTC)."""
    from_step: int
    """Steps done before; 0 for the first session."""
    ended: str | None = None
    """Time of the end (UTC); missing while the session runs, or if it was killed."""
    to_step: int | None = None
    """Steps done at the end."""
    status: str | None = None
    """``finished``, ``interrupted`` (by a signal) or ``failed``."""
    reason: str | None = None
    """Why it was interrupted or failed."""


class RecordFile(BaseModel):
    """``record.json`` of a run."""

    model_config = ConfigDict(extra="forbid")

    notice: str
    """Research only, not for diagnosis."""
    created: str
    """Time of writing (UTC)."""
    versions: dict[str, str]
    """Versions of Python, creps and the libraries."""
    machine: dict[str, str]
    """Operating system and architecture."""
    status: str
    """``running``, or the status of the last session."""
    run_id: str
    """Random identifier; the same for a run and its continuation."""
    best: dict[str, Any] | None
    """Step and score of the best validation so far; null before the run is finished."""
    sessions: list[Session]
    """Every session, in order."""
    steps: int
    """Steps done when the record was written."""
    started_from: dict[str, Any] | None
    """For fine-tuning, the model that the run started from: ``weights_sha256``, ``steps``, ``region`` and its own
    ``started_from``."""
    cohort: dict[str, Any]
    """``cases_sha256``: one hash over modality, name, split and array hash of every case; ``mr_cases`` and
    ``ct_cases``: number of training cases."""
    perceptual_weights: dict[str, Any] | None
    """Network, source, hash, file name and key layout of the perceptual weights; null without CREPs loss."""
    style_weight: dict[str, Any] | None
    """``weight``, ``measured_over_steps`` (0 if the weight was given) and ``frozen``; null until the run is finished,
    or without CREPs loss."""
    settings: dict[str, Any]
    """All settings of the run; only the file name of a weights file."""
    health: list[str] = []
    """Problems found in the curves, one sentence each; only for a finished run."""


class RunRecord:
    """Writes ``record.json`` of a run: its earlier sessions and the current one.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._session: dict[str, Any] = {}
        self._earlier: dict[str, Any] = {}

    def open(self, start: int, training: dict[str, Any]) -> None:
        """Record that a session starts.

        Args:
            start: Steps done before.
            training: What is trained, as `RecordFile` has it from ``steps`` on.
        """
        self._earlier = read_record(self.path)
        self._earlier.setdefault("run_id", uuid.uuid4().hex[:16])
        self._session = {"started": _now(), "from_step": start}
        self._write("running", training)

    def keep_best(self, best: Best | None) -> None:
        """Set the best validation, which is written when the session closes."""
        self._earlier["best"] = asdict(best) if best else None

    def close(self, status: str, reason: str | None, step: int, training: dict[str, Any]) -> None:
        """Record how the session ended, after `step` steps, and why."""
        self._session |= {"ended": _now(), "to_step": step, "status": status, "reason": reason}
        self._write(status, training)

    def _write(self, status: str, training: dict[str, Any]) -> None:
        sessions = [*self._earlier.get("sessions", []), self._session]
        best = self._earlier.get("best")
        kept = {"run_id": str(self._earlier["run_id"]), "best": best if isinstance(best, dict) else None}
        content = {**provenance(), "status": status, **kept, "sessions": sessions, **training}
        write_json(self.path, RecordFile.model_validate(content).model_dump(mode="json", exclude_unset=True))


def read_record(path: Path) -> dict[str, Any]:
    """The record of earlier sessions; empty if it is missing or damaged, which must not stop a run."""
    try:
        record = read_json(path)
    except (OSError, ValueError):
        return {}
    if not isinstance(record, dict):
        return {}
    sessions = record.get("sessions")
    return {**record, "sessions": [s for s in sessions if _is_session(s)] if isinstance(sessions, list) else []}


@contextmanager
def log_to(path: Path) -> Iterator[Callable[[str], None]]:
    """Write the log to a file as well, however quiet the console is; the yielded function writes to the file only."""
    logger = logging.getLogger("creps")
    handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s"))
    level = logger.level
    if logger.getEffectiveLevel() > logging.INFO:
        logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield lambda text: handler.emit(logger.makeRecord(logger.name, logging.INFO, "", 0, text, (), None))
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()


def _is_session(value: object) -> bool:
    try:
        Session.model_validate(value)
    except ValidationError:
        return False
    return True


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
