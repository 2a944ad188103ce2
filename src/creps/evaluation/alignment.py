"""Bring a true CT, its mask and its labels onto the grid of a synthetic CT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from creps import hu
from creps.errors import InputError, SettingsError
from creps.preprocessing.crop import beyond
from creps.preprocessing.mask import body_mask_ct
from creps.preprocessing.registration import RigidRegistration, register_rigid
from creps.preprocessing.resample import resample_onto
from creps.volume import Mask, Volume

__all__ = ["Aligned", "Alignment", "Register", "align", "check_register"]

Alignment = Literal["same grid", "resampled", "rigidly registered"]

Register = Literal["rigid", "rigid-centres"]
"""From where the images lie, or with their middles brought together first."""

GRID_TOLERANCE = 0.05
"""Grids are the same if no voxel is further off than this share of the smallest spacing: headers are rounded."""

MASK_TOLERANCE = 0.5
"""The same for masks and labels."""

BEYOND_HU = hu.SCT_RANGE[0]
"""What stands where the CT does not reach; it is not counted."""

REMEDY = (
    "Add --resample (resample=True) to bring the CT onto the sCT's grid, or --register rigid if the patient lay"
    " otherwise."
)


@dataclass(frozen=True)
class Aligned:
    """Everything on one grid, upright.

    Attributes:
        sct: The synthetic CT.
        ct: The true CT on its grid; -1024 HU where the CT does not reach.
        reached: (D, H, W), where the CT reaches.
        mask: (D, H, W), the given mask, if one was.
        labels: The given labels, if they were.
        alignment: What was done to the CT.
        record: About that, as plain JSON values.
    """

    sct: Volume
    ct: Volume
    reached: Mask
    mask: Mask | None
    labels: Volume | None
    alignment: Alignment
    record: dict[str, Any]


def check_register(register: object) -> None:
    """Refuse a registration that does not exist: it would be taken for one that does.

    Raises:
        SettingsError: neither None nor a `Register`.
    """
    if register is not None and register not in get_args(Register):
        known = " or ".join(f"'{one}'" for one in get_args(Register))
        raise SettingsError(f"There is no registration {register!r}.", f"Use {known}, or none.")


def align(
    sct: Volume,
    ct: Volume,
    mask: Volume | None,
    labels: Volume | None,
    *,
    resample: bool,
    register: Register | None,
    name: str,
) -> Aligned:
    """Put the CT, the mask and the labels onto the sCT's grid.

    A mask lies on the sCT's grid or on the CT's, labels too. Where both grids are one and the CT is registered, the
    mask stays and the labels go with the CT.

    Args:
        sct: In HU.
        ct: In HU.
        mask: Where figures count, or none.
        labels: Class numbers, or none.
        resample: Whether the CT may be resampled.
        register: Whether the CT is registered to the sCT, and from where.
        name: What messages call the pair.

    Raises:
        InputError: a grid that is neither's, the CT's grid differs and nothing may be done about it, or the images
            cannot be registered.
    """
    sct = sct.reoriented()
    ct = ct.reoriented(sct.direction)
    mask = None if mask is None else mask.reoriented(sct.direction)
    labels = None if labels is None else labels.reoriented(sct.direction)
    same = _same(ct, sct, GRID_TOLERANCE)
    if register is None and not same and not resample:
        raise InputError(
            f"{name}: the CT ({_grid(ct)}) lies on another grid than the sCT ({_grid(sct)}){_apart(ct, sct)}.", REMEDY
        )
    for extra, what in ((mask, "mask"), (labels, "label volume")):
        if extra is not None and not any(_same(extra, image, MASK_TOLERANCE) for image in (sct, ct)):
            raise InputError(
                f"{name}: the {what} ({_grid(extra)}) lies on neither the sCT's grid ({_grid(sct)}) nor the CT's"
                f" ({_grid(ct)}){_apart(extra, sct)}.",
                "Give it on the grid of one of them.",
            )
    if register is not None:
        return _registered(sct, ct, mask, labels, register, name)
    given = None if mask is None else _carried(mask, sct, ct, _STAY).array > 0
    on_sct = None if labels is None else _carried(labels, sct, ct, _STAY)
    if same:
        everywhere = np.ones(sct.shape, dtype=bool)
        return Aligned(sct, sct.with_array(ct.array), everywhere, given, on_sct, "same grid", {"kind": "same grid"})
    moved, reached = _resampled(ct, sct)
    record = {"kind": "resampled", "ct_shape": list(ct.shape), "ct_spacing_mm": list(ct.spacing_mm)}
    return Aligned(sct, moved, reached, given, on_sct, "resampled", record)


_STAY = RigidRegistration(np.eye(3), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0.0, 0.0)
"""No movement: only the grid changes."""


def _carried(extra: Volume, sct: Volume, ct: Volume, motion: RigidRegistration, with_ct: bool = False) -> Volume:
    """A mask or labels on the sCT's grid, by nearest neighbour unless they lie on it.

    Args:
        extra: On the sCT's grid or the CT's.
        sct: The grid.
        ct: The other grid.
        motion: Of the CT.
        with_ct: Whether what lies on both grids belongs to the CT and moves with it.
    """
    on_sct, on_ct = (_same(extra, image, MASK_TOLERANCE) for image in (sct, ct))
    if on_sct and not (on_ct and with_ct):
        return sct.with_array(extra.array)
    return motion.moved(ct.with_array(extra.array), sct, 0.0, "nearest")


def _resampled(ct: Volume, sct: Volume) -> tuple[Volume, Mask]:
    """The CT at the sCT's voxels by cubic B-splines, and where it reaches."""
    if not np.allclose(ct.direction, sct.direction, atol=1e-4):
        return _moved(ct, sct, _STAY)
    outside = beyond(sct, ct)
    return sct.with_array(np.where(outside, np.float32(BEYOND_HU), resample_onto(ct, sct).array)), ~outside


def _registered(
    sct: Volume, ct: Volume, mask: Volume | None, labels: Volume | None, register: Register, name: str
) -> Aligned:
    stays = mask is not None and _same(mask, sct, MASK_TOLERANCE)
    compared = mask.array > 0 if mask is not None and stays else body_mask_ct(sct)
    fixed_mask = sct.with_array(compared) if compared.any() else None
    try:
        motion = register_rigid(sct, ct, fixed_mask=fixed_mask, start="frame" if register == "rigid" else "centres")
    except InputError as error:
        remedy = error.remedy.replace("start from their centres", "use --register rigid-centres")
        raise InputError(f"{name}: {error.what[0].lower()}{error.what[1:]}", remedy) from error
    moved, reached = _moved(ct, sct, motion)
    given = None if mask is None else _carried(mask, sct, ct, motion).array > 0
    on_sct = None if labels is None else _carried(labels, sct, ct, motion, with_ct=True)
    record = {"kind": "rigidly registered", "moved": "the CT, onto the sCT", **motion.record()}
    return Aligned(sct, moved, reached, given, on_sct, "rigidly registered", record)


def _moved(ct: Volume, sct: Volume, motion: RigidRegistration) -> tuple[Volume, Mask]:
    ones = ct.with_array(np.ones(ct.shape, np.float32))
    reached = motion.moved(ones, sct, 0.0, "nearest").array > 0
    inside = np.clip(motion.moved(ct, sct, BEYOND_HU).array, ct.array.min(), ct.array.max())
    return sct.with_array(np.where(reached, inside, np.float32(BEYOND_HU))), reached


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
