"""The table on the unseen family: every arm learns from the same site at the same time for the same time."""

from __future__ import annotations

import time

from benchmarks.gpu.job import Job, PartError, group_file
from benchmarks.gpu.parts import wave_of
from benchmarks.gpu.runs import checkpoint_steps
from benchmarks.gpu.scoring import Synthesis, score_all, water_of
from benchmarks.gpu.settings import TABLE_ARMS, table_settings
from benchmarks.gpu.together import Arm, train_together

__all__ = ["train_wave"]


def train_wave(job: Job) -> None:
    """Train and score all arms of a region with a seed: first their last models, then the points of their curves."""
    sizes = job.sizes
    region, seed = wave_of(job.name.removeprefix("table-"))
    arms = [
        Arm(
            name,
            job.work / "cohorts" / region / TABLE_ARMS[name][1],
            job.work / "runs" / f"{region}-{name}-{seed}",
            table_settings(sizes, region, name, seed),
            people=job.work / "people",
        )
        for name in sizes.table_arms
    ]
    job.note(region=region, seed=seed, people=sizes.table_people)
    found = train_together(job, arms, job.seconds_left() - sizes.table_scoring, sizes.table_steps)
    group = group_file(job.work, f"unseen-{region}")
    while not group.is_file():
        if job.seconds_left() < 5:
            raise PartError("The people to score were not grown in time.")
        time.sleep(0.2)
    people = sorted((job.work / "unseen" / region).glob("*.npz"))
    job.note(water=water_of(people))
    trained = {arm.name: arm.run for arm in arms if (arm.run / "model").is_dir()}
    tasks = [
        Synthesis(path, name, "end", run / "model", sizes.device) for name, run in trained.items() for path in people
    ]
    for name, run in trained.items():
        known = checkpoint_steps(run)
        order = sorted(known)[:-1]
        chosen = order[:: max(1, len(order) // max(1, sizes.curve_points))][: sizes.curve_points] if order else []
        tasks += [
            Synthesis(path, name, f"step {step}", known[step], sizes.device)
            for step in chosen
            for path in people[: sizes.curve_cases]
        ]
    lost = score_all(job, tasks)
    broken = next((f"{name}: {one['error']}" for name, one in found.items() if "error" in one), None)
    if broken is not None or lost:
        raise PartError(broken or f"{lost} of {len(tasks)} sCTs could not be made: their process ended.")
