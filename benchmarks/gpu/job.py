"""What a part knows of the job, and where it writes what it has found so far."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu.sizes import Sizes, changed
from creps.io.atomic import write_json

__all__ = ["Job", "PartError", "group_file", "open_job", "result_file"]


class PartError(Exception):
    """A part could not do all of its work; the message says why."""


class Job:
    """One part's view of the job.

    Args:
        name: The part.
        work: Folder that the parts share: phantoms, runs, logs.
        out: Folder that comes back.
        sizes: How large everything is.
        deadline: `time.time()` at which the part is stopped.
        groups: Of phantoms that the job needs, in the order in which it does.
    """

    def __init__(
        self, name: str, work: Path, out: Path, sizes: Sizes, deadline: float, groups: tuple[str, ...] = ()
    ) -> None:
        self.name, self.work, self.out, self.sizes, self.deadline = name, work, out, sizes, deadline
        self.groups = groups
        self.found: dict[str, Any] = {}

    def note(self, **found: Any) -> None:
        """Add to the part's result, and write all of it: what is noted stays, however the part ends."""
        self.found |= found
        write_json(result_file(self.work, self.name), self.found)

    def seconds_left(self) -> float:
        """Until the part is stopped."""
        return self.deadline - time.time()


def open_job(name: str, work: Path, seconds: float) -> Job:
    """The job as the conductor has written it into the work folder."""
    kept = json.loads((work / "job.json").read_text(encoding="utf-8"))
    sizes = changed(Sizes(), kept["sizes"])
    return Job(name, work, Path(kept["out"]), sizes, time.time() + seconds, tuple(kept["groups"]))


def result_file(work: Path, name: str) -> Path:
    """Where a part's result lies."""
    return work / "parts" / f"{name}.json"


def group_file(work: Path, group: str) -> Path:
    """What is there once a group of phantoms is complete."""
    return work / "groups" / f"{group}.json"
