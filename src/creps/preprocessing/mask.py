"""Body masks: where the patient is, from the image alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.filters import threshold_otsu

from creps import hu
from creps.preprocessing.morphology import around, body_box, filled, grow, largest, shrink
from creps.volume import Mask, Volume

__all__ = ["body_box", "body_mask_ct", "body_mask_mr", "depth_mm"]

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
    tissue &= grow(shrink(tissue, mr.spacing_mm, 2.0), mr.spacing_mm, 2.0)
    closed = shrink(grow(largest(tissue), mr.spacing_mm, GAP_MM), mr.spacing_mm, GAP_MM)
    return filled(largest(closed))


def body_mask_ct(ct: Volume) -> Mask:
    """(D, H, W) body mask of a CT in HU: threshold, what is thin and long cut off, largest component, filled.

    What is open to the room is told in 3-D, before anything is filled: the gap below an immobilisation mask and the
    inside of a couch look closed within a slice, and filling them would make one body of patient, mask and couch.
    """
    tissue = ct.array > hu.SKIN
    solid = ~_open_air(tissue, ct.spacing_mm)
    core = largest(shrink(solid, ct.spacing_mm, COUCH_MM / 2))
    trunk = grow(core, ct.spacing_mm, COUCH_MM / 2 + max(ct.spacing_mm)) & solid
    return filled(trunk | _small_parts(solid & tissue & ~trunk, trunk, ct.spacing_mm))


def depth_mm(mask: Mask, spacing_mm: Sequence[float]) -> npt.NDArray[np.float32]:
    """(D, H, W) distance in mm of each voxel inside the mask to the nearest one outside; 0 outside."""
    depth = np.zeros(mask.shape, np.float32)
    if not mask.all():
        box = around(mask, (1, 1, 1))
        depth[box] = ndimage.distance_transform_edt(mask[box], sampling=list(spacing_mm))
    return depth


def _small_parts(thin: Mask, trunk: Mask, spacing_mm: Sequence[float]) -> Mask:
    """Of what is thin, the pieces that hang on the trunk and are no larger than an ear."""
    labels, count = ndimage.label(thin)
    if count == 0:
        return thin
    touching = np.unique(labels[grow(trunk, (1, 1, 1), 1) & thin])
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
    labels, count = ndimage.label(~grow(tissue, spacing_mm, BALL_MM))
    reached = np.zeros(count + 1, dtype=bool)
    for sides in (labels[:, [0, -1], :], labels[:, :, [0, -1]]):
        reached[sides] = True
    reached[0] = False
    return grow(reached[labels], spacing_mm, BALL_MM) & ~tissue
