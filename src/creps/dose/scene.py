"""What the engine is given: densities of both images on one grid, the structures, and whether the images agree."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from creps import hu
from creps.dose.density import DensityTable
from creps.dose.grid import averaged, box_grid, coverage
from creps.dose.images import CtImage
from creps.dose.plan import DosePlan
from creps.dose.structures import Structures, check_frames, choose_target, find_structures
from creps.errors import InputError, SettingsError
from creps.preprocessing.mask import body_mask_ct
from creps.volume import Array, Mask, Volume

__all__ = ["Outside", "Scene", "Side", "build_scene", "with_sct"]

Outside = Literal["air", "image"]
"""What surrounds the body: air, or whatever the image shows there (couch, mask, coils)."""

MARGIN_MM = 15.0
"""Around the body, so that every beam enters through air."""

LEAST_OVERLAP = 0.7
"""Dice of the two bodies; the outlines of one patient agree far better."""

MIRROR_GAIN = 0.02
"""An image whose mirror correlates better by this much is mirrored: symmetric bodies gain nothing."""

SMALLEST_TARGET_VOXELS = 8

LEAST_WITHIN = 0.5
"""Of the target must lie in the body: a PTV may reach into air, but is no target there."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Side:
    """One of the two images on the dose grid.

    Attributes:
        density: (D, H, W) relative to water.
        hu: (D, H, W) mean HU, for pictures.
        body: (D, H, W) the patient.
    """

    density: Array = field(repr=False)
    hu: Array = field(repr=False)
    body: Mask = field(repr=False)


@dataclass(frozen=True)
class Scene:
    """Both images and the structures on the dose grid.

    Attributes:
        grid: The dose grid; its array is empty.
        ct: The image that the plan is made on.
        sct: The image that it is recalculated on.
        structures: Name → share of each voxel.
        target: Name of the target.
        notes: What a reader must know.
    """

    grid: Volume
    ct: Side
    sct: Side
    structures: Structures
    target: str
    notes: tuple[str, ...]

    @property
    def target_mask(self) -> Mask:
        """(D, H, W) voxels of which at least half belongs to the target."""
        return np.asarray(self.structures[self.target] >= 0.5)

    @property
    def isocentre_mm(self) -> tuple[float, float, float]:
        """Patient (x, y, z) of the target's centre of mass."""
        share = self.structures[self.target].astype(np.float64)
        index = [float((share * np.arange(n).reshape([-1 if i == a else 1 for i in range(3)])).sum() / share.sum())
                 for a, n in enumerate(share.shape)]  # fmt: skip
        x, y, z = self.grid.to_patient_mm(index).tolist()
        return x, y, z


def build_scene(
    ct: CtImage,
    sct: CtImage,
    structures: Path | str | Mapping[str, Volume],
    plan: DosePlan,
    table: DensityTable,
    *,
    outside: Outside = "air",
    any_frame: bool = False,
) -> Scene:
    """Bring images and structures onto the dose grid.

    Args:
        ct: The CT, or the bulk-density CT.
        sct: The sCT.
        structures: File of an RTSTRUCT, folder of masks, or name → mask.
        plan: The plan; its grid and its target are used.
        table: From HU to density.
        outside: ``air`` sets everything outside each image's own body to air; ``image`` keeps couch and mask.
        any_frame: Ignore DICOM frames of reference.

    Raises:
        InputError: images or structures that do not belong together, or an empty target.
        SettingsError: no structure is the target, or the plan names an organ that is none of the structures.
    """
    check_frames(ct, sct, any_frame=any_frame)
    bodies = {id(one): _body(one) for one in (ct, sct)}
    grid = _grid([(one.volume, bodies[id(one)]) for one in (ct, sct)], plan.dose_grid_mm)
    sides = [_side(one, bodies[id(one)], grid, table, outside) for one in (ct, sct)]
    _check_alike(sides[0], sides[1], (ct.name, sct.name))
    found = find_structures(structures, ct, bodies[id(ct)], grid, names=_reported(plan), any_frame=any_frame)
    _check_organs(found, plan)
    target = choose_target(tuple(found), plan.target)
    _check_target(found[target], target, plan, sides[0].body)
    ignored = ("DICOM frames of reference were ignored on request.",) if any_frame else ()
    notes = (*ignored, *ct.notes, *sct.notes, *_coverage_notes(ct, sct, sides, bodies, grid, outside))
    return Scene(grid, sides[0], sides[1], found, target, notes)


def with_sct(scene: Scene, sct: CtImage, table: DensityTable) -> Scene:
    """The same CT, grid and structures with another sCT, for one plan on many sCTs.

    What the sCT shows beyond the grid is left out, and what surrounds its body becomes air.

    Args:
        scene: CT, grid and structures.
        sct: The other sCT.
        table: From HU to density.

    Raises:
        InputError: the sCT has no body, shows another position, or is mirrored.
    """
    side = _side(sct, _body(sct), scene.grid, table, "air")
    _check_alike(scene.ct, side, ("the CT", sct.name))
    return replace(scene, sct=side, notes=sct.notes)


def _reported(plan: DosePlan) -> tuple[str, ...] | None:
    """Names of the structures that a plan reports; None: all."""
    return None if plan.organs is None or plan.target is None else (*plan.organs, plan.target)


