"""Body masks: where the patient is, from the image alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.filters import threshold_otsu

from creps import hu
from creps.preprocessing.morphology import around, body_box, filled, grow, largest, shrink
from creps.volume import Array, Mask, Volume

__all__ = ["body_box", "body_mask_ct", "body_mask_mr", "depth_mm", "left_out_ml"]

COUCH_MM = 16.0
"""Structures thinner than this are cut from the patient (couch plates, headrest, mask), unless they are small."""

EAR_MM = 80.0
"""Thin parts up to this long stay with the patient: ears, nose, fingers."""

BALL_MM = 3.0
"""Radius of the ball that explores the air around the patient: it enters below a mask, but no nostril."""

GAP_MM = 8.0
"""Dark gaps up to this wide (skull, air cells) are closed in an MR mask."""

LIMB_MM = 12.0
"""A separate piece at least this thick may be a limb; markers, tubes and coil cables are thinner."""

SMALLEST_LIMB_ML = 3.0
"""... and at least this large."""

FOAM_HU = -200.0
"""Limbs are denser than this almost everywhere (`DENSE_SHARE`); couches, cushions and clamps are not."""

DENSE_SHARE = 0.97

CORE_SHARE = 0.2
"""At least this share of a limb in a CT lies deeper than `COUCH_MM` / 2; of a clamp or a rail it is less."""

SMALLEST_CORE_ML = 0.3
"""What lies so deep, at least."""

FINGER_MM = 10.0
"""Thinner things that lie apart are no fingers."""

FINGERS_MM = 140.0
"""Nor are longer ones."""

BONE_HU, BONE_SHARE = 200.0, 0.1
"""Nor are those whose inside has no bone."""

THICK_SHARE = 0.03
"""Share of a limb in an MR that lies deeper than `LIMB_MM` / 2; of a coil's shell it is less."""

AIR_SHARE = 0.35
"""Where the dark part of an MR is brighter than this share of its limit, it is dark tissue rather than air."""

AIR_FACTOR = 3.5
"""Tissue gives at least so many times the mean signal of air: 4.4 standard deviations of Rayleigh noise."""

DIM_SHARE = 0.4
"""Where there is air, dim tissue gives at least this share of the limit: ghosts and glow give less."""

DIMMEST = 0.1
"""... and this share where there is none to be seen."""

DARKEST_FACTOR = 2.0
"""... and so many times the darkest squares: a corner of air may be among them."""

DIM_MM = 15.0
"""Dim voxels belong to the patient up to this far from bright ones: ghosts and fold-over reach further."""

LEFT_OUT_SHARE = 0.5
"""Signal outside the body counts from this share of the median inside."""

BLOCK = 4
"""Air is measured in squares of so many voxels."""


def body_mask_mr(mr: Volume) -> Mask:
    """(D, H, W) body mask of an MR: bright tissue, the dim tissue beside it, gaps closed, slices filled.

    The patient may be several pieces. Air, measured where the image is darkest, says how dim tissue may be.
    """
    clipped = np.minimum(mr.array, np.percentile(mr.array, 99.0))
    lowest = float(clipped.min())
    if lowest == clipped.max():
        return np.zeros(mr.shape, dtype=bool)
    # Otsu splits dark from bright tissue as readily as air from tissue: half of it keeps the dark tissue.
    limit = lowest + 0.5 * (float(threshold_otsu(clipped)) - lowest)
    bright = _opened(clipped > limit, mr.spacing_mm, 2.0)
    dim = _opened(clipped > _dim_limit(clipped, lowest, limit), mr.spacing_mm, 4.0)
    tissue = bright | (dim & grow(bright, mr.spacing_mm, DIM_MM))
    closed = filled(_closed(_solid_pieces(tissue, mr.spacing_mm), mr.spacing_mm, GAP_MM))
    trunk = _thick(closed, mr.spacing_mm)
    return trunk | _hanging(closed & ~trunk, trunk, mr.spacing_mm)


