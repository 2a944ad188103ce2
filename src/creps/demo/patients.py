"""Digital patients with known truth for the demo and for the scores of shipped models: grown, synthesized, scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from creps.io.atomic import atomic_file, write_json
from creps.io.itk import read_volume, write_volume
from creps.machine import cores
from creps.metrics.image import mean_absolute_error_hu, mean_error_hu
from creps.metrics.segmentation import bone_dice
from creps.parallel import WorkerDied, run_all
from creps.phantom import REGIONS
from creps.phantom.patient import grow_patient
from creps.phantom.scanners.mr import MrCentre
from creps.provenance import NOTICE, provenance
from creps.regions import part_of_body
from creps.volume import Array, Mask, Volume

if TYPE_CHECKING:
    from creps.api.model import Model  # the processes that grow patients need no torch
    from creps.api.synthesis import Synthesis

__all__ = [
    "Order",
    "Patient",
    "Row",
    "grow_all",
    "mean_row",
    "mean_scores",
    "phantom_spacing_mm",
    "read_patients",
    "score",
    "score_table",
    "synthesize_all",
    "write_scores",
]

Row = dict[str, float]
"""Score → value: ``mae_hu``, ``mae_noisy_hu``, ``bias_hu`` (all in HU) and ``bone_dice``, inside the body."""


@dataclass(frozen=True)
class Order:
    """One patient to grow.

    Attributes:
        name: Of its folder.
        region: Of a phantom, or of a model's preparation.
        seed: The same seed gives the same person.
        spacing_mm: Nominal voxel size.
        centre: Which of the region's MR centres images it.
        scanner: Image it with this scanner instead.
        mr: Acquire the MR; with a CT as well, this is its truth.
        ct: Acquire the CT.
    """

    name: str
    region: str
    seed: tuple[int, ...]
    spacing_mm: float
    centre: int = 0
    scanner: MrCentre | None = None
    mr: bool = True
    ct: bool = True


@dataclass(frozen=True, eq=False)
class Patient:
    """A held-out phantom with its truth, all on the grid of the MR.

    Attributes:
        name: Of its folder.
        mr: In scanner units.
        ct: HU, with noise.
        ct_noise_free: HU, the truth of the scores.
        body: (D, H, W), True inside the patient.
    """

    name: str
    mr: Volume
    ct: Volume
    ct_noise_free: Volume
    body: Mask


def phantom_spacing_mm(model_spacing_mm: tuple[float, float, float]) -> float:
    """Voxel size of phantoms for a model: its coarsest axis, since finer ones take much longer to grow.

    Args:
        model_spacing_mm: Of the model (D, H, W).

    Examples:
        >>> phantom_spacing_mm((3.0, 2.0, 2.0))
        3.0
    """
    return min(5.0, max(model_spacing_mm))


def grow_all(orders: Sequence[tuple[Path, Order]], *, jobs: int | None = None) -> list[Path]:
    """Grow patients side by side and write them as ``folder/<name>/{mr,ct,ct_noise_free,mask}.nii.gz``.

    Args:
        orders: Folder and description of each patient.
        jobs: Processes; None: one for each core.

    Returns:
        The patients' folders, in the order of `orders`.

    Raises:
        CohortError: no process can be started.
    """
    jobs = cores() if jobs is None else jobs
    died = [orders[index] for index, result in run_all(_grow, orders, jobs) if isinstance(result, WorkerDied)]
    for order in died:  # usually for lack of memory: once more, alone
        _grow(order)
    return [folder / order.name for folder, order in orders]


def _grow(task: tuple[Path, Order]) -> None:
    folder, order = task
    region = REGIONS[part_of_body(order.region)]
    if order.scanner is not None:
        region = replace(region, mr_centres=(order.scanner,))
    grown = grow_patient(region, list(order.seed), order.spacing_mm, mr=order.mr, ct=order.ct, centre=order.centre)
    images = {"mr": grown.mr, "ct": grown.ct, "mask": grown.mask}
    images |= {"ct_noise_free": grown.ct_noise_free} if order.mr and order.ct else {}
    for name, volume in images.items():
        if volume is not None:
            write_volume(volume, folder / order.name / f"{name}.nii.gz", integer=True)


def read_patients(folders: Sequence[Path]) -> list[Patient]:
    """Read patients with truth.

    Raises:
        InputError: a volume is missing or damaged.
    """
    patients = []
    for case in folders:
        mr, ct, clean, mask = (read_volume(case / f"{name}.nii.gz") for name in ("mr", "ct", "ct_noise_free", "mask"))
        patients.append(Patient(case.name, mr, ct, clean, mask.array > 0))
    return patients


def synthesize_all(model: Model, patients: Sequence[Patient], folder: Path, *, force: bool = False) -> list[Synthesis]:
    """Write ``folder/<name>_sct.nii.gz`` and its record for each patient.

    Args:
        model: The model.
        patients: Whose MR.
        folder: Where.
        force: Although the intake checks refuse an MR.

    Returns:
        The sCTs in HU, each on the grid of its MR, with the results of the intake checks.

    Raises:
        InputError: the intake checks refuse an MR.
    """
    syntheses = []
    for patient in patients:
        syntheses.append(model.synthesize(patient.mr, force=force))
        path = folder / f"{patient.name}_sct.nii.gz"
        write_volume(syntheses[-1].sct, path, integer=True)
        write_json(path.with_name(f"{patient.name}_sct.json"), syntheses[-1].record)
    return syntheses


def score(patient: Patient, sct_hu: Array) -> Row:
    """Scores of one sCT inside the body, against the noise-free CT (`mae_noisy_hu`: against the CT with noise).

    Args:
        patient: With its truth.
        sct_hu: (D, H, W) in HU on the grid of the MR.
    """
    return {
        "mae_hu": mean_absolute_error_hu(patient.ct_noise_free.array, sct_hu, patient.body),
        "mae_noisy_hu": mean_absolute_error_hu(patient.ct.array, sct_hu, patient.body),
        "bias_hu": mean_error_hu(patient.ct_noise_free.array, sct_hu, patient.body),
        "bone_dice": bone_dice(patient.ct_noise_free.array, sct_hu, patient.body),
    }


def mean_scores(patients: Sequence[Patient], scts_hu: Sequence[Array]) -> Row:
    """The mean of each score over patients.

    Args:
        patients: With their truth.
        scts_hu: One (D, H, W) array in HU for each.
    """
    return mean_row([score(patient, sct_hu) for patient, sct_hu in zip(patients, scts_hu, strict=True)])


def mean_row(rows: Sequence[Row]) -> Row:
    """The mean of each score over patients that are scored already."""
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def write_scores(folder: Path, document: dict[str, Any], text: str) -> None:
    """Write ``scores.json`` with what produced it, and ``scores.txt``.

    Args:
        folder: Where.
        document: Plain JSON values.
        text: Tables.
    """
    write_json(folder / "scores.json", {**provenance(), **document})
    with atomic_file(folder / "scores.txt") as path:
        path.write_text(f"{NOTICE}\n\n{text}\n", encoding="utf-8")


def score_table(scores: dict[str, Row]) -> str:
    """Scores of methods as a table of text.

    Examples:
        >>> water = {"mae_hu": 220.0, "mae_noisy_hu": 221.0, "bias_hu": -140.0, "bone_dice": 0.0}
        >>> print(score_table({"constant water": water}).splitlines()[1])
        constant water                                 220.0     -140.0      0.000
    """
    lines = [f"{'in the body, against the noise-free truth':<42}{'MAE (HU)':>10}{'bias (HU)':>11}{'bone Dice':>11}"]
    lines += [
        f"{name:<42}{row['mae_hu']:>10.1f}{row['bias_hu']:>11.1f}{row['bone_dice']:>11.3f}"
        for name, row in scores.items()
    ]
    return "\n".join(lines)
