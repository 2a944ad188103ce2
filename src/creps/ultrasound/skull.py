"""Which voxels of an sCT are skull, and which the skull encloses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from creps.preprocessing.morphology import grow, shrink, sizes_within, voxel_ml
from creps.volume import Array, Mask

__all__ = ["AIR_IN_HEAD_HU", "intracranial", "skull_mask"]

CLOSED_MM = 4.0
"""Gaps in the bone up to twice this wide are closed: marrow between the tables of the vault is up to 8 mm thick."""

AIR_IN_HEAD_HU = -400.0
"""A voxel below this is air, as in BabelBrain 0.8.1: in a gap of the bone, such as a frontal sinus, as well."""

SPECK_ML = 1.0
"""Smaller pieces of bone are calcifications, teeth or noise."""

FORAMEN_MM = 19.0
"""A ball of this radius does not pass the foramen magnum, which is about 36 mm long."""

COARSE_MM = 2.0
"""What the skull encloses is looked for on voxels of about this size."""


def skull_mask(hu: Array, patient: Mask, spacing_mm: Sequence[float], above_hu: float) -> Mask:
    """(D, H, W) bone of the head with the marrow in it: cranium, face, jaw and the vertebrae in view.

    Args:
        hu: (D, H, W) in HU.
        patient: (D, H, W) what is not background.
        spacing_mm: Voxel spacing along D, H, W.
        above_hu: A voxel above this is bone.

    >>> hu = np.full((1, 30, 30), 40.0); hu[0, 10:20, 10:20] = 900; hu[0, 14:16, 14:16] = 100
    >>> mask = skull_mask(hu, np.ones((1, 30, 30), bool), (10.0, 1.0, 1.0), 300.0)
    >>> int(mask.sum()), bool(mask[0, 14, 14])
    (100, True)
    """
    bone = (hu > above_hu) & patient
    closed = shrink(grow(bone, spacing_mm, CLOSED_MM), spacing_mm, CLOSED_MM) & patient & (hu >= AIR_IN_HEAD_HU)
    labels, count = ndimage.label(closed | bone)
    keep = sizes_within(labels, count, labels > 0) * voxel_ml(spacing_mm) >= SPECK_ML
    keep[0] = False
    return np.asarray(keep[labels])


def intracranial(skull: Mask, tissue: Mask, spacing_mm: Sequence[float]) -> Mask:
    """(D, H, W) what the skull encloses, down to the foramen magnum; nothing where it encloses nothing.

    Args:
        skull: (D, H, W) skull mask.
        tissue: (D, H, W) the head without air.
        spacing_mm: Voxel spacing along D, H, W.
    """
    steps = tuple(max(1, round(COARSE_MM / s)) for s in spacing_mm)
    coarse = tuple(slice(None, None, step) for step in steps)
    own = [s * step for s, step in zip(spacing_mm, steps, strict=True)]
    free = ndimage.distance_transform_edt(~(skull[coarse] | ~tissue[coarse]), sampling=own)
    labels, count = ndimage.label(free > FORAMEN_MM)
    found = np.zeros(skull.shape, dtype=bool)
    if count == 0:
        return found
    core = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    near = ndimage.distance_transform_edt(~core, sampling=own) <= FORAMEN_MM + max(own)
    for axis, step in enumerate(steps):
        near = near.repeat(step, axis=axis)
    d, h, w = skull.shape
    inside = near[:d, :h, :w] & tissue & ~skull
    labels, count = ndimage.label(inside)
    if count:
        found = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    return np.asarray(found)
