"""Bring a true CT, its mask and its labels onto the grid of a synthetic CT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk

from creps.errors import InputError
from creps.preprocessing.crop import beyond
from creps.preprocessing.intensity import SCT_RANGE_HU
from creps.preprocessing.mask import Mask
from creps.preprocessing.resample import resample_onto
from creps.volume import Array, Volume

__all__ = ["Aligned", "Alignment", "align"]

Alignment = Literal["same grid", "resampled", "rigidly registered"]

GRID_TOLERANCE = 0.05
"""Grids are the same if no voxel is further off than this share of the smallest spacing: headers are rounded."""

MASK_TOLERANCE = 0.5
"""The same for masks and labels."""

REMEDY = (
    'Add --resample (resample=True) to bring the CT onto the sCT\'s grid, or --register rigid (register="rigid")'
    " if the patient lay otherwise."
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


def align(
    sct: Volume,
    ct: Volume,
    mask: Volume | None,
    labels: Volume | None,
    *,
    resample: bool,
    register: Literal["rigid"] | None,
    name: str,
) -> Aligned:
    """Put the CT, the mask and the labels onto the sCT's grid.

    The mask may lie on either image's grid, labels too.

    Args:
        sct: In HU.
        ct: In HU.
        mask: Where figures count, or none.
        labels: Class numbers, or none.
        resample: Whether the CT may be resampled.
        register: Whether the CT is registered to the sCT, and how.
        name: What messages call the pair.

    Raises:
        InputError: a grid that is neither's, or the CT's grid differs and nothing may be done about it.
    """
    sct = sct.reoriented()
    ct = ct.reoriented(sct.direction)
    same = _same(ct, sct, GRID_TOLERANCE)
    if register is not None:
        return _registered(sct, ct, mask, labels, name)
    if not same and not resample:
        raise InputError(f"{name}: the CT ({_grid(ct)}) lies on another grid than the sCT ({_grid(sct)}).", REMEDY)
    on_sct = [_onto(extra, sct, ct, name, what) for extra, what in ((mask, "mask"), (labels, "label volume"))]
    on_mask, on_labels = on_sct
    given = None if on_mask is None else on_mask.array > 0
    if same:
        everywhere = np.ones(sct.shape, dtype=bool)
        return Aligned(sct, sct.with_array(ct.array), everywhere, given, on_labels, "same grid", {"kind": "same grid"})
    moved, reached = _resampled(ct, sct)
    record = {"kind": "resampled", "ct_shape": list(ct.shape), "ct_spacing_mm": list(ct.spacing_mm)}
    return Aligned(sct, moved, reached, given, on_labels, "resampled", record)


def _onto(extra: Volume | None, sct: Volume, ct: Volume, name: str, what: str) -> Volume | None:
    """A mask or labels on the sCT's grid, by nearest neighbour if they lie on the CT's."""
    if extra is None:
        return None
    extra = extra.reoriented(sct.direction)
    if _same(extra, sct, MASK_TOLERANCE):
        return sct.with_array(extra.array)
    if _same(extra, ct, MASK_TOLERANCE):
        return _sampled(ct.with_array(extra.array), sct, sitk.sitkNearestNeighbor, 0.0)
    raise _foreign(extra, sct, ct, name, what)


def _foreign(extra: Volume, sct: Volume, ct: Volume, name: str, what: str) -> InputError:
    return InputError(
        f"{name}: the {what} ({_grid(extra)}) lies on neither the sCT's grid ({_grid(sct)}) nor the CT's"
        f" ({_grid(ct)}).",
        "Give it on the grid of one of them.",
    )


def _resampled(ct: Volume, sct: Volume) -> tuple[Volume, Mask]:
    """The CT at the sCT's voxels by cubic B-splines, and where it reaches."""
    low = float(SCT_RANGE_HU[0])
    if np.allclose(ct.direction, sct.direction, atol=1e-4):
        outside = beyond(sct, ct)
        return sct.with_array(np.where(outside, np.float32(low), resample_onto(ct, sct).array)), ~outside
    ones = ct.with_array(np.ones(ct.shape, np.float32))
    reached = _sampled(ones, sct, sitk.sitkNearestNeighbor, 0.0).array > 0
    splines = _sampled(ct, sct, sitk.sitkBSpline, low).array
    inside = np.clip(splines, ct.array.min(), ct.array.max())  # no overshoot at bone and metal
    return sct.with_array(np.where(reached, inside, np.float32(low))), reached


