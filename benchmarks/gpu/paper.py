"""The paper's presets at full size: a real training that is killed, resumed and timed.

The first session is `creps train` as a user starts it, killed by SIGKILL once its first checkpoint is there; the
second one is `train()` with a clock on the patches. Perceptual features are seeded and random: the cost is that of the
paper's, the loss is not.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import torch
from benchmarks.gpu.job import Job, PartError
from benchmarks.gpu.run_training import train_watched
from benchmarks.gpu.runs import checkpoint_steps, rows_of, write_settings
from benchmarks.gpu.settings import paper_settings

from creps.machine import free_bytes
from creps.model import load_tensors
from creps.settings import Settings
from creps.training.build import build_style
from creps.training.memory import estimate_memory

__all__ = ["train_paper"]

SAVING_SECONDS = 12.0
"""Kept for the last step and its checkpoint."""


def train_paper(job: Job, preset: str) -> None:
    """Train a preset of the paper in two sessions, the first of which is killed."""
    settings = paper_settings(job.sizes, preset)
    cohort, run = job.work / "cohorts" / f"paper-{preset}", job.work / "runs" / f"paper-{preset}"
    file = write_settings(settings, job.work / "settings" / f"paper-{preset}.yaml")
    job.note(
        patch=list(settings.sampling.patch_size),
        batch=settings.training.batch_size,
        perceptual_features="random, seeded: not the paper's loss, the same cost",
        workers=settings.training.workers,
    )
    killed_at = start_and_kill(job, cohort, run, file, settings)
    with stopped_in_time(job):
        found = train_watched(cohort, run, file, resume=True)
    job.note(second_session=found)
    first = rows_of(run)
    job.note(
        peak_memory_gb=found["peak_memory_gb"],
        **throughput(settings, first, killed_at),
        **resumption(run, first, killed_at),
    )
    if "error" in found:
        raise PartError(found["error"])
    job.note(weights_moved=moved(run))


@contextmanager
def stopped_in_time(job: Job) -> Iterator[None]:
    """End a training in this process as a cluster does before the part is stopped: its figures stay."""
    timer = threading.Timer(max(1.0, job.seconds_left() - SAVING_SECONDS), os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def start_and_kill(job: Job, cohort: Path, run: Path, file: Path, settings: Settings) -> int:
    """Start `creps train`, kill it once it has a checkpoint; returns the checkpoint's step.

    Raises:
        PartError: it ended by itself before.
    """
    command = [sys.executable, "-m", "creps", "train", str(cohort), "-o", str(run), "-s", str(file)]
    log = job.work / "logs" / f"{run.name}-killed.txt"
    free = free_bytes(torch.device(settings.training.device)) / 1e9
    started = time.perf_counter()
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
    note_memory(job, settings, free)
    while not checkpoint_steps(run) and process.poll() is None:
        time.sleep(0.05)
    ended = process.poll()
    kill_tree(process)
    process.wait()
    job.note(first_session={"seconds": round(time.perf_counter() - started, 1), "killed": ended is None})
    found = checkpoint_steps(run)
    if not found:
        lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        raise PartError(lines[-1] if lines else f"'creps train' ended with exit code {ended} and said nothing.")
    return max(found)


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its readers at once, as a machine that fails does."""
    try:
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    except psutil.NoSuchProcess:
        return
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue


def throughput(settings: Settings, rows: list[dict[str, float]], killed_at: int) -> dict[str, Any]:
    """Steps, seconds and images, without the steps in which the style term is balanced and the first of a session."""
    started = {min((row["step"] for row in rows if row["step"] > edge), default=0) for edge in (0, killed_at)}
    steady = [
        row["seconds_per_step"]
        for row in rows
        if row["step"] > settings.creps.balance_steps and row["step"] not in started
    ]
    seconds = statistics.median(steady) if steady else None
    return {
        "steps": int(max((row["step"] for row in rows), default=0)),
        "seconds_per_step": seconds,
        "seconds_per_step_range": [min(steady), max(steady)] if steady else None,
        "images_per_second": round(settings.training.batch_size / seconds, 3) if seconds else None,
    }


def resumption(run: Path, rows: list[dict[str, float]], killed_at: int) -> dict[str, Any]:
    """Whether the second session went on at the checkpoint's step."""
    after = min((int(row["step"]) for row in rows if row["step"] > killed_at), default=None)
    return {
        "killed_after_checkpoint_of_step": killed_at,
        "first_step_after_resuming": after,
        "resumed_at_the_checkpoint": after == killed_at + 1,
        "last_checkpoint": max(checkpoint_steps(run)),
    }


def moved(run: Path) -> dict[str, float]:
    """Network → mean change of its weights from the first checkpoint to the last, over their mean size."""
    found = checkpoint_steps(run)
    first, last = (load_tensors(found[step] / "training.safetensors") for step in (min(found), max(found)))
    changes = {}
    for network in ("generator", "discriminator"):
        names = [name for name in first if name.startswith(f"{network}.") and name.endswith("weight")]
        before, after = (torch.cat([tensors[name].flatten() for name in names]) for tensors in (first, last))
        changes[network] = float((after - before).abs().mean() / before.abs().mean())
    return changes


def note_memory(job: Job, settings: Settings, free_gb: float) -> None:
    """The estimate that a run prints before its first step, and whether the device has as much."""
    estimate = estimate_memory(settings, build_style(settings)).total / 1e9
    fits = estimate <= free_gb
    said = "enough" if fits else "this device may have too little memory for the preset"
    job.note(memory={"estimate_gb": round(estimate, 2), "free_gb": round(free_gb, 1), "fits": fits, "said": said})
