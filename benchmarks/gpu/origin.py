"""Grow again what stood for a site in a job's models: the proof that these have seen phantoms only."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from benchmarks.gpu.job import Job
from benchmarks.gpu.phantoms import finish, grow, members
from benchmarks.gpu.sizes import Sizes, changed
from creps.cohort.cohort import load_cohort
from creps.training.run.folder import cases_sha256

__all__ = ["site_sha256"]


def site_sha256(results: Path, region: str) -> str:
    """The hash of the cohort of phantoms that a job grew for the model of a region (minutes of one core).

    Args:
        results: `results.json` of the job.
        region: head or pelvis.
    """
    sizes = changed(Sizes(), json.loads(results.read_text(encoding="utf-8"))["sizes"])
    group = f"site-{region}"
    with tempfile.TemporaryDirectory() as work:
        job = Job("phantoms", Path(work), Path(work), sizes, time.time() + 3600.0)
        (job.work / "groups").mkdir()
        finish(job, group, [case for person in members(job, group) for case in grow(person)])
        return cases_sha256(load_cohort(job.work / "cohorts" / group))