def body_mask_ct(ct: Volume) -> Mask:
    """(D, H, W) body mask of a CT in HU: threshold, what is thin and long cut off, limbs kept, filled.

    What is open to the room is told in 3-D, before anything is filled: the gap below an immobilisation mask and the
    inside of a couch look closed within a slice, and filling them would make one body of patient, mask and couch.
    """
    tissue = ct.array > hu.SKIN
    solid = ~_open_air(tissue, ct.spacing_mm)
    reach = COUCH_MM / 2 + max(ct.spacing_mm)
    trunk = grow(largest(shrink(solid, ct.spacing_mm, COUCH_MM / 2)), ct.spacing_mm, reach) & solid
    rest, dense = tissue & ~trunk, np.asarray(ct.array > FOAM_HU)
    # Limbs lie on the couch: without the air in it, its plates are too thin for a limb.
    trunk |= _dense_limbs(rest, dense, ct.spacing_mm)
    thin = rest & ~trunk
    return filled(trunk | _hanging(thin, trunk, ct.spacing_mm) | _fingers(thin, ct))


def left_out_ml(mr: Volume, body: Mask) -> float:
    """Volume in ml of signal outside the body that is at least half as bright as the body's median.

    Specks thinner than 4 mm, or than a voxel, do not count, nor does the blurred edge of the skin.

    Args:
        mr: The MR.
        body: (D, H, W) its body mask.
    """
    if not body.any():
        return 0.0
    bright = mr.array > LEFT_OUT_SHARE * float(np.median(mr.array[body]))
    around_skin = grow(body, mr.spacing_mm, max(mr.spacing_mm))
    outside = _opened(bright & ~around_skin, mr.spacing_mm, max(2.0, *mr.spacing_mm[1:]))
    return round(float(outside.sum()) * _voxel_ml(mr.spacing_mm), 1)


def depth_mm(mask: Mask, spacing_mm: Sequence[float]) -> npt.NDArray[np.float32]:
    """(D, H, W) distance in mm of each voxel inside the mask to the nearest one outside; 0 outside."""
    depth = np.zeros(mask.shape, np.float32)
    if not mask.all():
        box = around(mask, (1, 1, 1))
        depth[box] = ndimage.distance_transform_edt(mask[box], sampling=list(spacing_mm))
    return depth


