"""The folder that a run shares with its jobs, and from which a later run continues."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from creps.errors import InputError
from creps.io.atomic import atomic_file
from creps.parallel import Work

__all__ = ["Ended", "JobFolder", "Message", "Started", "hashed", "log_again"]

Message = tuple[str, int, str]
"""A message to the user: logger, level, text."""


@dataclass(frozen=True)
class Ended:
    """What came of a task.

    Attributes:
        result: What the function returned.
        raised: What it raised instead.
        messages: What it logged, which the process that waits logs again.
        trace: Tells its output from any other (`Work.trace`).
    """

    result: Any = None
    raised: Exception | None = None
    messages: tuple[Message, ...] = ()
    trace: str | None = None


@dataclass(frozen=True)
class Started:
    """A task that a job has started.

    Attributes:
        trace: Of what was at its output before the first start (`Work.trace`).
        job: The last job that started it.
    """

    trace: str | None
    job: str


class JobFolder:
    """Holds the tasks, which of them have been started, and their results. Only its owner can open it.

    A task is known by the hash of everything that its result depends on, so that a result is never taken for another's.

    Args:
        path: The folder; every node has to see it under this path.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.jobs = path / "jobs"
        """What submitit writes: logs and pickles."""

    def create(self) -> None:
        """Make the folder, or check that an earlier run of this user made it: pickles of others are never opened.

        Raises:
            InputError: there is another folder.
        """
        try:
            self.path.mkdir(parents=True, mode=0o700, exist_ok=True)
        except FileExistsError as error:
            raise InputError(f"{self.path} is a file.", "Name another folder: --slurm folder=DIR.") from error
        status = self.path.stat()
        others = bool(status.st_mode & 0o022) or (hasattr(os, "getuid") and status.st_uid != os.getuid())
        unknown = {one.name for one in self.path.iterdir()} - {"jobs", "started", "ended", "work", "jobs.json"}
        if others or unknown:
            why = "can be written by other users" if others else f"contains {min(unknown)}"
            raise InputError(f"{self.path} {why}.", "Delete it, or name another folder: --slurm folder=DIR.")
        for name in ("jobs", "started", "ended", "work"):
            (self.path / name).mkdir(exist_ok=True)

    def delete(self) -> None:
        """Delete the folder with logs and pickles."""
        shutil.rmtree(self.path, ignore_errors=True)

    def write_work(self, work: Work[Any, Any], tasks: Sequence[Any], keys: Sequence[str]) -> Path:
        """Store what the jobs load: the work, its tasks and their keys."""
        file = self.path / "work" / f"{hashed(*keys)}.pickle"
        _write(file, (work, tuple(tasks), tuple(keys)))
        return file

    def start(self, key: str, started: Started) -> None:
        """Record that a job starts a task."""
        with atomic_file(self.path / "started" / f"{key}.json") as temporary:
            temporary.write_text(json.dumps(vars(started)), encoding="utf-8")

    def started(self, key: str) -> Started | None:
        """The last start of a task."""
        try:
            return Started(**json.loads((self.path / "started" / f"{key}.json").read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def end(self, key: str, ended: Ended) -> None:
        """Store what came of a task."""
        _write(self._ended(key), ended)

    def ended(self, key: str) -> Ended | None:
        """What came of a task; None if it has not ended."""
        try:
            return pickle.loads(self._ended(key).read_bytes())
        except FileNotFoundError:
            return None

    def all_ended(self) -> set[str]:
        """The keys of the tasks that have ended."""
        return {file.stem for file in (self.path / "ended").glob("*.pickle")}

    def forget(self, key: str) -> None:
        """Drop what came of a task."""
        self._ended(key).unlink(missing_ok=True)

    def write_jobs(self, jobs: Iterable[str]) -> None:
        """Remember the jobs that may be running."""
        with atomic_file(self.path / "jobs.json") as temporary:
            temporary.write_text(json.dumps(sorted(jobs)), encoding="utf-8")

    def former_jobs(self) -> set[str]:
        """The jobs of the last run of this folder that may still be running."""
        with suppress(FileNotFoundError):
            return set(json.loads((self.path / "jobs.json").read_text(encoding="utf-8")))
        return set()

    def last_log_line(self, job: str) -> str:
        """The last line of the log of a job, or nothing."""
        for file in sorted(self.jobs.glob(f"{job}_*_log.err")):
            lines = [line for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
            if lines:
                return lines[-1].strip()[:300]
        return ""

    def _ended(self, key: str) -> Path:
        return self.path / "ended" / f"{key}.pickle"


def hashed(*parts: str) -> str:
    """SHA-256 of texts, as the name of a file."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _write(file: Path, content: object) -> None:
    with atomic_file(file) as temporary:
        temporary.write_bytes(pickle.dumps(content))


def log_again(messages: Iterable[Message]) -> None:
    """Log in this process what a job logged."""
    for name, level, text in messages:
        logging.getLogger(name).log(level, "%s", text)