def _sampled(volume: Volume, grid: Volume, interpolator: int, fill: float) -> Volume:
    image = sitk.Resample(_image(volume), _image(grid), sitk.Transform(3, sitk.sitkIdentity), interpolator, fill)
    return grid.with_array(sitk.GetArrayFromImage(image))


def _image(volume: Volume) -> sitk.Image:
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing(volume.spacing_mm[::-1])
    image.SetOrigin(volume.origin_mm)
    image.SetDirection(volume.direction[:, ::-1].flatten().tolist())
    return image


def _same(volume: Volume, other: Volume, share: float) -> bool:
    return volume.same_grid_as(other, tolerance_mm=share * min(other.spacing_mm))


def _grid(volume: Volume) -> str:
    shape = " x ".join(map(str, volume.shape))
    return f"{shape} voxels of {' x '.join(f'{s:.4g}' for s in volume.spacing_mm)} mm"


def _registered(sct: Volume, ct: Volume, mask: Volume | None, labels: Volume | None, name: str) -> Aligned:
    """The CT moved rigidly to the sCT; a mask on the sCT's grid stays, labels on the CT's go with the CT."""
    from creps.preprocessing.registration import register_rigid

    on_mask = None if mask is None else mask.reoriented(sct.direction)
    stays = on_mask is not None and _same(on_mask, sct, MASK_TOLERANCE)
    fixed_mask = sct.with_array(on_mask.array > 0) if on_mask is not None and stays else None
    registration = register_rigid(sct, ct, fixed_mask=fixed_mask)
    moved = registration.moved(ct, sct, SCT_RANGE_HU[0])
    reached = registration.moved(ct.with_array(np.ones(ct.shape, np.float32)), sct, 0.0).array > 0.5

    def along(extra: Volume, what: str) -> Volume:
        return registration.moved(_on_grid_of(extra, ct, sct, name, what), sct, 0.0)

    given = None
    if fixed_mask is not None:
        given = fixed_mask.array > 0
    elif on_mask is not None:
        given = along(on_mask.with_array(on_mask.array > 0), "mask").array > 0.5
    on_labels = None
    if labels is not None:
        upright = labels.reoriented(sct.direction)
        if _same(upright, ct, MASK_TOLERANCE):
            on_labels = sct.with_array(_likeliest(upright, along))
        else:
            on_labels = _onto(upright, sct, ct, name, "label volume")
    record = {"kind": "rigidly registered", "method": "the CT to the sCT", **registration.record()}
    return Aligned(sct, moved, reached, given, on_labels, "rigidly registered", record)


def _on_grid_of(extra: Volume, ct: Volume, sct: Volume, name: str, what: str) -> Volume:
    if _same(extra, ct, MASK_TOLERANCE):
        return ct.with_array(extra.array)
    raise _foreign(extra, sct, ct, name, what)


def _likeliest(labels: Volume, along: Callable[[Volume, str], Volume]) -> Array:
    """Of every voxel the number whose moved indicator is the largest: numbers themselves must not be blended."""
    numbers = np.unique(labels.array)
    best, share = None, None
    for number in numbers:
        moved = along(labels.with_array(labels.array == number), "label volume").array
        if best is None or share is None:
            best, share = np.full(moved.shape, number, np.float32), moved
        else:
            closer = moved > share
            best[closer], share[closer] = number, moved[closer]
    return np.zeros(labels.shape, np.float32) if best is None else best
