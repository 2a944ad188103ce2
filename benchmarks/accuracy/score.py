"""Score runs, and what needs no network, on patients with truth.

    python -m benchmarks.accuracy.score COHORT WORK

Every run under WORK/runs becomes WORK/scores/RUN.json: all figures of 'creps evaluate' for each test patient, the main
figures of the test patients after the steps that all arms have, and a curve over the validation patients. Truth is
`ct_noise_free` where a patient has one, and `ct` is scored beside it. A run that has gone on since is scored again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.accuracy.options import parser, plan_of
from benchmarks.accuracy.plan import ARMS, Plan
from creps import Model, Volume, hu, load, read_volume, write_volume
from creps.demo.baselines import unpaired_baselines
from creps.evaluation.evaluate import evaluate
from creps.evaluation.options import EvaluationOptions
from creps.io.atomic import write_json
from creps.metrics.image import mean_absolute_error_hu, mean_error_hu
from creps.metrics.segmentation import bone_dice
from creps.model import load_plan
from creps.provenance import provenance
from creps.volume import Mask

CURVE_POINTS = 5
"""About so many checkpoints of a run are looked at."""

Synthesizer = Callable[[Volume, Volume], Volume]
"""(MR, mask) → sCT."""


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--jobs", type=int, default=1)
    chosen = arguments.parse_args()
    plan, jobs = plan_of(chosen), chosen.jobs
    score_baselines(plan)
    runs = plan.final_runs()
    common = common_steps(runs)
    waiting = [path for path in runs if is_stale(plan, path, common)]
    with ProcessPoolExecutor(jobs, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for line in pool.map(partial(score_run, plan, common=common), waiting):
            print(line, flush=True)


def score_file(plan: Plan, name: str) -> Path:
    return plan.work / "scores" / f"{name}.json"


def common_steps(runs: Mapping[Path, str]) -> int | None:
    """The largest number of steps at which every unpaired run has a checkpoint."""
    steps = [set(checkpoints(run)) for run, arm in runs.items() if ARMS["arms"][arm].get("data") != "paired"]
    return max(set.intersection(*steps), default=None) if steps else None


def checkpoints(run: Path) -> dict[int, Path]:
    """Steps → checkpoint."""
    return {int(path.name.removeprefix("step_")): path for path in sorted((run / "checkpoints").glob("step_*"))}


def is_stale(plan: Plan, run: Path, common: int | None) -> bool:
    """Whether a run has gone on since it was scored, or is to be compared at another number of steps."""
    file = score_file(plan, run.name)
    if not file.is_file():
        return True
    scored = json.loads(file.read_text(encoding="utf-8"))
    return (scored["weights_sha256"], scored["common_steps"]) != (load_plan(run).weights_sha256, common)


def score_run(plan: Plan, run: Path, common: int | None) -> str:
    """Write the scores of a run; returns a line that says how it went."""
    model = load(run)
    result: dict[str, Any] = {
        **provenance(),
        "arm": plan.final_runs()[run],
        "run": run.name,
        "seed": model.plan.training["settings"]["training"]["seed"],
        "steps": model.plan.training["steps"],
        "weights_sha256": model.plan.weights_sha256,
        "perceptual_weights": model.plan.training["perceptual_weights"],
        "curve": curve(plan, run),
        "patients": score_patients(plan, run.name, lambda mr, _: model.synthesize(mr).sct),
        "common_steps": common,
    }
    if common in checkpoints(run):
        early = load(checkpoints(run)[common])
        result["patients_at_common_steps"] = {
            case.name: {"values": brief(case, early.synthesize(read_volume(case / "mr.nii.gz")).sct)}
            for case in plan.cases("test")
        }
    write_json(score_file(plan, run.name), result)
    figures = "".join(f", {name} {value:.3g}" for name, value in result["curve"][-1].items()) if result["curve"] else ""
    return f"{run.name}: scored{figures}"


def score_baselines(plan: Plan) -> None:
    """What needs no network, scored like a run."""
    source = next((arm for arm in plan.arms() if ARMS["arms"][arm].get("data") != "paired"), None)
    if source is None:
        return
    for title, baseline in unpaired_baselines(plan.prepared(source)).items():
        name = f"baseline {title}".replace(" ", "-").replace("(", "").replace(")", "")
        if not score_file(plan, name).is_file():
            patients = score_patients(plan, name, partial(within_mask, baseline))
            write_json(score_file(plan, name), {**provenance(), "arm": title, "run": name, "patients": patients})
            print(name, flush=True)


def within_mask(baseline: Callable[[Volume, Mask], Volume], mr: Volume, mask: Volume) -> Volume:
    """Apply a baseline inside a mask."""
    return baseline(mr, mask.array > 0)


def score_patients(plan: Plan, name: str, synthesizer: Synthesizer) -> dict[str, Any]:
    """Test patient → figures against the truth, and MAE against the CT as a scanner would have made it."""
    patients = {}
    for case in plan.cases("test"):
        mr, ct, mask = (read_volume(case / f"{image}.nii.gz") for image in ("mr", "ct", "mask"))
        sct = synthesizer(mr, mask)
        file = plan.work / "sct" / name / f"{case.name}_sct.nii.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_volume(sct, file, integer=True)
        options = EvaluationOptions(mask=mask, **labels(plan, case))
        scored = evaluate(sct, truth(case), options, name=f"{name} {case.name}")
        patients[case.name] = {
            "values": scored.values,
            "missing": scored.missing,
            "mae_with_noise_hu": mean_absolute_error_hu(ct.array, sct.array, mask.array > 0),
        }
    return patients


def labels(plan: Plan, case: Path) -> dict[str, Any]:
    """The tissues of a phantom, if the case has them; otherwise HU windows on the CT stand for tissues."""
    given = {"labels": case / "labels.nii.gz", "label_names": plan.cohort / "phantom.json"}
    return given if all(path.is_file() for path in given.values()) else {}


def truth(case: Path) -> Volume:
    """The noise-free CT of a phantom, or the CT there is."""
    clean = case / "ct_noise_free.nii.gz"
    return read_volume(clean if clean.is_file() else case / "ct.nii.gz")


def brief(case: Path, sct: Volume) -> dict[str, float | None]:
    """The three main figures of one patient; None where there is no bone to compare."""
    clean, inside = truth(case).array, read_volume(case / "mask.nii.gz").array > 0
    bone = ((clean > hu.BONE_ABOVE) | (sct.array > hu.BONE_ABOVE)) & inside
    return {
        "mae_hu": mean_absolute_error_hu(clean, sct.array, inside),
        "bias_hu": mean_error_hu(clean, sct.array, inside),
        "bone_dice": bone_dice(clean, sct.array, inside) if bone.any() else None,
    }


def curve(plan: Plan, run: Path) -> list[dict[str, float]]:
    """Mean figures of the validation patients after a number of steps; every voxel predicted at least once."""
    found = list(checkpoints(run).items()) if plan.cases("validation") else []
    every = max(1, len(found) // CURVE_POINTS)
    return [{"steps": steps} | validation_figures(plan, load(path)) for steps, path in found[::-1][::every][::-1]]


def validation_figures(plan: Plan, model: Model) -> dict[str, float]:
    """Mean figures of the validation patients; without those that no patient has."""
    scores = [brief(case, quickly(model, read_volume(case / "mr.nii.gz"))) for case in plan.cases("validation")]
    known = {name: [value for one in scores if (value := one[name]) is not None] for name in scores[0]}
    return {name: float(np.mean(values)) for name, values in known.items() if values}


def quickly(model: Model, mr: Volume) -> Volume:
    overlap = tuple(side // 4 for side in model.plan.patch_size)
    return model.synthesize(mr, min_coverage=1, patch_overlap=overlap).sct


def load_scores(plan: Plan) -> list[dict[str, Any]]:
    """Everything that was scored: what needs no network, and the runs that are still there as they were scored."""
    files = sorted((plan.work / "scores").glob("*.json"))
    scores = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    runs = {path.name for path in plan.final_runs()}
    return [one for one in scores if one["arm"] not in ARMS["arms"] or one["run"] in runs]


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
