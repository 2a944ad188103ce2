"""Body masks: where the patient is, from the image alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage
from skimage.filters import threshold_otsu

from creps.volume import Volume

__all__ = ["Mask", "body_box", "body_mask_ct", "body_mask_mr", "depth_mm"]

Mask = npt.NDArray[np.bool_]

SKIN_HU = -400.0
"""Half-way between air and fat, on the safe side of noise."""

COUCH_MM = 16.0
"""Structures thinner than this are cut from the patient (couch plates, headrest, mask), unless they are small."""

EAR_MM = 80.0
"""Thin parts up to this long stay with the patient: ears, nose, fingers."""

BALL_MM = 3.0
"""Radius of the ball that explores the air around the patient: it enters below a mask, but no nostril."""

GAP_MM = 8.0
"""Dark gaps up to this wide (skull, air cells) are closed in an MR mask."""


def body_mask_mr(mr: Volume) -> Mask:
    """(D, H, W) body mask of an MR: Otsu, closing, largest component, filled slice by slice."""
    clipped = np.minimum(mr.array, np.percentile(mr.array, 99.0))
    if clipped.min() == clipped.max():
        return np.zeros(mr.shape, dtype=bool)
    # Otsu splits dark from bright tissue as readily as air from tissue: half of it keeps the dark tissue.
    tissue = clipped > clipped.min() + 0.5 * (threshold_otsu(clipped) - clipped.min())
    tissue = _grow(_shrink(tissue, mr.spacing_mm, 2.0), mr.spacing_mm, 2.0) & tissue
    closed = _shrink(_grow(_largest(tissue), mr.spacing_mm, GAP_MM), mr.spacing_mm, GAP_MM)
    return _filled(_largest(closed))


def body_mask_ct(ct: Volume) -> Mask:
    """(D, H, W) body mask of a CT in HU: threshold, what is thin and long cut off, largest component, filled.

    What is open to the room is told in 3-D, before anything is filled: the gap below an immobilisation mask and the
    inside of a couch look closed within a slice, and filling them would make one body of patient, mask and couch.
    """
    tissue = ct.array > SKIN_HU
    solid = ~_open_air(tissue, ct.spacing_mm)
    core = _largest(_shrink(solid, ct.spacing_mm, COUCH_MM / 2))
    trunk = _grow(core, ct.spacing_mm, COUCH_MM / 2 + max(ct.spacing_mm)) & solid
    return _filled(trunk | _small_parts(solid & tissue & ~trunk, trunk, ct.spacing_mm))


def body_box(mask: Mask) -> tuple[tuple[int, int], ...]:
    """((first, end), ...) along D, H, W of the box around the mask; the whole array if it is empty."""
    boxes = ndimage.find_objects(mask.astype(np.uint8))
    if not boxes:
        return tuple((0, n) for n in mask.shape)
    return tuple((int(part.start), int(part.stop)) for part in boxes[0])


def depth_mm(mask: Mask, spacing_mm: Sequence[float]) -> npt.NDArray[np.float32]:
    """(D, H, W) distance in mm of each voxel inside the mask to the nearest one outside; 0 outside."""
    return np.zeros(mask.shape, np.float32) if mask.all() else np.maximum(_distance_mm(~mask, spacing_mm), 0)


def _small_parts(thin: Mask, trunk: Mask, spacing_mm: Sequence[float]) -> Mask:
    """Of what is thin, the pieces that hang on the trunk and are no larger than an ear."""
    labels, count = ndimage.label(thin)
    if count == 0:
        return thin
    touching = np.unique(labels[ndimage.binary_dilation(trunk) & thin])
    keep = np.zeros(count + 1, dtype=bool)
    boxes = ndimage.find_objects(labels)
    for label in touching[touching > 0]:
        extents = [(part.stop - part.start) * s for part, s in zip(boxes[label - 1], spacing_mm, strict=True)]
        keep[label] = max(extents) <= EAR_MM
    return np.asarray(keep[labels])


def _open_air(tissue: Mask, spacing_mm: Sequence[float]) -> Mask:
    """Air that a ball can reach from the sides of the volume (not from its ends, where airways are cut open)."""
    if tissue.all() or not tissue.any():
        return ~tissue
    labels, _ = ndimage.label(_distance_mm(tissue, spacing_mm) > BALL_MM)
    sides = np.concatenate([labels[:, [0, -1], :].ravel(), labels[:, :, [0, -1]].ravel()])
    reached = np.isin(labels, np.setdiff1d(sides, [0]))
    return _grow(reached, spacing_mm, BALL_MM) & ~tissue


def _distance_mm(mask: Mask, spacing_mm: Sequence[float]) -> npt.NDArray[np.float32]:
    """Distance in mm of each voxel outside the mask to the nearest one inside."""
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(list(spacing_mm)[::-1])
    distance = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
    return np.asarray(sitk.GetArrayFromImage(distance), dtype=np.float32)


def _grow(mask: Mask, spacing_mm: Sequence[float], radius_mm: float) -> Mask:
    return mask if not mask.any() else np.asarray(_distance_mm(mask, spacing_mm) <= radius_mm)


def _shrink(mask: Mask, spacing_mm: Sequence[float], radius_mm: float) -> Mask:
    return mask if mask.all() else np.asarray(_distance_mm(~mask, spacing_mm) > radius_mm)


def _largest(mask: Mask) -> Mask:
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    return np.asarray(labels == 1 + np.argmax(np.bincount(labels.ravel())[1:]))


def _filled(mask: Mask) -> Mask:
    """Fill what is enclosed within a slice, axial, then coronal, then sagittal."""
    filled = mask.copy()
    for axis in range(3):
        planes = np.moveaxis(filled, axis, 0)
        for plane in planes:
            plane[:] = ndimage.binary_fill_holes(plane)
    return filled
