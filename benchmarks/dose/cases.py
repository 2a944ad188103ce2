"""Test people of the unseen family: images, plan, target and organs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from benchmarks.unseen.tissues import LABEL
from creps.dose.plan import DosePlan, default_plan
from creps.io.itk import read_volume
from creps.volume import Mask, Volume

__all__ = ["PLANS", "Person", "Radiation", "Region", "plan_of", "read_person", "structures"]

Region = Literal["head", "pelvis"]
Radiation = Literal["photons", "protons"]

PLANS: dict[Region, dict[Radiation, dict[str, Any]]] = {
    "head": {
        "photons": {"gantry_degrees": (0.0, 90.0), "dose_grid_mm": 4.0, "spot_mm": 8.0, "iterations": 40},
        "protons": {"gantry_degrees": (0.0, 90.0), "dose_grid_mm": 4.0, "spot_mm": 8.0, "iterations": 40},
    },
    "pelvis": {
        "photons": {"gantry_degrees": (0.0, 90.0, 270.0), "dose_grid_mm": 5.0, "spot_mm": 10.0, "iterations": 40},
        "protons": {"gantry_degrees": (90.0, 270.0), "dose_grid_mm": 5.0, "spot_mm": 10.0, "iterations": 40},
    },
}
"""Few beams on a coarse grid: an sCT takes seconds, and every sCT of a person has the same plan."""

HEAD_RADIUS_MM, HEAD_ASIDE_MM = 18.0, 30.0

PELVIS_RADIUS_MM, BEHIND_BLADDER_MM = 25.0, 35.0


@dataclass(frozen=True)
class Person:
    """A test person.

    Attributes:
        name: Of the case.
        folder: Its files.
        mr: The MR.
        ct: The noise-free CT on the MR's grid, in HU.
        body: (D, H, W) the body.
        labels: (D, H, W) tissues, values of `benchmarks.unseen.tissues.LABEL`.
    """

    name: str
    folder: Path
    mr: Volume = field(repr=False)
    ct: Volume = field(repr=False)
    body: Mask = field(repr=False)
    labels: npt.NDArray[Any] = field(repr=False)


def read_person(folder: Path) -> Person:
    """Read a folder that `benchmarks.unseen.cohort` wrote below ``test``."""
    mr, ct, mask, labels = (
        read_volume(folder / f"{name}.nii.gz") for name in ("mr", "ct_noise_free", "mask", "labels")
    )
    return Person(folder.name, folder, mr, ct, mask.array > 0, labels.array)


def plan_of(region: Region, radiation: Radiation) -> DosePlan:
    """The plan that all sCTs of a region get."""
    defaults = default_plan("brain" if region == "head" else region, radiation)
    return defaults.model_copy(update=PLANS[region][radiation])


def structures(person: Person, region: Region) -> dict[str, Volume]:
    """Name → mask on the grid of the CT; the target is the PTV.

    Head: a ball to the left of the middle, its mirror image, and the eyes. Pelvis: a ball behind the bladder, bladder,
    bowel, and compact bone.
    """
    if region == "head":
        index = np.argwhere(person.body)
        middle = person.ct.to_patient_mm((index.min(axis=0) + index.max(axis=0)) / 2)
        balls = {
            name: _ball(person.ct, middle + np.array([side * HEAD_ASIDE_MM, 0.0, 0.0]), HEAD_RADIUS_MM)
            for name, side in (("PTV", 1), ("opposite", -1))
        }
        return balls | _tissues(person, {"eyes": ("eye",)})
    bladder = person.ct.to_patient_mm(np.argwhere(person.labels == LABEL["urine"]).mean(axis=0))
    target = _ball(person.ct, bladder + np.array([0.0, BEHIND_BLADDER_MM, 0.0]), PELVIS_RADIUS_MM)
    organs = {"bladder": ("urine",), "bowel": ("bowel wall", "bowel content"), "bone": ("compact bone",)}
    return {"PTV": target} | _tissues(person, organs)


def _ball(grid: Volume, centre_mm: npt.NDArray[np.float64], radius_mm: float) -> Volume:
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    distance = np.linalg.norm(grid.to_patient_mm(index) - centre_mm, axis=-1)
    return grid.with_array(distance <= radius_mm)


def _tissues(person: Person, named: dict[str, tuple[str, ...]]) -> dict[str, Volume]:
    masks = {name: np.isin(person.labels, [LABEL[one] for one in tissues]) for name, tissues in named.items()}
    return {name: person.ct.with_array(mask) for name, mask in masks.items() if mask.any()}
