"""What has no counterpart on the other side: both sides of a head or a pelvis are much alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from creps.preprocessing.morphology import grow
from creps.qa.measures.bone import certain_bone, expected_bone
from creps.qa.measures.measure import Measure, argmax, densest
from creps.qa.scene import Scene
from creps.volume import Array, Mask

__all__ = ["middle_plane", "one_sided", "reflected", "sides"]

VOID = 0.06
"""Times the body's median signal above what is beside the body: a voxel without signal has less."""

BESIDE_MM, MOST_BESIDE = 8.0, 0.1
"""Beside the body means further from it than this; signal there counts up to this much."""

DENT_MM = 40.0
"""Dents of the body into which no ball of this radius fits belong to the body: a void at the skin is a dent."""

VOID_CLUMP_VOXELS = 7
"""Voids are counted in a cube of this many voxels a side: 28 mm, 22 ml."""

ALIKE, FINE_SD, SIDES_SD = 0.25, (1.0, 1.5), 3.0
"""Difference in root of the signal beyond which sides are unlike; smoothing of MR, sCT and result in voxels."""

SIDES_HU = (-100.0, 500.0)

TOLERANCE_MM = 8.0
"""Bone counts as matched if the other side has bone this near to its mirror image."""

WIDE_MM = 60.0
"""Rows of the body from this width tell where the middle is."""

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
    if plane is None or not scene.bone.any():
        return dict.fromkeys(("one_sided_bone", "one_sided_void"), Measure(None))
    matched = ~(scene.body & scene.imaged)
    bone = _alone(scene.bone, matched, scene, plane)
    mirror = reflected(np.argwhere(scene.bone), plane, scene.spacing_mm)
    bone[scene.bone] *= _unexplained(scene, mirror)
    whole = _without_dents(scene)
    void = _alone(whole & (scene.mr < VOID + _beside(scene)), ~whole, scene, plane)
    return {"one_sided_bone": densest(bone, scene), "one_sided_void": densest(void, scene, VOID_CLUMP_VOXELS)}


def sides(scene: Scene) -> Measure:
    """By how many HU the sCT is lower than on the other side where the MR is alike on both, mean around one voxel."""
    plane = middle_plane(scene)
    if plane is None:
        return Measure(None)
    inside = scene.body & scene.imaged
    both = inside & (_mirrored(inside, plane, scene) > 0.99)
    signal = ndimage.gaussian_filter(np.sqrt(np.clip(scene.mr, 0, 4)), FINE_SD[0])
    values = ndimage.gaussian_filter(np.clip(scene.sct_hu, *SIDES_HU), FINE_SD[1])
    alike = np.exp(-(((signal - _mirrored(signal, plane, scene)) / ALIKE) ** 2))
    lower = both * alike * np.clip(_mirrored(values, plane, scene) - values, 0, None)
    around = ndimage.gaussian_filter(lower, SIDES_SD)
    return Measure(float(around.max()), argmax(around))


def _mirrored(array: npt.NDArray[Any], plane: tuple[Vector, float], scene: Scene) -> Array:
    """(D, H, W) what is on the other side; 0 beyond the grid."""
    normal, distance = plane
    matrix = np.eye(3) - 2 * np.outer(normal, normal)
    offset = 2 * distance * normal / scene.spacing_mm[0]
    return np.asarray(ndimage.affine_transform(array.astype(np.float32), matrix, offset, order=1))


def _without_dents(scene: Scene) -> Mask:
    """(D, H, W) the body and what a ball of `DENT_MM` rolling over it does not reach; beyond the images it goes on."""
    near = ndimage.distance_transform_edt(~(scene.body | ~scene.imaged), sampling=scene.spacing_mm) <= DENT_MM
    if near.all():
        return scene.imaged
    return np.asarray((ndimage.distance_transform_edt(near, sampling=scene.spacing_mm) > DENT_MM) & scene.imaged)


def _beside(scene: Scene) -> float:
    """Median signal further than 8 mm from the body: what noise is where nothing is."""
    beside = scene.imaged & ~grow(scene.body, scene.spacing_mm, BESIDE_MM)
    return min(MOST_BESIDE, float(np.median(scene.mr[beside]))) if beside.any() else 0.0


def _alone(mask: Mask, matched: Mask, scene: Scene, plane: tuple[Vector, float]) -> Array:
    """(D, H, W) 1 at voxels of a mask whose mirror image is not near the mask or `matched`."""
    mirror = reflected(np.argwhere(mask), plane, scene.spacing_mm)
    near = grow(mask, scene.spacing_mm, TOLERANCE_MM) | matched
    weights = np.zeros(mask.shape, dtype=np.float32)
    weights[mask] = ~_at(near, mirror, outside=True)
    return weights


def _unexplained(scene: Scene, mirror: Voxels) -> Array:
    """(n,) of each bone voxel: 0 where the MR looks like bone on this side only, 1 where both sides look alike."""
    expected = expected_bone(scene)
    near = ndimage.maximum_filter(np.clip(expected / certain_bone(scene), 0, 1), 3)
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
