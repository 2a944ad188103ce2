"""Trainings at the same time on one GPU, each in a process of its own, all of them until the same moment."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu.job import Job
from benchmarks.gpu.runs import model_of, rows_of, write_settings
from creps.io.atomic import atomic_file
from creps.settings import Settings
from creps.training.files import CURVES

__all__ = ["Arm", "pack", "train_together"]

SAVING_SECONDS = 15.0
"""Between the last step and the end: the last validation, the checkpoint and the models."""

KILLED_SECONDS = 6.0

PART_BYTES = 15 << 20
"""A larger file comes back in pieces of this size: ``cat NAME.zip.* > NAME.zip``."""

ROWS = 60
"""Of a curve, at most."""


@dataclass(frozen=True)
class Arm:
    """One training.

    Attributes:
        name: Unique among those at the same time.
        cohort: Folder of the prepared cohort.
        run: Folder of the run.
        settings: All of them.
        reuse: Steps that a simulated pair may serve.
        people: Folder with the phantoms that it learns from, grown before.
    """

    name: str
    cohort: Path
    run: Path
    settings: Settings
    reuse: int = 1
    people: Path | None = None


def train_together(
    job: Job, arms: Sequence[Arm], seconds: float, steps: int | None, out: Path | None = None
) -> dict[str, Any]:
    """Train for some seconds; returns arm → what became of it.

    Args:
        job: Is told how far the arms are.
        arms: All of them start now.
        seconds: Until the last step, counted from now; then they have `SAVING_SECONDS` to write their models.
        steps: At most so many of each; None leaves that to the time.
        out: Where models go, also those on the way; None leaves them where they are.
    """
    started = time.time()
    processes = {arm.name: start(job, arm, started + seconds, steps) for arm in arms}
    packed: dict[str, Path | None] = {}
    last = started + seconds + SAVING_SECONDS
    try:
        while time.time() < last and any(process.poll() is None for process in processes.values()):
            time.sleep(0.5)
            job.note(
                arms={arm.name: {"steps": steps_of(arm.run)} for arm in arms}, seconds=round(time.time() - started)
            )
            for arm in arms if out is not None else ():
                packed[arm.name] = pack_newer(arm, out, packed.get(arm.name))
    finally:
        stop(list(processes.values()))
    found = {arm.name: outcome(arm, processes[arm.name].returncode) for arm in arms}
    job.note(arms=found, seconds=round(time.time() - started, 1))
    for arm in arms if out is not None else ():
        pack(arm.run, out / f"{arm.name}.zip")
    return found


def start(job: Job, arm: Arm, ends: float, steps: int | None) -> subprocess.Popen[bytes]:
    """A training in a process of its own."""
    file = write_settings(arm.settings, job.work / "settings" / f"{arm.run.name}.yaml")
    command = [sys.executable, "-m", "benchmarks.gpu.run_training", str(arm.cohort), str(arm.run), str(file)]
    command += [str(result_of(arm.run)), "--ends", str(ends), "--reuse", str(arm.reuse)]
    command += ["--most", str(steps)] if steps is not None else []
    command += ["--people", str(arm.people)] if arm.people is not None else []
    log = job.work / "logs" / f"train-{arm.run.name}.txt"
    limited = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "2")  # the cores are the readers'
    with log.open("wb") as stream:
        environment = {**limited, **os.environ}
        return subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, env=environment)


def stop(processes: list[subprocess.Popen[bytes]]) -> None:
    """End what still runs: gently, then not."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    deadline = time.time() + KILLED_SECONDS
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.1, deadline - time.time()))
        if process.poll() is None:
            process.kill()
            process.wait()


def result_of(run: Path) -> Path:
    """Where a training's process writes what it has measured."""
    return run.with_name(f"{run.name}.json")


def steps_of(run: Path) -> int:
    """Steps so far, as the curves have them."""
    rows = rows_of(run) if (run / CURVES).is_file() else []
    return int(rows[-1]["step"]) if rows else 0


def outcome(arm: Arm, code: int | None) -> dict[str, Any]:
    """What became of an arm."""
    result, training = result_of(arm.run), arm.settings.training
    watched = json.loads(result.read_text(encoding="utf-8")) if result.is_file() else {}
    rows = rows_of(arm.run) if (arm.run / CURVES).is_file() else []
    per_step = sorted(row["seconds_per_step"] for row in rows[1:])
    found: dict[str, Any] = {"steps": steps_of(arm.run), **watched}
    if code != 0 and "error" not in found:
        found["error"] = f"the training ended with exit code {code}"
    return found | {
        "recipe": arm.settings.recipe,
        "spacing_mm": list(arm.settings.preparation.spacing_mm),
        "patch": list(arm.settings.sampling.patch_size),
        "batch": training.batch_size,
        "workers": training.workers,
        "seconds_per_step": per_step[len(per_step) // 2] if per_step else None,
        "curve": [short(row) for row in rows[:: max(1, len(rows) // ROWS)]],
    }


def short(row: dict[str, float]) -> dict[str, float]:
    """The losses and the validation of a row."""
    dropped = {name for name in row if name.endswith("_weight")} | {"seconds_per_step"}
    return {name: float(f"{value:.5g}") for name, value in row.items() if name not in dropped}


def pack_newer(arm: Arm, out: Path, before: Path | None) -> Path | None:
    """Pack what a run has so far if that is new: whatever ends the job, the last of these has come back."""
    model = model_of(arm.run)
    if model is not None and model != before:
        with suppress(OSError):  # it is being replaced; the next look finds it
            pack(arm.run, out / f"{arm.name}.zip")
    return model


def pack(run: Path, file: Path) -> None:
    """The model with its curves, settings and record, as one file that comes back, or as pieces of one."""
    model = model_of(run)
    if model is None:
        return
    names = ("settings.yaml", "record.json", "curves.csv", "curves.png", "log.txt")
    inside = {name: run / name for name in names if (run / name).is_file()}
    inside |= {f"model/{name}": model / name for name in ("plan.json", "generator.safetensors")}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, source in inside.items():
            archive.write(source, name)
    whole = buffer.getvalue()
    pieces = [whole[start : start + PART_BYTES] for start in range(0, len(whole), PART_BYTES)]
    for number, piece in enumerate(pieces, 1):
        name = file.name if len(pieces) == 1 else f"{file.name}.{number:03d}"
        with atomic_file(file.with_name(name)) as temporary:
            temporary.write_bytes(piece)
