"""Body masks: where the patient is, from the image alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from creps import hu
from creps.preprocessing.morphology import (
    box_around,
    filled,
    grow,
    largest,
    no_longer_than,
    opened,
    reachable_air,
    shrink,
    sizes_within,
    voxel_ml,
)
from creps.preprocessing.mr_tissue import tissue_mr
from creps.preprocessing.room import lone_fingers, room_around, trunk_and_limbs
from creps.volume import Mask, Volume

__all__ = ["body_mask_ct", "body_mask_mr", "depth_mm", "left_out_ml"]

COUCH_MM = 16.0
"""Structures thinner than this are cut from the patient (couch plates, headrest, mask), unless they are small."""

EAR_MM = 80.0
"""Thin parts up to this long stay with the patient: ears, nose, fingers."""

BALL_MM = 3.0
"""Radius of the ball that explores the air around the patient: it enters below a mask, but no nostril."""

FOAM_HU = -200.0
"""Limbs are denser than this almost everywhere (`DENSE_SHARE`); couches, cushions and clamps are not."""

DENSE_SHARE = 0.97
"""At least this share of the core of a limb is denser than `FOAM_HU`."""

CORE_SHARE = 0.2
"""At least this share of a limb in a CT lies deeper than `COUCH_MM` / 2; of a clamp or a rail it is less."""

SMALLEST_CORE_ML = 0.3
"""Smallest volume of the core of a limb or of fingers, the part that lies deep inside."""

FINGER_MM = 10.0
"""A loose piece thinner than this is no finger."""

FINGERS_MM = 140.0
"""A loose piece longer than this is no hand or finger."""

BONE_HU, BONE_SHARE = 200.0, 0.1
"""A loose piece is a finger only if at least this share of its core is bone, above this HU."""

MARGIN_MM = 10.0
"""Margin of air around the tissue of an MR that is searched: wide enough for the ball to reach every part."""

LEFT_OUT_SHARE = 0.5
"""Signal outside the body counts from this share of the median inside."""


def body_mask_mr(mr: Volume) -> Mask:
    """(D, H, W) body mask of an MR: bright tissue, the dim tissue beside it, what they enclose; thin sheets cut off.

    The patient may be several pieces. What a ball reaches from the sides of the volume is the room around the patient,
    so a gap below a coil stays open while a skull is closed, however wide the gap.
    """
    tissue = tissue_mr(mr)
    body, box = np.zeros_like(tissue), box_around(tissue, [int(MARGIN_MM / s) + 1 for s in mr.spacing_mm])
    solid = ~room_around(tissue[box], mr.spacing_mm)
    trunk = trunk_and_limbs(solid, mr.spacing_mm)
    trunk |= lone_fingers(solid & ~trunk, mr.spacing_mm)
    body[box] = filled(trunk | _attached(solid & ~trunk, trunk, mr.spacing_mm))
    return body


def body_mask_ct(ct: Volume) -> Mask:
    """(D, H, W) body mask of a CT in HU: threshold, what is thin and long cut off, limbs kept, filled.

    What is open to the room is decided in 3-D, before anything is filled: the gap below an immobilisation mask and the
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
    return filled(trunk | _attached(thin, trunk, ct.spacing_mm) | _fingers(thin, ct))


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
    outside = opened(bright & ~around_skin, mr.spacing_mm, max(2.0, *mr.spacing_mm[1:]))
    return round(float(outside.sum()) * voxel_ml(mr.spacing_mm), 1)


def depth_mm(mask: Mask, spacing_mm: Sequence[float]) -> npt.NDArray[np.float32]:
    """(D, H, W) distance in mm of each voxel inside the mask to the nearest one outside; 0 outside."""
    depth = np.zeros(mask.shape, np.float32)
    if not mask.all():
        box = box_around(mask, (1, 1, 1))
        depth[box] = ndimage.distance_transform_edt(mask[box], sampling=list(spacing_mm))
    return depth


def _attached(thin: Mask, trunk: Mask, spacing_mm: Sequence[float]) -> Mask:
    """Thin pieces that are attached to the trunk and are no larger than an ear."""
    labels, count = ndimage.label(thin)
    keep = np.zeros(count + 1, dtype=bool)
    keep[labels[grow(trunk, (1, 1, 1), 1) & thin]] = True
    return np.asarray(no_longer_than(labels, keep, spacing_mm, EAR_MM)[labels])


def _dense_limbs(rest: Mask, dense: Mask, spacing_mm: Sequence[float]) -> Mask:
    """Pieces that are thick enough for a limb and as dense as one."""
    core = shrink(rest, spacing_mm, COUCH_MM / 2)
    if not core.any():
        return core
    labels, count = ndimage.label(core)
    sizes = sizes_within(labels, count, core)
    smallest = SMALLEST_CORE_ML / voxel_ml(spacing_mm)
    keep = sizes_within(labels, count, dense & core) >= DENSE_SHARE * np.maximum(sizes, smallest)
    if not keep[1:].any():
        return np.zeros_like(core)
    limbs = grow(np.asarray(keep[labels]), spacing_mm, COUCH_MM / 2 + max(spacing_mm)) & rest
    labels, count = ndimage.label(limbs)
    return np.asarray((sizes_within(labels, count, core) > CORE_SHARE * sizes_within(labels, count, limbs))[labels])


def _fingers(loose: Mask, ct: Volume) -> Mask:
    """Loose thin pieces that have the bone and the size of fingers."""
    core = shrink(loose, ct.spacing_mm, FINGER_MM / 2)
    if not core.any():
        return core
    labels, count = ndimage.label(loose)
    sizes = sizes_within(labels, count, core)
    keep = sizes >= SMALLEST_CORE_ML / voxel_ml(ct.spacing_mm)
    for above, share in ((FOAM_HU, DENSE_SHARE), (BONE_HU, BONE_SHARE)):
        keep &= sizes_within(labels, count, core & (ct.array > above)) >= share * sizes
    return np.asarray(no_longer_than(labels, keep, ct.spacing_mm, FINGERS_MM)[labels])


def _open_air(tissue: Mask, spacing_mm: Sequence[float]) -> Mask:
    """Air that a ball can reach from the sides of the volume (not from its ends, where airways are cut open)."""
    if tissue.all() or not tissue.any():
        return ~tissue
    sides = np.zeros_like(tissue)
    sides[:, [0, -1], :] = sides[:, :, [0, -1]] = True
    return reachable_air(tissue, spacing_mm, BALL_MM, sides)
