"""Calibrate a model's spread: synthesize cases whose CT is known, and measure how wrong the sCT is at each spread."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from creps import hu
from creps.errors import InputError, ModelError, OutputExistsError, SettingsError
from creps.inference.calibration import CALIBRATION, Calibration
from creps.io.atomic import atomic_file, write_json
from creps.io.itk import is_volume_file, read_volume, stem
from creps.model import Model, model_folder
from creps.phantom import REGIONS
from creps.phantom.patient import MAX_SPACING_MM, grow_patient
from creps.preprocessing.plausibility.ct import check_ct
from creps.preprocessing.target_grid import bring_onto
from creps.provenance import provenance
from creps.qa.uncertainty.fit import CONFIDENCE, Sample, fit_classes, sample_of
from creps.regions import part_of_body
from creps.settings import PreparationSettings
from creps.shipped.catalogue import SHIPPED
from creps.shipped.names import find_model
from creps.synthesis.options import SynthesisOptions
from creps.synthesis.synthesize import synthesize
from creps.volume import Mask, Volume

__all__ = ["PHANTOMS", "SEED", "calibrate", "calibration_target", "write_calibration"]

log = logging.getLogger(__name__)

PHANTOMS = 10
"""People that a calibration is measured on."""

SEED = 505001
"""Keeps them apart from those that models are trained and scored on."""

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Known:
    """A case whose CT is known.

    Attributes:
        name: For messages.
        mr: In scanner units.
        ct: In HU, aligned to the MR.
        mask: The body, if it is known; else the one found in the MR counts.
    """

    name: str
    mr: Volume
    ct: Volume
    mask: Volume | None


def calibrate(
    model: Model,
    pairs: Path | None = None,
    *,
    phantoms: int = PHANTOMS,
    seed: int = SEED,
    progress: Progress | None = None,
) -> Calibration:
    """Measure how wide the intervals of a model must be.

    Args:
        model: With a spread.
        pairs: Folder with ``CASE/mr.*`` and the aligned ``CASE/ct.*`` (and ``CASE/mask.*``) of real patients; None
            grows phantoms of the model's region.
        phantoms: How many.
        seed: Of the phantoms.
        progress: Called with (cases done, cases in all, name).

    Returns:
        The calibration, for the weights of the model and the inference settings of its plan.

    Raises:
        SettingsError: the model yields no spread, there is no phantom of its region, or a number is out of range.
        InputError: a pair cannot be used.
    """
    plan = model.plan
    if plan.inference.fusion == "single" and not model.generator.yields_spread:
        raise SettingsError(
            "This model predicts one value for each voxel and no spread: there is nothing to calibrate.",
            "Train a model with generator.classes.",
        )
    cases, count, measured_on = _cases(plan.preparation, pairs, phantoms, seed)
    samples = []
    for number, case in enumerate(cases, start=1):
        samples.append(_measured(model, case, [seed, number]))
        if progress is not None:
            progress(number, count, case.name)
    return Calibration(
        confidence=CONFIDENCE,
        weights_sha256=plan.weights_sha256,
        classes=fit_classes(samples),
        measured_on=measured_on,
        provenance=provenance(),
    )


def calibration_target(model: Path | str, *, overwrite: bool) -> Path:
    """Where a model's calibration goes, if it may be written there.

    Args:
        model: The model's folder, run or checkpoint.
        overwrite: Whether one that is there may be replaced.

    Raises:
        ModelError: no model, or one that ships with creps.
        OutputExistsError: it has a calibration.
    """
    folder = model_folder(find_model(model))
    if folder.resolve().is_relative_to(SHIPPED):
        raise ModelError(
            f"The model '{folder.name}' ships with creps and stays as it is.", "Name a folder for the copy: --output."
        )
    path = folder / CALIBRATION
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path} already exists.", "Pass overwrite=True to measure it again.")
    return path


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write a calibration, whole or not at all."""
    with atomic_file(path) as temporary:
        write_json(temporary, calibration.model_dump(mode="json"))


def _cases(
    preparation: PreparationSettings, pairs: Path | None, phantoms: int, seed: int
) -> tuple[Iterator[Known], int, dict[str, Any]]:
    """The cases, how many, and what the document says of them."""
    named = preparation.region
    region = part_of_body(named)
    if pairs is not None:
        folders = _pair_folders(pairs)
        return _read(folders), len(folders), {"pairs": len(folders), "region": named}
    if phantoms < 1 or seed < 0:
        raise SettingsError("A calibration needs at least one phantom, and a seed of 0 or more.", "Choose others.")
    if region not in REGIONS:
        raise SettingsError(f"There is no phantom of the region '{named}'.", "Calibrate on pairs: --pairs FOLDER.")
    spacing_mm = min(MAX_SPACING_MM, *preparation.spacing_mm)
    return _grown(region, phantoms, seed, spacing_mm), phantoms, {"phantoms": phantoms, "region": region, "seed": seed}


def _grown(region: str, count: int, seed: int, spacing_mm: float) -> Iterator[Known]:
    for number in range(count):
        patient = grow_patient(REGIONS[region], [seed, number], spacing_mm, centre=number)
        if patient.mr is None or patient.ct_noise_free is None:
            raise ValueError("a phantom without images")
        yield Known(f"phantom {number + 1}", patient.mr, patient.ct_noise_free, patient.mask)


def _pair_folders(pairs: Path) -> list[dict[str, Path]]:
    """For each case its files by stem: mr, ct and perhaps mask."""
    if not pairs.is_dir():
        raise InputError(f"{pairs} is not a folder.", "Give a folder with CASE/mr.* and CASE/ct.*.")
    found = []
    for folder in sorted(path for path in pairs.iterdir() if path.is_dir()):
        files = {stem(path).lower(): path for path in sorted(folder.iterdir()) if is_volume_file(path)}
        if {"mr", "ct"} <= files.keys():
            found.append(files)
    if not found:
        raise InputError(f"{pairs} holds no pair.", "Name the files CASE/mr.nii.gz and CASE/ct.nii.gz.")
    return found


def _read(folders: list[dict[str, Path]]) -> Iterator[Known]:
    for files in folders:
        mask = read_volume(files["mask"]) if "mask" in files else None
        ct = read_volume(files["ct"])
        check_ct(ct, str(files["ct"]))
        yield Known(files["mr"].parent.name, read_volume(files["mr"]), ct, mask)


def _measured(model: Model, case: Known, seed: list[int]) -> Sample:
    """Synthesize a case and compare it with its CT, on the model's grid.

    Raises:
        InputError: no voxel of the body has a spread.
    """
    result = synthesize(model, case.mr, options=SynthesisOptions(grid="model", spread=True, force=True))
    if result.spread is None:
        raise ValueError("a spread was asked for")
    sct_hu, spread_hu = result.sct.array, result.spread.array
    ct_hu = bring_onto(case.ct, result.sct, hu.AIR).array
    imaged = bring_onto(case.ct.with_array(np.ones_like(case.ct.array)), result.sct, 0.0).array > 0.5
    body: Mask = np.asarray((result.body.array > 0.5) & imaged)
    if case.mask is not None:
        body &= bring_onto(case.mask, result.sct, 0.0).array > 0.5
    if not (body & (spread_hu > 0)).any():
        raise InputError(f"{case.name}: MR and CT share no part of the body.", "Align the CT to the MR.")
    log.info("%s: MAE %.1f HU", case.name, np.abs(sct_hu - ct_hu)[body].mean())
    return sample_of(sct_hu, spread_hu, ct_hu, body, seed)
