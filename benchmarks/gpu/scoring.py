"""Score both trainings on held-out phantoms against their CT without noise: after equal time and after equal steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.job import Job, PartError
from benchmarks.gpu.phantoms import TruePatient, load_patient
from benchmarks.gpu.runs import checkpoint_steps
from benchmarks.gpu.settings import ARMS
from creps.api import load
from creps.figures import BONE_WINDOW_HU, Panel, comparison_figure, mr_window
from creps.io.picture import write_picture
from creps.metrics.image import mean_absolute_error_hu, mean_error_hu
from creps.metrics.segmentation import bone_dice
from creps.parallel import WorkerDied, run_all

__all__ = ["score_models"]

WATER_HU = 0.0


@dataclass(frozen=True)
class Synthesis:
    """One sCT to make and to score.

    Attributes:
        patient: File of the held-out phantom.
        arm: Recipe.
        when: "equal time", "equal steps", or "step N".
        model: Folder of the model or the checkpoint.
        device: Where.
        keep: Where the sCT goes, if it is to be shown.
    """

    patient: Path
    arm: str
    when: str
    model: Path
    device: str
    keep: Path | None = None


def score_models(job: Job) -> None:
    """Synthesize every held-out phantom with every model, several at a time; what is done is noted as it comes."""
    patients = sorted((job.work / "held-out").glob("*.npz"))
    tasks = list(syntheses(job, patients))
    if not any(task.when == "equal time" for task in tasks):
        raise PartError("Neither training left a model: see the part 'train'.")
    rows: list[dict[str, Any]] = []
    lost = 0
    job.note(patients=len(patients), water=[water(load_patient(path)) for path in patients])
    for _, row in run_all(score_one, tasks, job.sizes.scorers):
        if isinstance(row, WorkerDied):
            lost += 1
            continue
        rows.append(row)
        job.note(means=means(rows), rows=rows)
    draw(job, patients[0])
    if lost:
        raise PartError(f"{lost} of {len(tasks)} sCTs could not be made: their process ended.")


def syntheses(job: Job, patients: list[Path]) -> list[Synthesis]:
    """The models of both arms for all patients, then checkpoints on the way for some."""
    runs = {arm: job.work / "runs" / arm for arm in ARMS}
    runs = {arm: run for arm, run in runs.items() if (run / "model").is_dir()}
    steps = {arm: checkpoint_steps(run) for arm, run in runs.items()}
    common = max(set.intersection(*map(set, steps.values())), default=None) if len(steps) == len(ARMS) else None
    tasks = []
    for patient in patients:
        for arm, run in runs.items():
            keep = job.work / "sct" / f"{arm}.npy" if patient == patients[0] else None
            tasks.append(Synthesis(patient, arm, "equal time", run / "model", job.sizes.device, keep))
            if common is not None:
                tasks.append(Synthesis(patient, arm, "equal steps", steps[arm][common], job.sizes.device))
    for arm, known in steps.items():
        order = sorted(known)[:-1]
        chosen = order[:: max(1, len(order) // max(1, job.sizes.curve_points))][: job.sizes.curve_points]
        for step in chosen:
            some = patients[: job.sizes.curve_cases]
            tasks += [Synthesis(patient, arm, f"step {step}", known[step], job.sizes.device) for patient in some]
    return tasks


def score_one(task: Synthesis) -> dict[str, Any]:
    """Make one sCT and compare it with the truth."""
    patient, model = load_patient(task.patient), load(task.model)
    result = model.synthesize(patient.mr, device=task.device)
    if task.keep is not None:
        task.keep.parent.mkdir(parents=True, exist_ok=True)
        np.save(task.keep, result.sct.array)
    found = {"arm": task.arm, "when": task.when, "patient": task.patient.stem, "steps": model.plan.training["steps"]}
    return found | figures(patient, result.sct.array) | {"seconds": result.record["seconds"]}


def figures(patient: TruePatient, sct_hu: np.ndarray) -> dict[str, float | None]:
    """Within the body, against the CT without noise."""
    truth, body = patient.truth_hu, patient.body
    if truth is None:
        raise ValueError("a held-out phantom needs its truth")
    return {
        "mae_hu": round(mean_absolute_error_hu(truth, sct_hu, body), 2),
        "bias_hu": round(mean_error_hu(truth, sct_hu, body), 2),
        "bone_dice": round(bone_dice(truth, sct_hu, body), 4),
    }


def water(patient: TruePatient) -> float:
    """MAE of an sCT that is water everywhere in the body: what needs no network."""
    if patient.truth_hu is None:
        raise ValueError("a held-out phantom needs its truth")
    constant = np.full_like(patient.truth_hu, WATER_HU)
    return round(mean_absolute_error_hu(patient.truth_hu, constant, patient.body), 2)


def means(rows: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Arm → when → mean figures over the patients scored so far, and how many they are."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for arm, when in dict.fromkeys((row["arm"], row["when"]) for row in rows):
        own = [row for row in rows if (row["arm"], row["when"]) == (arm, when)]
        values = {name: round(float(np.mean([row[name] for row in own])), 4) for name in ("mae_hu", "bias_hu")}
        values["bone_dice"] = round(float(np.mean([row["bone_dice"] for row in own])), 4)
        found.setdefault(arm, {})[when] = values | {"patients": len(own), "steps": own[0]["steps"]}
    return found


def draw(job: Job, path: Path) -> None:
    """MR, both sCTs and the truth of the first held-out phantom."""
    patient = load_patient(path)
    if patient.truth_hu is None:
        return
    row = [Panel(patient.mr, "MR", mr_window(patient.mr))]
    for arm in ARMS:
        file = job.work / "sct" / f"{arm}.npy"
        if file.is_file():
            row.append(Panel(patient.mr.with_array(np.load(file)), f"sCT, {arm}", BONE_WINDOW_HU))
    row.append(Panel(patient.mr.with_array(patient.truth_hu), "true CT without noise", BONE_WINDOW_HU))
    write_picture(comparison_figure([row], "A held-out digital phantom"), job.out / "held-out.png")