def _body(image: CtImage) -> Mask:
    body = body_mask_ct(image.volume)
    if not body.any():
        raise InputError(f"No body was found in {image.name}.", "Check that it is a CT in HU.")
    return body


def _grid(images: list[tuple[Volume, Mask]], spacing_mm: float) -> Volume:
    """Cubic voxels around the first body, as far along the patient as both images reach."""
    boxes = []
    for volume, body in images:
        ends = [(int(i.min()), int(i.max())) for i in np.nonzero(body)]
        corners = volume.to_patient_mm(np.array(np.meshgrid(*ends, indexing="ij")).reshape(3, -1).T)
        boxes.append((corners.min(axis=0), corners.max(axis=0)))
    low = np.min([box[0] for box in boxes], axis=0) - MARGIN_MM
    high = np.max([box[1] for box in boxes], axis=0) + MARGIN_MM
    edges = [volume.corners_mm(edges=True) for volume, _ in images]
    low[2] = max(low[2], *(edge[:, 2].min() for edge in edges))
    high[2] = min(high[2], *(edge[:, 2].max() for edge in edges))
    if high[2] - low[2] < 2 * spacing_mm:
        raise InputError("The CT and the sCT show different parts of the patient.", "Give images of one region.")
    return box_grid(low, high, spacing_mm)


def _side(image: CtImage, body: Mask, grid: Volume, table: DensityTable, outside: Outside) -> Side:
    volume = image.volume
    density = table.density_of(volume.array)
    if outside == "air":
        density[~body] = 0.0
    mean = averaged(volume.with_array(density), grid, 0.0)
    inside = averaged(volume.with_array(body), grid, 0.0) >= 0.5
    return Side(mean, averaged(volume, grid, hu.AIR), np.asarray(inside))


def _check_alike(ct: Side, sct: Side, names: tuple[str, str]) -> None:
    """Refuse bodies at other places, and an image that is mirrored against the other."""
    dice = 2 * float((ct.body & sct.body).sum()) / max(1, int(ct.body.sum() + sct.body.sum()))
    if dice < LEAST_OVERLAP:
        raise InputError(
            f"The bodies in {names[0]} and {names[1]} overlap by a Dice of only {dice:.2f}.",
            "Give a CT of the same patient in the same position, registered to the MR.",
        )
    middle = [slice(int(i.min()), int(i.max()) + 1) for i in np.nonzero(ct.body | sct.body)]
    one, other = (side.hu[tuple(middle)] for side in (ct, sct))
    as_it_is = _correlation(one, other)
    for axis, way in ((2, "left-right"), (1, "front-back"), (0, "head-foot")):
        mirrored = _correlation(one, np.flip(other, axis))
        if mirrored > as_it_is + MIRROR_GAIN:
            raise InputError(
                f"{names[0]} looks mirrored {way} against {names[1]}: their HU correlate by {as_it_is:.2f}, and by"
                f" {mirrored:.2f} if one is mirrored.",
                "Check the orientation in the header of the file that another program wrote.",
            )


def _correlation(one: Array, other: Array) -> float:
    first, second = (np.clip(a.astype(np.float64), -1000, 1500).ravel() for a in (one, other))
    first, second = first - first.mean(), second - second.mean()
    return float((first * second).sum() / max(1e-12, np.sqrt((first**2).sum() * (second**2).sum())))


def _check_organs(found: Structures, plan: DosePlan) -> None:
    """Refuse a plan that names an organ which the structures do not have: it would be left out without a word."""
    known = {name.casefold() for name in found}
    for name in plan.organs or ():
        if name.casefold() not in known:
            raise SettingsError(
                f"There is no structure '{name}' to report.", "Correct organs in the plan file, or leave it out there."
            )


def _check_target(share: Array, name: str, plan: DosePlan, body: Mask) -> None:
    inside = share >= 0.5
    voxels = int(inside.sum())
    if voxels < SMALLEST_TARGET_VOXELS:
        raise InputError(
            f"The target '{name}' has {voxels} voxels on a dose grid of {plan.dose_grid_mm:g} mm, too few for a plan.",
            "Check the target, or set a smaller dose_grid_mm in the plan file.",
        )
    within = float(body[inside].mean())
    if within < LEAST_WITHIN:
        raise InputError(
            f"Only {100 * within:.0f} % of the target '{name}' lie in the body of the CT.",
            "Give structures that belong to this CT.",
        )


def _coverage_notes(
    ct: CtImage, sct: CtImage, sides: list[Side], bodies: Mapping[int, Mask], grid: Volume, outside: Outside
) -> list[str]:
    notes = []
    beyond = sides[0].body & ~coverage(sct.volume, grid)
    share = float(beyond.sum()) / max(1, int(sides[0].body.sum()))
    if share > 0.005:
        notes.append(
            f"{100 * share:.1f} % of the CT's body lies outside the sCT's field of view, which counts as air there:"
            " part of the dose difference is that of the field of view."
        )
    if outside == "air":
        for role, image in (("CT", ct), ("sCT", sct)):
            left = (image.volume.array > hu.AIR_BELOW) & ~bodies[id(image)]
            litres = float(left.sum()) * float(np.prod(image.volume.spacing_mm)) / 1e6
            if litres > 0.05:
                notes.append(f"{litres:.2f} l outside the body of the {role} (couch, mask, cushions) were set to air.")
    for note in notes:
        log.warning("%s", note)
    return notes
