"""The default recipe and the supervised bound, trained at the same time on one GPU for the same time."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import zipfile
from typing import Any

from benchmarks.gpu.job import Job, PartError
from benchmarks.gpu.runs import checkpoint_steps, rows_of, write_settings
from benchmarks.gpu.settings import ARMS, arm_settings

from creps.training.run.monitor import CURVES

__all__ = ["train_side_by_side"]

SAVING_SECONDS = 12.0
"""Kept for the last step, the last checkpoint and the models."""


def train_side_by_side(job: Job) -> None:
    """Start both, stop both after the same time, pack both."""
    sizes = job.sizes
    seconds = min(job.seconds_left() - SAVING_SECONDS, sizes.train_seconds or float("inf"))
    processes = {recipe: start(job, recipe) for recipe in ARMS}
    ends, started = time.time() + seconds, time.time()
    try:
        while time.time() < ends and any(process.poll() is None for process in processes.values()):
            time.sleep(0.5)
            arms = {recipe: progress(job, recipe) for recipe in ARMS}
            job.note(arms=arms)
            if sizes.train_steps is not None and min(arm["steps"] for arm in arms.values()) >= sizes.train_steps:
                break
    finally:
        for process in processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
    job.note(seconds=round(time.time() - started, 1))
    for process in processes.values():
        try:
            process.wait(max(1.0, job.seconds_left() - 4))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    found = {recipe: outcome(job, recipe, process.returncode) for recipe, process in processes.items()}
    common = common_steps(job)
    job.note(arms=found, common_steps=common, spacing_mm=sizes.train_mm, region=sizes.region)
    for recipe in ARMS:
        pack(job, recipe)
    broken = next((f"{recipe}: {one['error']}" for recipe, one in found.items() if "error" in one), None)
    if broken is not None:
        raise PartError(broken)


def start(job: Job, recipe: str) -> subprocess.Popen[bytes]:
    """A training in a process of its own."""
    file = write_settings(arm_settings(job.sizes, recipe), job.work / "settings" / f"{recipe}.yaml")
    command = [sys.executable, "-m", "benchmarks.gpu.run_training", str(job.work / "cohorts" / ARMS[recipe])]
    command += [str(job.work / "runs" / recipe), str(file), str(job.work / "runs" / f"{recipe}.json")]
    log = job.work / "logs" / f"train-{recipe}.txt"
    with log.open("wb") as stream:
        return subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)


def progress(job: Job, recipe: str) -> dict[str, Any]:
    """Steps so far."""
    run = job.work / "runs" / recipe
    rows = rows_of(run) if (run / CURVES).is_file() else []
    return {"steps": int(rows[-1]["step"]) if rows else 0}


def outcome(job: Job, recipe: str, code: int | None) -> dict[str, Any]:
    """What became of an arm."""
    run, settings = job.work / "runs" / recipe, arm_settings(job.sizes, recipe)
    result = run.with_name(f"{recipe}.json")
    watched = json.loads(result.read_text(encoding="utf-8")) if result.is_file() else {}
    rows = rows_of(run) if (run / CURVES).is_file() else []
    per_step = sorted(row["seconds_per_step"] for row in rows[1:])
    found: dict[str, Any] = {**progress(job, recipe), **watched}
    if code != 0 and "error" not in found:
        early = code == -signal.SIGTERM
        found["error"] = "no time was left for a step" if early else f"the training ended with exit code {code}"
    return found | {
        "patch": list(settings.sampling.patch_size),
        "batch": settings.training.batch_size,
        "workers": settings.training.workers,
        "seconds_per_step": per_step[len(per_step) // 2] if per_step else None,
        "curve": [short(row) for row in rows[:: max(1, len(rows) // 60)]],
    }


def short(row: dict[str, float]) -> dict[str, float]:
    """The losses and the validation of a row."""
    dropped = {name for name in row if name.endswith("_weight")} | {"seconds_per_step"}
    return {name: float(f"{value:.5g}") for name, value in row.items() if name not in dropped}


def common_steps(job: Job) -> int | None:
    """The largest number of steps at which both arms have a checkpoint."""
    steps = [set(checkpoint_steps(job.work / "runs" / recipe)) for recipe in ARMS]
    return max(set.intersection(*steps), default=None)


def pack(job: Job, recipe: str) -> None:
    """The model with its curves, settings and record, as one file that comes back."""
    run = job.work / "runs" / recipe
    names = ("settings.yaml", "record.json", "curves.csv", "curves.png", "log.txt")
    files = [run / name for name in names if (run / name).is_file()]
    files += sorted((run / "model").glob("*"))
    if not files:
        return
    with zipfile.ZipFile(job.out / f"{recipe}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, file.relative_to(run))
