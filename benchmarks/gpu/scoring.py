"""Score models on people with known truth, against their CT without noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.cohorts import TruePatient, load_patient
from benchmarks.gpu.job import Job, PartError
from benchmarks.gpu.runs import model_of
from creps.api import load
from creps.figures import BONE_WINDOW_HU, Panel, comparison_figure, mr_window
from creps.io.picture import write_picture
from creps.metrics.image import mean_absolute_error_hu, mean_error_hu
from creps.metrics.segmentation import bone_dice
from creps.parallel import WorkerDied, run_all

__all__ = ["Synthesis", "score_all", "score_models", "water_of"]

WATER_HU = 0.0


@dataclass(frozen=True)
class Synthesis:
    """One sCT to make and to score.

    Attributes:
        patient: File of the patient.
        arm: What is compared.
        when: "end", "step N", or what the patients are.
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
    """Score each region's model on the unseen family, then on phantoms that it has not learned from."""
    tasks, shown, water = [], {}, {}
    for region in job.sizes.model_regions:
        model = model_of(job.work / "runs" / region)
        for name, folder in (("unseen family", "unseen"), ("held-out phantoms", "held-out")):
            people = sorted((job.work / folder / region).glob("*.npz"))
            water[f"{region}, {name}"] = water_of(people)
            for path in people if model is not None else ():
                keep = job.work / "sct" / f"{region}-{folder}.npy" if path == people[0] else None
                shown |= {path: keep} if keep is not None else {}
                tasks.append(Synthesis(path, region, name, model, job.sizes.device, keep))
    if not tasks:
        raise PartError("No training left a model: see the part 'models'.")
    job.note(water=water)
    lost = score_all(job, tasks)
    draw(job, shown)
    if lost:
        raise PartError(f"{lost} of {len(tasks)} sCTs could not be made: their process ended.")


def score_all(job: Job, tasks: Sequence[Synthesis]) -> int:
    """Make the sCTs, several at a time; what is done is noted as it comes. Returns how many could not be made."""
    rows: list[dict[str, Any]] = []
    lost = 0
    for _, row in run_all(score_one, tasks, job.sizes.scorers):
        if isinstance(row, WorkerDied):
            lost += 1
            continue
        rows.append(row)
        job.note(means=means(rows), rows=rows)
    return lost


def score_one(task: Synthesis) -> dict[str, Any]:
    """Make one sCT and compare it with the truth."""
    patient, model = load_patient(task.patient), load(task.model)
    result = model.synthesize(patient.mr, device=task.device, force=True)  # a model's site is not this one
    if task.keep is not None:
        task.keep.parent.mkdir(parents=True, exist_ok=True)
        np.save(task.keep, result.sct.array)
    found = {"arm": task.arm, "when": task.when, "patient": task.patient.stem, "steps": model.plan.training["steps"]}
    return found | figures(patient, result.sct.array) | {"seconds": result.record["seconds"]}


def figures(patient: TruePatient, sct_hu: np.ndarray) -> dict[str, float | None]:
    """Within the body, against the CT without noise."""
    truth, body = patient.truth_hu, patient.body
    if truth is None:
        raise ValueError("a held-out patient needs its truth")
    return {
        "mae_hu": round(mean_absolute_error_hu(truth, sct_hu, body), 2),
        "bias_hu": round(mean_error_hu(truth, sct_hu, body), 2),
        "bone_dice": round(bone_dice(truth, sct_hu, body), 4),
    }


def water_of(people: Sequence[Path]) -> list[float]:
    """MAE of an sCT that is water everywhere in the body: what needs no network."""
    found = []
    for path in people:
        patient = load_patient(path)
        if patient.truth_hu is not None:
            constant = np.full_like(patient.truth_hu, WATER_HU)
            found.append(round(mean_absolute_error_hu(patient.truth_hu, constant, patient.body), 2))
    return found


def means(rows: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Arm → when → figures over the patients scored so far, and how many they are."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for arm, when in dict.fromkeys((row["arm"], row["when"]) for row in rows):
        own = [row for row in rows if (row["arm"], row["when"]) == (arm, when)]
        errors, dice = ([row[name] for row in own] for name in ("mae_hu", "bone_dice"))
        found.setdefault(arm, {})[when] = {
            "mae_hu": round(float(np.mean(errors)), 2),
            "mae_hu_median": round(float(np.median(errors)), 2),
            "mae_hu_worst": max(errors),
            "bias_hu": round(float(np.mean([row["bias_hu"] for row in own])), 2),
            "bone_dice": round(float(np.mean(dice)), 4),
            "bone_dice_median": round(float(np.median(dice)), 4),
            "bone_dice_worst": min(dice),
            "patients": len(own),
            "steps": own[0]["steps"],
        }
    return found


def draw(job: Job, shown: dict[Path, Path]) -> None:
    """MR, sCT and the truth of one person of each region and family."""
    rows = []
    for path, file in shown.items():
        patient = load_patient(path)
        if patient.truth_hu is None or not file.is_file():
            continue
        rows.append(
            [
                Panel(patient.mr, "MR", mr_window(patient.mr)),
                Panel(patient.mr.with_array(np.load(file)), "sCT", BONE_WINDOW_HU),
                Panel(patient.mr.with_array(patient.truth_hu), "true CT without noise", BONE_WINDOW_HU),
            ]
        )
    if rows:
        write_picture(comparison_figure(rows, "People that the models have never seen"), job.out / "held-out.png")
