"""How far a label-free score's choice lies from the best: every candidate part beside the true error, checkpoint by checkpoint.

    python benchmarks/score/regret.py measure COHORT WORK OUT.json
    python benchmarks/score/regret.py judge HEAD.json PELVIS.json --results FOLDER

`measure` takes about six checkpoints of every run below WORK/runs (benchmarks/accuracy), computes the parts on three
MRs and three CTs of WORK/prepared/unpaired (the last ones; all runs but the supervised were trained on them), and the
true MAE on patients of COHORT/validation. It goes on where it was stopped. `judge` says what choosing by the score costs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "accuracy"))

from candidates import Candidates
from score import brief, checkpoints, quickly

from creps import load, read_volume
from creps.data.cohort import Cohort, load_cohort
from creps.io.atomic import write_json
from creps.provenance import provenance

POINTS, PATIENTS, HELD_OUT = 4, 2, 3
PARTS_OF_TRUTH = ("mae_hu", "bone_dice")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    verbs = arguments.add_subparsers(required=True)
    measuring = verbs.add_parser("measure")
    for name in ("cohort", "work", "out"):
        measuring.add_argument(name, type=Path)
    measuring.set_defaults(call=measure)
    chosen = vars(arguments.parse_args())
    chosen.pop("call")(**chosen)


def measure(cohort: Path, work: Path, out: Path) -> None:
    """Write the parts and the true error of every run's checkpoints."""
    torch.set_num_threads(1)
    found = json.loads(out.read_text(encoding="utf-8"))["runs"] if out.is_file() else {}
    held_out = hold_out(load_cohort(work / "prepared" / "unpaired"))
    looking: dict[tuple[int, int, int], Candidates] = {}
    for run in sorted(path for path in (work / "runs").iterdir() if path.is_dir()):
        known = found.setdefault(run.name, {})
        scored = scored_before(work, run)
        for steps, path in spread(checkpoints(run), scored).items():
            if str(steps) in known:
                continue
            started, model = time.perf_counter(), load(path)
            size = model.plan.patch_size
            if size not in looking:
                looking[size] = Candidates(held_out, size)
            known[str(steps)] = {"parts": looking[size](model.generator), "true": scored.get(steps) or truth(model, cohort)}
            write_json(out, {**provenance(), "runs": found})
            print(run.name, steps, known[str(steps)]["true"], f"{time.perf_counter() - started:.1f} s", flush=True)


def hold_out(cohort: Cohort) -> Cohort:
    """The cohort with its last cases for validation, if it has none."""
    if cohort.cases("mr", "validation"):
        return cohort
    names = {(c.modality, c.case) for m in ("mr", "ct") for c in cohort.cases(m, "train")[-HELD_OUT:]}  # type: ignore[arg-type]
    cases = tuple(
        c.model_copy(update={"split": "validation"}) if (c.modality, c.case) in names else c
        for c in cohort.manifest.cases
    )
    return Cohort(cohort.folder, cohort.manifest.model_copy(update={"cases": cases}))


def scored_before(work: Path, run: Path) -> dict[int, dict[str, float]]:
    """Steps → figures of validation patients that benchmarks/accuracy/score.py found."""
    file = work / "scores" / f"{run.name}.json"
    curve = json.loads(file.read_text(encoding="utf-8"))["curve"] if file.is_file() else []
    return {point["steps"]: {name: point.get(name, float("nan")) for name in PARTS_OF_TRUTH} for point in curve}


def spread(found: dict[int, Path], scored: dict[int, dict[str, float]]) -> dict[int, Path]:
    """The checkpoints that are scored already, or some from the first to the last."""
    steps = sorted(set(found) & set(scored)) or sorted(found)
    wanted = len(steps) if scored else min(POINTS, len(steps))
    return {steps[round(i)]: found[steps[round(i)]] for i in np.linspace(0, len(steps) - 1, wanted)} if steps else {}


def truth(model: Any, cohort: Path) -> dict[str, float]:
    """Mean figures of validation patients against the truth."""
    cases = sorted(path for path in (cohort / "validation").iterdir() if path.is_dir())[:PATIENTS]
    scores = [brief(case, quickly(model, read_volume(case / "mr.nii.gz"))) for case in cases]
    return {n: float(np.mean([s[n] for s in scores if s[n] is not None] or [np.nan])) for n in PARTS_OF_TRUTH}


if __name__ == "__main__":
    main()
