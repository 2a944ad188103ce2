"""Prove that a model has seen phantoms only: no shipped weights may come from a patient."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.origin import site_sha256
from creps.cohort.cohort import Cohort, load_cohort
from creps.io.itk import read_volume
from creps.model import Plan
from creps.phantom import PHANTOM_SCHEMA, REGIONS
from creps.phantom.patient import grow_patient
from creps.provenance import sha256_file
from creps.regions import part_of_body
from creps.shipped.catalogue import SHIPPED
from creps.training.run.folder import cases_sha256

__all__ = ["check_origin"]

NOT_PHANTOMS = "Models that ship with creps are trained on digital phantoms only."


def check_origin(
    plan: Plan,
    cohort_folder: Path | None,
    phantoms: Sequence[Path],
    job: Path | None = None,
    before: Sequence[Plan] = (),
) -> str:
    """Refuse a model unless every image that it was trained on is a phantom.

    Without a cohort, its record must name none and say that every patch was of a phantom (`simulation.phantom_share`
    is 1). With one, the cohort must have the hash that the plan names, each of its images must be a file of a phantom
    folder by its hash, and one patient of each folder is grown again and compared voxel by voxel. The cohort of a job
    for a GPU is grown again as a whole. What a model was started from must ship, or be in `before`.

    Args:
        plan: Of the model.
        cohort_folder: What it was trained on; None for a model that was trained without one.
        phantoms: Folders that `creps phantom` wrote.
        job: Results of the GPU job that trained the first model of all.
        before: The models that it was started from, the first one first. All but the job's own had the cohort of
            `plan`.

    Returns:
        A phrase for the model card.

    Raises:
        SystemExit: the model has seen anything else, or it cannot be told.
    """
    known, phrase = _shipped_hashes(), ""
    for one in (*before, plan):
        started_from = one.training.get("started_from")
        if started_from is not None and started_from.get("weights_sha256") not in known:
            raise SystemExit(f"The model was started from a model that does not ship with creps. {NOT_PHANTOMS}")
        phrase = _from_job(one, job) if job is not None else _from_cohort(one, cohort_folder, phantoms)
        phrase += "" if started_from is None else ", after others that taught the model it was started from"
        known, job = known | {one.weights_sha256}, None
    return phrase


def _from_cohort(plan: Plan, cohort_folder: Path | None, phantoms: Sequence[Path]) -> str:
    if cohort_folder is None:
        return _without_cohort(plan)
    cohort = load_cohort(cohort_folder)
    if cases_sha256(cohort) != plan.training["cohort"]["cases_sha256"]:
        raise SystemExit(f"{cohort_folder} is not the cohort that the model was trained on.")
    for folder in phantoms:
        _regrow(folder)
    known = {sha256_file(path) for folder in phantoms for path in folder.rglob("*.nii.gz")}
    strangers = [case.case for case in cohort.manifest.cases if case.source_sha256 not in known]
    if strangers:
        raise SystemExit(f"{strangers[0]} and perhaps others in {cohort_folder} are no phantoms. {NOT_PHANTOMS}")
    return _phrase(plan, cohort)


def _without_cohort(plan: Plan) -> str:
    simulation = plan.training["settings"].get("simulation", {})
    if plan.training.get("cohort") is not None:
        raise SystemExit("The model was trained on a cohort: name it with --cohort, and its phantoms with --phantoms.")
    if simulation.get("phantom_share") != 1:
        raise SystemExit(f"The model's record does not say that every patch was of a phantom. {NOT_PHANTOMS}")
    return _taught_by_phantoms(simulation)


def _from_job(plan: Plan, job: Path) -> str:
    simulation = plan.training["settings"]["simulation"]
    region = part_of_body(plan.preparation.region)
    if site_sha256(job, region) != plan.training["cohort"]["cases_sha256"]:
        raise SystemExit(f"The phantoms of {job} are not the cohort that the model was trained on.")
    if simulation["phantom_share"] != 1:
        raise SystemExit(f"The model's record does not say that every patch was of a phantom. {NOT_PHANTOMS}")
    return _taught_by_phantoms(simulation)


def _taught_by_phantoms(simulation: dict[str, Any]) -> str:
    return f"digital phantoms only: {simulation['phantoms']}, imaged anew for every patch"


def _phrase(plan: Plan, cohort: Cohort) -> str:
    simulation = plan.training["settings"].get("simulation", {})
    if simulation.get("phantom_share") == 1:
        return _taught_by_phantoms(simulation)
    counts = {modality: len(cohort.cases(modality, "train")) for modality in ("mr", "ct")}
    phrase = f"digital phantoms only: {counts['mr']} MR and {counts['ct']} CT of different ones"
    if simulation.get("weight") and simulation.get("phantom_share"):
        phrase += f", and {simulation['phantoms']} more that are imaged anew for every patch"
    return phrase


def _shipped_hashes() -> set[str | None]:
    return {json.loads(path.read_text(encoding="utf-8"))["weights_sha256"] for path in SHIPPED.glob("*/plan.json")}


def _regrow(folder: Path) -> None:
    """Grow the first patient of a phantom folder again; its images must be the same."""
    try:
        record = json.loads((folder / "phantom.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SystemExit(f"{folder} was not written by 'creps phantom' ({error}).") from error
    if record["schema"] != PHANTOM_SCHEMA:
        raise SystemExit(f"{folder} holds phantoms of another version ({record['schema']}), which cannot be checked.")
    case = record["cases"][0]
    region, spacing_mm = REGIONS[record["region"]], record["spacing_mm"]
    mr, ct = "mr_centre" in case, "ct_scanner" in case
    centre = case["seed"][2] % len(region.mr_centres)
    grown = grow_patient(region, case["seed"], spacing_mm, mr=mr, ct=ct, centre=centre)
    image, name = (grown.mr, "mr") if mr else (grown.ct, "ct")
    assert image is not None  # noqa: S101 - one of both was asked for
    stored = read_volume(folder / case["group"] / case["id"] / f"{name}.nii.gz")
    if stored.shape != image.shape or not np.array_equal(stored.array, np.rint(image.array)):
        raise SystemExit(f"{case['id']} in {folder} is not the phantom that its seed gives. {NOT_PHANTOMS}")
