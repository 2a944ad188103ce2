"""What has no counterpart on the other side: both sides of a head or a pelvis are much alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from creps.preprocessing.morphology import grow
from creps.qa.measures.bone import expected_bone
from creps.qa.measures.measure import Measure, densest
from creps.qa.scene import Scene
from creps.volume import Array, Mask

__all__ = ["middle_plane", "one_sided", "reflected"]

VOID, VOID_DEPTH_MM = 0.15, 6.0
"""Times the body's median signal, and depth, of a place without signal."""

TOLERANCE_MM = 8.0
"""Bone counts as matched if the other side has bone this near to its mirror image."""

WIDE_MM = 60.0
"""Rows of the body from this width tell where the middle is."""

TYPICAL = 0.75
"""Quantile of what is expected within bone that counts as certain."""

FEW_ROWS = 50
ROUNDS, TRIMMED = 4, 0.8

Vector = npt.NDArray[np.float64]
Voxels = npt.NDArray[np.int64]


def one_sided(scene: Scene) -> dict[str, Measure]:
    """Bone of the sCT, and places of the MR without signal, that have no counterpart on the other side, in ml.

    Each is the largest clump. Bone counts less where the MR, too, looks like bone on one side only. One number cannot
    tell which side is wrong; what is wrong on both sides or in the middle is not seen.
    """
    plane = middle_plane(scene)
    void = (scene.mr < VOID) & (scene.depth_mm > VOID_DEPTH_MM) & scene.imaged
    found = {"one_sided_bone": scene.bone, "one_sided_void": void}
    if plane is None or not scene.bone.any():
        return dict.fromkeys(found, Measure(None))
    return {
        name: densest(_alone(mask, scene, plane, explained=name == "one_sided_bone"), scene)
        for name, mask in found.items()
    }


def _alone(mask: Mask, scene: Scene, plane: tuple[Vector, float], *, explained: bool) -> Array:
    """(D, H, W) from 0 to 1: voxels of a mask without one near their mirror image."""
    mirror = reflected(np.argwhere(mask), plane, scene.spacing_mm)
    matched = grow(mask, scene.spacing_mm, TOLERANCE_MM) | ~(scene.body & scene.imaged)
    weights = np.zeros(mask.shape, dtype=np.float32)
    weights[mask] = ~_at(matched, mirror, outside=True)
    if explained:
        weights[mask] *= _unexplained(scene, mirror)
    return weights


def _unexplained(scene: Scene, mirror: Voxels) -> Array:
    """(n,) of each bone voxel: 0 where the MR looks like bone on this side only, 1 where both sides look alike."""
    expected = expected_bone(scene)
    certain = max(float(np.quantile(expected[scene.bone], TYPICAL)), 1e-3)
    near = ndimage.maximum_filter(np.clip(expected / certain, 0, 1), 3)
    return np.clip(1 - near[scene.bone] + _at(near, mirror, outside=0.0), 0, 1)


def _at(array: npt.NDArray[Any], voxels: Voxels, *, outside: Any) -> npt.NDArray[Any]:
    """(n,) values at voxels, which may lie outside the array."""
    within = np.all((voxels >= 0) & (voxels < array.shape), axis=1)
    found = np.full(len(voxels), outside, dtype=array.dtype)
    found[within] = array[tuple(voxels[within].T)]
    return found


def middle_plane(scene: Scene) -> tuple[Vector, float] | None:
    """Unit normal (D, H, W) and distance in mm from voxel (0, 0, 0) of the plane between left and right.

    Fitted to the middle of every wide row of the body whose both ends are in the image. None if there are few.
    """
    body = scene.body
    first, last = body.argmax(axis=2), body.shape[2] - 1 - body[:, :, ::-1].argmax(axis=2)
    ends = np.take_along_axis(_inner(scene.imaged), first[..., None], 2)[..., 0]
    ends &= np.take_along_axis(_inner(scene.imaged), last[..., None], 2)[..., 0]
    rows = np.argwhere(body.any(axis=2) & ends & ((last - first) * scene.spacing_mm[2] >= WIDE_MM))
    if len(rows) < FEW_ROWS:
        return None
    d, h, w = scene.spacing_mm
    middle = (first + last)[tuple(rows.T)] / 2 * w
    terms = np.column_stack([np.ones(len(rows)), rows * (d, h)])
    kept = np.ones(len(rows), dtype=bool)
    for _ in range(ROUNDS):
        fit, *_ = np.linalg.lstsq(terms[kept], middle[kept], rcond=None)
        off = np.abs(terms @ fit - middle)
        kept = off <= np.quantile(off, TRIMMED)
    normal = np.array([-fit[1], -fit[2], 1.0])
    length = float(np.linalg.norm(normal))
    return normal / length, float(fit[0]) / length


def _inner(imaged: Mask) -> Mask:
    """Voxels that are not at the left or right end of what is imaged."""
    return imaged & np.roll(imaged, 2, 2) & np.roll(imaged, -2, 2)


def reflected(voxels: Voxels, plane: tuple[Vector, float], spacing_mm: tuple[float, float, float]) -> Voxels:
    """(n, 3) the voxels nearest to the mirror images of voxels (n, 3).

    Args:
        voxels: Indices (D, H, W).
        plane: Unit normal and distance in mm, see `middle_plane`.
        spacing_mm: Along D, H, W.
    """
    normal, distance = plane
    points = voxels * np.asarray(spacing_mm)
    mirror = points - 2 * np.outer(points @ normal - distance, normal)
    return np.rint(mirror / spacing_mm).astype(np.int64)
