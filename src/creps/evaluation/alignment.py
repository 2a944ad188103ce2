"""Put a true CT, its mask and its labels onto the grid of a synthetic CT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from creps import hu
from creps.errors import InputError
from creps.evaluation.coverage import uncovered
from creps.evaluation.options import EvaluationOptions, Register
from creps.preprocessing.crop import outside_extent
from creps.preprocessing.mask import body_mask_ct
from creps.preprocessing.registration import RigidRegistration, register_rigid
from creps.preprocessing.resample import resample_onto
from creps.volume import Mask, Volume

__all__ = ["Aligned", "Alignment", "align"]

Alignment = Literal["same grid", "resampled", "rigidly registered"]

GRID_TOLERANCE = 0.05
"""Grids are equal if their voxels differ by less than this fraction of the smallest spacing: headers are rounded."""

MASK_TOLERANCE = 0.5
"""The same fraction for masks and labels."""

REMEDY = (
    "Add --resample (resample=True) to resample the CT onto the sCT's grid, or --register rigid if the patient was"
    " positioned differently."
)


@dataclass(frozen=True)
class Aligned:
    """Images on one grid, in the standard orientation.

    Attributes:
        sct: The synthetic CT.
        ct: The true CT on the sCT's grid; -1024 HU outside the CT's field of view.
        reached: (D, H, W), the CT's field of view.
        padded: (D, H, W), the part of the CT's grid that only holds padding; not in `reached`.
        mask: (D, H, W), the given mask, if any.
        labels: The given labels, if any.
        alignment: What was done to the CT.
        record: Details of the alignment, as plain JSON values.
    """

    sct: Volume
    ct: Volume
    reached: Mask
    padded: Mask
    mask: Mask | None
    labels: Volume | None
    alignment: Alignment
    record: dict[str, Any]


def align(
    sct: Volume,
    ct: Volume,
    mask: Volume | None,
    labels: Volume | None,
    options: EvaluationOptions,
    *,
    name: str,
    padding: Mask | None = None,
) -> Aligned:
    """Put the CT, the mask and the labels onto the sCT's grid.

    The mask and the labels may each be on the sCT's grid or on the CT's. If the CT is registered and both grids are
    equal, the mask stays in place and the labels move with the CT.

    Args:
        sct: The synthetic CT in HU.
        ct: The true CT in HU.
        mask: Region to score, or None.
        labels: Class numbers, or None.
        options: Whether to resample or register the CT.
        name: What messages call the pair.
        padding: (D, H, W), voxels of the CT that held padding before it was replaced: out of its field of view.

    Raises:
        InputError: the mask or the labels are on neither grid, the CT is on another grid and may be neither resampled
            nor registered, or the registration fails.
    """
    sct = sct.reoriented()
    hidden = None if padding is None else ct.with_array(padding).reoriented(sct.direction)
    ct = ct.reoriented(sct.direction)
    mask = None if mask is None else mask.reoriented(sct.direction)
    labels = None if labels is None else labels.reoriented(sct.direction)
    same = _same(ct, sct, GRID_TOLERANCE)
    register = options.register
    if register is None and not same and not options.resample:
        raise InputError(
            f"{name}: the CT ({_grid(ct)}) is on a different grid from the sCT ({_grid(sct)}){_apart(ct, sct)}.", REMEDY
        )
    for extra, what in ((mask, "mask"), (labels, "label volume")):
        if extra is not None and not any(_same(extra, image, MASK_TOLERANCE) for image in (sct, ct)):
            raise InputError(
                f"{name}: the {what} ({_grid(extra)}) is on neither the sCT's grid ({_grid(sct)}) nor the CT's"
                f" ({_grid(ct)}){_apart(extra, sct)}.",
                "Give it on the grid of one of them.",
            )
    if register is not None:
        return _registered(sct, ct, mask, labels, register, name, hidden)
    given = None if mask is None else _carried(mask, sct, ct, _STAY).array > 0
    on_sct = None if labels is None else _carried(labels, sct, ct, _STAY)
    if same:
        padded = uncovered(ct)
        held = _without(sct.with_array(ct.array), padded)
        reached = ~padded if hidden is None else ~padded & (hidden.array < 0.5)
        return Aligned(sct, held, reached, padded, given, on_sct, "same grid", {"kind": "same grid"})
    moved, reached, padded = _resampled(ct, sct)
    reached = _covered(reached, hidden, sct, _STAY)
    record = {"kind": "resampled", "ct_shape": list(ct.shape), "ct_spacing_mm": list(ct.spacing_mm)}
    return Aligned(sct, moved, reached, padded, given, on_sct, "resampled", record)


_STAY = RigidRegistration(np.eye(3), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0.0, 0.0)
"""No motion: only the grid changes."""


def _carried(extra: Volume, sct: Volume, ct: Volume, motion: RigidRegistration, with_ct: bool = False) -> Volume:
    """A mask or labels on the sCT's grid, by nearest neighbour if they are on another grid.

    Args:
        extra: The mask or the labels, on the sCT's grid or the CT's.
        sct: The target grid.
        ct: The CT before it is moved.
        motion: How the CT is moved.
        with_ct: Whether an image on both grids moves with the CT.
    """
    on_sct, on_ct = (_same(extra, image, MASK_TOLERANCE) for image in (sct, ct))
    if on_sct and not (on_ct and with_ct):
        return sct.with_array(extra.array)
    return motion.moved(ct.with_array(extra.array), sct, 0.0, "nearest")


def _without(ct: Volume, outside: Mask) -> Volume:
    """The CT with the value of padding where it has no data."""
    return ct.with_array(np.where(outside, np.float32(hu.OUTSIDE_SCAN), ct.array))


def _covered(reached: Mask, hidden: Volume | None, sct: Volume, motion: RigidRegistration) -> Mask:
    """The field of view without the CT's padding."""
    return reached if hidden is None else reached & (motion.moved(hidden, sct, 1.0, "nearest").array < 0.5)