def _dim_limit(clipped: Array, lowest: float, limit: float) -> float:
    """Signal above which a voxel beside bright tissue is tissue.

    Args:
        clipped: (D, H, W) the MR without its brightest voxels.
        lowest: Its smallest value.
        limit: Value between dark and bright.
    """
    height, width = (n // BLOCK * BLOCK for n in clipped.shape[1:])
    blocks = clipped[:, :height, :width].reshape(len(clipped), height // BLOCK, BLOCK, -1, BLOCK)
    means = blocks.mean(axis=(2, 4)) - lowest
    dark = means[(means < limit - lowest) & (means > 0)]
    air = float(np.percentile(dark, 30)) if dark.size else 0.0
    if air > AIR_SHARE * (limit - lowest):  # no air in sight
        darkest = float(np.percentile(dark, 2))
        return lowest + min(max(DARKEST_FACTOR * darkest, DIMMEST * (limit - lowest)), limit - lowest)
    return lowest + min(max(AIR_FACTOR * air, DIM_SHARE * (limit - lowest)), limit - lowest)


def _opened(mask: Mask, spacing_mm: Sequence[float], radius_mm: float) -> Mask:
    return mask & grow(shrink(mask, spacing_mm, radius_mm), spacing_mm, radius_mm)


def _closed(mask: Mask, spacing_mm: Sequence[float], radius_mm: float) -> Mask:
    """Closed as if there were air beyond the edge, so that nothing flares there."""
    margin = [int(radius_mm / s) + 1 for s in spacing_mm]
    padded = np.pad(mask, [(m, m) for m in margin])
    closed = shrink(grow(padded, spacing_mm, radius_mm), spacing_mm, radius_mm)
    d, h, w = (slice(m, m + n) for m, n in zip(margin, mask.shape, strict=True))
    return closed[d, h, w]


def _large(mask: Mask, spacing_mm: Sequence[float]) -> Mask:
    """The largest piece, and every other that is as large as a limb."""
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = _sizes(labels, count, mask)
    keep = sizes >= SMALLEST_LIMB_ML / _voxel_ml(spacing_mm)
    keep[np.argmax(sizes)] = True
    return np.asarray(keep[labels])


def _solid_pieces(mask: Mask, spacing_mm: Sequence[float]) -> Mask:
    """The largest piece, and every other that is as large and thick as a limb."""
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = _sizes(labels, count, mask)
    keep = sizes >= SMALLEST_LIMB_ML / _voxel_ml(spacing_mm)
    keep &= _sizes(labels, count, shrink(mask, spacing_mm, LIMB_MM / 2)) > THICK_SHARE * sizes
    keep[np.argmax(sizes)] = True
    return np.asarray(keep[labels])


def _thick(mask: Mask, spacing_mm: Sequence[float]) -> Mask:
    """What is as thick as a limb, in pieces as large as one; the largest in any case."""
    core = shrink(mask, spacing_mm, LIMB_MM / 2)
    if not core.any():
        return largest(mask)
    return grow(_large(core, spacing_mm), spacing_mm, LIMB_MM / 2 + max(spacing_mm)) & mask


def _hanging(thin: Mask, trunk: Mask, spacing_mm: Sequence[float]) -> Mask:
    """Of what is thin: what hangs on the trunk and is no larger than an ear."""
    labels, count = ndimage.label(thin)
    keep = np.zeros(count + 1, dtype=bool)
    keep[labels[grow(trunk, (1, 1, 1), 1) & thin]] = True
    boxes = ndimage.find_objects(labels)
    for label in np.flatnonzero(keep[1:]) + 1:
        keep[label] = max(_extents(boxes[label - 1], spacing_mm)) <= EAR_MM
    keep[0] = False
    return np.asarray(keep[labels])


def _extents(box: Sequence[slice], spacing_mm: Sequence[float]) -> list[float]:
    return [(part.stop - part.start) * s for part, s in zip(box, spacing_mm, strict=True)]


def _dense_limbs(rest: Mask, dense: Mask, spacing_mm: Sequence[float]) -> Mask:
    """Pieces that are thick enough for a limb and as dense as one."""
    core = shrink(rest, spacing_mm, COUCH_MM / 2)
    if not core.any():
        return core
    labels, count = ndimage.label(core)
    sizes = _sizes(labels, count, core)
    smallest = SMALLEST_CORE_ML / _voxel_ml(spacing_mm)
    keep = _sizes(labels, count, dense & core) >= DENSE_SHARE * np.maximum(sizes, smallest)
    if not keep[1:].any():
        return np.zeros_like(core)
    limbs = grow(np.asarray(keep[labels]), spacing_mm, COUCH_MM / 2 + max(spacing_mm)) & rest
    labels, count = ndimage.label(limbs)
    return np.asarray((_sizes(labels, count, core) > CORE_SHARE * _sizes(labels, count, limbs))[labels])


def _sizes(labels: npt.NDArray[np.int32], count: int, where: Mask) -> npt.NDArray[np.int64]:
    """(1 + count,) voxels of each piece within `where`; none for the background."""
    sizes = np.bincount(labels[where], minlength=count + 1)
    sizes[0] = 0
    return sizes


def _voxel_ml(spacing_mm: Sequence[float]) -> float:
    return float(np.prod(spacing_mm)) / 1000


def _fingers(loose: Mask, ct: Volume) -> Mask:
    """Thin pieces that hang on nothing but have the bone and the size of fingers."""
    core = shrink(loose, ct.spacing_mm, FINGER_MM / 2)
    if not core.any():
        return core
    labels, count = ndimage.label(loose)
    sizes = _sizes(labels, count, core)
    keep = sizes >= SMALLEST_CORE_ML / _voxel_ml(ct.spacing_mm)
    for above, share in ((FOAM_HU, DENSE_SHARE), (BONE_HU, BONE_SHARE)):
        keep &= _sizes(labels, count, core & (ct.array > above)) >= share * sizes
    keep[0] = False
    boxes = ndimage.find_objects(labels)
    for label in np.flatnonzero(keep):
        keep[label] = max(_extents(boxes[label - 1], ct.spacing_mm)) <= FINGERS_MM
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
