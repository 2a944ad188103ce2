"""Train arms on the unseen family's MR and CT, score them on its test people, and rank them.

::

    python -m benchmarks.unseen.rank COHORT WORK --region head --arms anatomy supervised --minutes 10 --seeds 0 1 2

COHORT is what `benchmarks.unseen.cohort` wrote. `arms.yaml` says what an arm is. A run is timed over its first steps
and gets as many as fit into `--minutes` of processor time, its reader's included, so the cosine schedule ends with it
and other work on the machine changes little; `--steps` sets them instead. Runs that are there are not repeated.
Results go to WORK/rank.json, one row a run: MAE and bone Dice of every person inside the body, against the noise-free
CT, on the MR's own grid; and the hash of the model that it started from.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.accuracy.plan import Plan
from benchmarks.accuracy.train import train
from benchmarks.unseen.score import scored
from creps import load
from creps.io.atomic import write_json
from creps.provenance import provenance

TABLE: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("arms.yaml").read_text(encoding="utf-8"))

PACE_STEPS = 20
"""Steps of the run that times an arm; the first ones are slow."""


def main() -> None:
    """Train, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--region", choices=sorted(TABLE["regions"]), default="head")
    parser.add_argument("--arms", nargs="+", choices=list(TABLE["arms"]), default=list(TABLE["arms"]))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="of processor time for each run, on a CPU")
    parser.add_argument("--steps", type=int, help="instead of --minutes")
    parser.add_argument("--weights", type=Path, help="folder with the files of perceptual weights")
    options = parser.parse_args()
    plan = Plan(options.cohort, options.work.resolve(), options.region, "small", options.weights, TABLE)
    results = plan.work / "rank.json"
    for seed in options.seeds:
        for arm in plan.arms(options.arms):
            rows = json.loads(results.read_text(encoding="utf-8"))["runs"] if results.is_file() else []
            if any((row["arm"], row["seed"]) == (arm, seed) for row in rows):
                continue
            steps = options.steps or affordable_steps(plan, arm, 60 * options.minutes)
            rows.append(ranked(plan, arm, seed, steps))
            write_json(results, {**provenance(), "region": options.region, "runs": rows})
    print(table(json.loads(results.read_text(encoding="utf-8"))["runs"]))


def affordable_steps(plan: Plan, arm: str, seconds: float) -> int:
    """Steps that fit into seconds of processor time, by the difference of two short runs; kept in a file."""
    file = plan.work / "processor-pace.json"
    pace = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if arm not in pace:
        plan.prepared(arm)  # not part of what is timed
        taken = []
        for steps in (PACE_STEPS, 3 * PACE_STEPS):
            started = processor_seconds()
            trained(plan, arm, 0, steps, f"-pace{steps}")
            taken.append(processor_seconds() - started)
        pace[arm] = (taken[1] - taken[0]) / (2 * PACE_STEPS)
        write_json(file, pace)
    return max(1, round(seconds / pace[arm]))


def processor_seconds() -> float:
    """Of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def ranked(plan: Plan, arm: str, seed: int, steps: int) -> dict[str, Any]:
    """Train an arm and score it: a row."""
    started = time.perf_counter()
    run = trained(plan, arm, seed, steps)
    row: dict[str, Any] = {"arm": arm, "seed": seed, "steps": steps, "seconds": round(time.perf_counter() - started)}
    before = load(run).plan.training.get("started_from")
    row["started_from"] = before and before["weights_sha256"]
    row["people"] = scored(run, plan.cases("test"))
    print(table([row]), flush=True)
    return row


def trained(plan: Plan, arm: str, seed: int, steps: int, label: str = "") -> Path:
    """The folder of a run, which ends the benchmark if it fails."""
    changes = {
        "training.checkpoint_every": min(steps, 200),
        "training.keep_checkpoints": 1,
        "training.validate_every": max(1, steps // 4),
    }
    folder = plan.run(arm, seed, label)
    if train(plan, arm, seed, steps, label=label, changes=changes) != 0:
        sys.exit(f"The run {folder} did not come to its end: see {folder}.log.")
    return folder


def table(runs: list[dict[str, Any]]) -> str:
    """Means over seeds and people, in Markdown; ratios to the bound where it was trained."""
    means = {arm: _means([run for run in runs if run["arm"] == arm]) for arm in TABLE["arms"]}
    bound = means["supervised"]
    lines = ["| Arm | Seeds | Steps | MAE (HU) | of the bound | Worst / median | Bone Dice |", "|---" * 7 + "|"]
    for arm, row in means.items():
        if row is not None:
            ratio = f"{row['mae'] / bound['mae']:.2f}" if bound is not None else ""
            title = TABLE["arms"][arm]["title"]
            cells = (title, row["seeds"], row["steps"], f"{row['mae']:.0f}", ratio, f"{row['worst']:.2f}")
            lines.append("| " + " | ".join(map(str, (*cells, f"{row['dice']:.2f}"))) + " |")
    return "\n".join(lines)


def _means(runs: list[dict[str, Any]]) -> dict[str, Any] | None:
    if not runs:
        return None
    errors = np.array([[person["mae_hu"] for person in run["people"]] for run in runs])
    dice = np.mean([[person["bone_dice"] for person in run["people"]] for run in runs])
    worst = float(np.max(errors.max(axis=1) / np.median(errors, axis=1)))
    return {"seeds": len(runs), "steps": runs[0]["steps"], "mae": errors.mean(), "worst": worst, "dice": dice}


if __name__ == "__main__":
    main()