def _resampled(ct: Volume, sct: Volume) -> tuple[Volume, Mask, Mask]:
    """The CT at the sCT's voxels by cubic B-splines, its field of view, and what was padding before."""
    if not np.allclose(ct.direction, sct.direction, atol=1e-4):
        return _moved(ct, sct, _STAY)
    outside, padded = outside_extent(sct, ct), _padded(ct, sct, _STAY)
    moved = sct.with_array(resample_onto(ct, sct).array)
    return _without(moved, outside | padded), ~(outside | padded), padded & ~outside


def _padded(ct: Volume, sct: Volume, motion: RigidRegistration) -> Mask:
    """The CT's padding on the sCT's grid."""
    before = uncovered(ct)
    if not before.any():
        return np.zeros(sct.shape, dtype=bool)
    return motion.moved(ct.with_array(before.astype(np.float32)), sct, 0.0, "nearest").array > 0


def _registered(
    sct: Volume,
    ct: Volume,
    mask: Volume | None,
    labels: Volume | None,
    register: Register,
    name: str,
    hidden: Volume | None,
) -> Aligned:
    stays = mask is not None and _same(mask, sct, MASK_TOLERANCE)
    compared = mask.array > 0 if mask is not None and stays else body_mask_ct(sct)
    fixed_mask = sct.with_array(compared) if compared.any() else None
    try:
        motion = register_rigid(sct, ct, fixed_mask=fixed_mask, start="frame" if register == "rigid" else "centres")
    except InputError as error:
        remedy = error.remedy.replace(
            "start from their centres", "use --register rigid-centres (register='rigid-centres')"
        )
        raise InputError(f"{name}: {error.what[0].lower()}{error.what[1:]}", remedy) from error
    moved, reached, padded = _moved(ct, sct, motion)
    reached = _covered(reached, hidden, sct, motion)
    given = None if mask is None else _carried(mask, sct, ct, motion).array > 0
    on_sct = None if labels is None else _carried(labels, sct, ct, motion, with_ct=True)
    record = {"kind": "rigidly registered", "moved": "the CT, onto the sCT", **motion.record()}
    return Aligned(sct, moved, reached, padded, given, on_sct, "rigidly registered", record)


def _moved(ct: Volume, sct: Volume, motion: RigidRegistration) -> tuple[Volume, Mask, Mask]:
    ones = ct.with_array(np.ones(ct.shape, np.float32))
    reached = motion.moved(ones, sct, 0.0, "nearest").array > 0
    inside = np.clip(motion.moved(ct, sct, hu.OUTSIDE_SCAN).array, ct.array.min(), ct.array.max())
    padded = _padded(ct, sct, motion) & reached
    reached &= ~padded
    return _without(sct.with_array(inside), ~reached), reached, padded


def _same(volume: Volume, other: Volume, share: float) -> bool:
    return volume.same_grid_as(other, tolerance_mm=share * min(other.spacing_mm))


def _grid(volume: Volume) -> str:
    shape = " x ".join(map(str, volume.shape))
    spacing = " x ".join(f"{s:.4g}" for s in volume.spacing_mm)
    return f"{shape} voxels of {spacing} mm from {', '.join(f'{o:.4g}' for o in volume.origin_mm)}"


def _apart(volume: Volume, sct: Volume) -> str:
    """How far the corners of equally large grids lie apart, which sizes do not show."""
    if volume.shape != sct.shape:
        return ""
    off = np.linalg.norm(volume.corners_mm() - sct.corners_mm(), axis=1).max()
    return f"; its corners lie up to {off:.3g} mm from the sCT's"
