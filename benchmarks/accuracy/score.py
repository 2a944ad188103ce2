"""Score runs, and what needs no network, on patients with truth.

    python benchmarks/accuracy/score.py COHORT WORK

Every run under WORK/runs becomes WORK/scores/RUN.json: all figures of 'creps evaluate' for each test patient, MAE
of the test patients after the steps that all arms have, and a curve over the validation patients. Truth is
`ct_noise_free` where a patient has one, and `ct` is scored beside it. What is there is not done again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from options import parser, plan_of
from plan import ARMS, Plan

from creps import Model, Volume, load, read_volume, write_volume
from creps.io.atomic import write_json
from creps.metrics.image import mean_absolute_error_hu, mean_error_hu
from creps.metrics.segmentation import bone_dice
from creps.pipeline.baselines import unpaired_baselines
from creps.pipeline.evaluate import evaluate
from creps.provenance import provenance

CURVE_POINTS = 5
"""About so many checkpoints of a run are looked at."""

Synthesizer = Callable[[Volume, Volume], Volume]
"""(MR, mask) → sCT."""


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--jobs", type=int, default=1)
    arguments.add_argument("--curve-only", action="store_true", help="validation patients only, for tuning")
    chosen = arguments.parse_args()
    plan = plan_of(chosen)
    runs = [path for path in sorted((plan.work / "runs").iterdir()) if (path / "model" / "plan.json").is_file()]
    if chosen.arms:
        runs = [path for path in runs if arm_of(path) in chosen.arms]
    waiting = [path for path in runs if not score_file(plan, path.name).is_file()]
    common = None if chosen.curve_only else common_steps(runs)
    if not chosen.curve_only:
        score_baselines(plan)
    with ProcessPoolExecutor(chosen.jobs, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for line in pool.map(score_run, [plan] * len(waiting), waiting, [common] * len(waiting)):
            print(line, flush=True)


def arm_of(run: Path) -> str:
    """The arm of a run's folder, by its name; a label of tuning is no part of it."""
    return max((arm for arm in ARMS["arms"] if run.name.startswith(arm)), key=len, default=run.name)


def score_file(plan: Plan, name: str) -> Path:
    return plan.work / "scores" / f"{name}.json"


def common_steps(runs: Sequence[Path]) -> int | None:
    """The largest number of steps at which every unpaired run has a checkpoint."""
    steps = [set(checkpoints(run)) for run in runs if ARMS["arms"][arm_of(run)].get("data") != "paired"]
    return max(set.intersection(*steps), default=None) if steps else None


def checkpoints(run: Path) -> dict[int, Path]:
    """Steps → checkpoint."""
    return {int(path.name.removeprefix("step_")): path for path in sorted((run / "checkpoints").glob("step_*"))}


def score_run(plan: Plan, run: Path, common: int | None) -> str:
    """Write the scores of a run; returns a line that says how it went."""
    model = load(run)
    result: dict[str, Any] = {
        **provenance(),
        "arm": arm_of(run),
        "run": run.name,
        "seed": model.plan.training["settings"]["training"]["seed"],
        "steps": model.plan.training["steps"],
        "weights_sha256": model.plan.weights_sha256,
        "perceptual_weights": model.plan.training["perceptual_weights"],
        "curve": curve(plan, run),
    }
    if common is not None:
        result["patients"] = score_patients(plan, run.name, lambda mr, _: model.synthesize(mr).sct)
        result["common_steps"] = common
        if common in checkpoints(run):
            early = load(checkpoints(run)[common])
            result["patients_at_common_steps"] = {
                case.name: brief(case, early.synthesize(read_volume(case / "mr.nii.gz")).sct)
                for case in plan.cases("test")
            }
    write_json(score_file(plan, run.name), result)
    last = result["curve"][-1]
    return f"{run.name}: {result['steps']} steps, validation {last['mae_hu']:.1f} HU, bone Dice {last['bone_dice']:.3f}"


def score_baselines(plan: Plan) -> None:
    """What needs no network, scored like a run."""
    source = next((arm for arm in plan.arms() if ARMS["arms"][arm].get("data") != "paired"), None)
    if source is None:
        return
    for title, baseline in unpaired_baselines(plan.prepared(source)).items():
        name = f"baseline {title}".replace(" ", "-").replace("(", "").replace(")", "")
        if not score_file(plan, name).is_file():
            patients = score_patients(plan, name, lambda mr, mask, b=baseline: b(mr, mask.array > 0))
            write_json(score_file(plan, name), {**provenance(), "arm": title, "run": name, "patients": patients})
            print(name, flush=True)


def score_patients(plan: Plan, name: str, synthesizer: Synthesizer) -> dict[str, Any]:
    """Test patient → figures against the truth, and MAE against the CT as a scanner would have made it."""
    patients = {}
    for case in plan.cases("test"):
        mr, ct, mask = (read_volume(case / f"{image}.nii.gz") for image in ("mr", "ct", "mask"))
        sct = synthesizer(mr, mask)
        file = plan.work / "sct" / name / f"{case.name}_sct.nii.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_volume(sct, file, integer=True)
        scored = evaluate(sct, truth(case), mask, name=f"{name} {case.name}", **labels(plan, case))
        patients[case.name] = {
            "values": scored.values,
            "missing": scored.missing,
            "mae_with_noise_hu": mean_absolute_error_hu(ct.array, sct.array, mask.array > 0),
        }
    return patients


def labels(plan: Plan, case: Path) -> dict[str, Path]:
    """The tissues of a phantom, if the case has them; otherwise HU windows on the CT stand for tissues."""
    given = {"labels": case / "labels.nii.gz", "label_names": plan.cohort / "phantom.json"}
    return given if all(path.is_file() for path in given.values()) else {}


def truth(case: Path) -> Volume:
    """The noise-free CT of a phantom, or the CT there is."""
    clean = case / "ct_noise_free.nii.gz"
    return read_volume(clean if clean.is_file() else case / "ct.nii.gz")


def brief(case: Path, sct: Volume) -> dict[str, float]:
    """The three main figures of one patient."""
    clean, inside = truth(case).array, read_volume(case / "mask.nii.gz").array > 0
    return {
        "mae_hu": mean_absolute_error_hu(clean, sct.array, inside),
        "bias_hu": mean_error_hu(clean, sct.array, inside),
        "bone_dice": bone_dice(clean, sct.array, inside) if (clean[inside] > 250).any() else float("nan"),
    }


def curve(plan: Plan, run: Path) -> list[dict[str, float]]:
    """Mean figures of the validation patients after a number of steps; every voxel predicted at least once."""
    found = checkpoints(run)
    every = max(1, len(found) // CURVE_POINTS)
    chosen = list(found.items())[::-1][::every][::-1]
    points = []
    for steps, path in chosen:
        model = load(path)
        scores = [brief(case, quickly(model, read_volume(case / "mr.nii.gz"))) for case in plan.cases("validation")]
        if scores:
            points.append({"steps": steps} | {k: float(np.mean([s[k] for s in scores])) for k in scores[0]})
    return points


def quickly(model: Model, mr: Volume) -> Volume:
    overlap = tuple(side // 4 for side in model.plan.patch_size)
    return model.synthesize(mr, min_coverage=1, patch_overlap=overlap).sct


def load_scores(plan: Plan) -> list[dict[str, Any]]:
    """Everything that was scored."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted((plan.work / "scores").glob("*.json"))]


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
