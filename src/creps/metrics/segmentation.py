"""Agreement of segmentations. Arrays are (D, H, W)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from creps import hu
from creps.metrics.image import HU
from creps.volume import Mask

__all__ = ["SurfaceDistance", "bone_dice", "dice", "surface_distance"]


HAUSDORFF_PERCENTILE = 95.0


@dataclass(frozen=True)
class SurfaceDistance:
    """How far apart two surfaces are.

    Attributes:
        average_mm: Average symmetric surface distance: the mean over the voxels of both surfaces of the distance to the
            other one.
        hd95_mm: The larger of the two directed 95th percentiles (as in SynthRAD and MONAI, not the percentile of both
            pooled).
    """

    average_mm: float
    hd95_mm: float


def dice(a: Mask, b: Mask) -> float:
    """Return 2 |a ∩ b| / (|a| + |b|).

    Args:
        a: Boolean, (D, H, W).
        b: Boolean, (D, H, W).

    Raises:
        ValueError: the shapes differ, one is not boolean, or both are empty and the ratio is undefined.

    Examples:
        >>> a = np.array([[[True, True, False, False]]])
        >>> b = np.array([[[False, True, False, False]]])
        >>> round(dice(a, b), 3)
        0.667
    """
    _check_masks(a, b)
    total = int(a.sum()) + int(b.sum())
    if total == 0:
        raise ValueError("both segmentations are empty")
    return 2 * int((a & b).sum()) / total


def bone_dice(ct_hu: HU, sct_hu: HU, mask: Mask) -> float:
    """Return the Dice of the voxels above `hu.BONE_ABOVE` inside the mask.

    Args:
        ct_hu: The true CT in HU, (D, H, W).
        sct_hu: The synthetic CT in HU, (D, H, W).
        mask: The voxels to score, boolean, (D, H, W).

    Raises:
        ValueError: as `dice`.

    Examples:
        >>> ct = np.array([[[1000.0, 900.0, 40.0]]])
        >>> sct = np.array([[[800.0, 30.0, 50.0]]])
        >>> round(bone_dice(ct, sct, ct > -1000), 3)
        0.667
    """
    return dice((ct_hu > hu.BONE_ABOVE) & mask, (sct_hu > hu.BONE_ABOVE) & mask)


def surface_distance(a: Mask, b: Mask, spacing_mm: Sequence[float]) -> SurfaceDistance:
    """Return the distances of the surfaces of two segmentations.

    A surface voxel has a face neighbour outside the segmentation; beyond the edge of the array counts as outside.
    Distances are Euclidean between voxel centres.

    Args:
        a: Boolean, (D, H, W).
        b: Boolean, (D, H, W).
        spacing_mm: Voxel spacing along D, H, W.

    Raises:
        ValueError: the shapes differ, or one segmentation is not boolean or is empty.

    Examples:
        >>> a = np.zeros((6, 3, 3), dtype=bool)
        >>> a[1] = True
        >>> surface_distance(a, np.roll(a, 2, axis=0), (3.0, 1.0, 1.0))
        SurfaceDistance(average_mm=6.0, hd95_mm=6.0)
    """
    _check_masks(a, b)
    if not (a.any() and b.any()):
        raise ValueError("a segmentation is empty: it has no surface")
    surface_a, surface_b = _surface(a), _surface(b)
    from_a = _nearest_mm(surface_a, surface_b, spacing_mm)
    from_b = _nearest_mm(surface_b, surface_a, spacing_mm)
    directed = (np.percentile(distances, HAUSDORFF_PERCENTILE) for distances in (from_a, from_b))
    average = (from_a.sum() + from_b.sum()) / (len(from_a) + len(from_b))
    return SurfaceDistance(float(average), float(max(directed)))


def _check_masks(a: Mask, b: Mask) -> None:
    if a.dtype != np.bool_ or b.dtype != np.bool_:  # the sum of a mask of 255 is not a count
        raise ValueError("the mask must be boolean: use mask > 0")
    if a.shape != b.shape:
        raise ValueError(f"shapes differ: {a.shape} and {b.shape}")


def _surface(segment: Mask) -> Mask:
    """Voxels of the segment with a face neighbour outside it."""
    inner = segment.copy()
    for axis in range(segment.ndim):
        along, at = np.moveaxis(segment, axis, 0), np.moveaxis(inner, axis, 0)
        at[1:] &= along[:-1]
        at[:-1] &= along[1:]
        at[0] = at[-1] = False
    return segment & ~inner


def _nearest_mm(surface: Mask, other: Mask, spacing_mm: Sequence[float]) -> npt.NDArray[np.float64]:
    """The distance of each voxel of a surface to the nearest voxel of the other one.

    A tree over the surface is as exact as a distance map and needs no memory for the voxels in between.
    """
    distances = np.zeros(int(surface.sum()))
    apart = ~other[surface]  # shared voxels are 0 mm apart
    points = np.argwhere(surface)[apart] * np.asarray(spacing_mm)
    if len(points):
        distances[apart] = cKDTree(np.argwhere(other) * np.asarray(spacing_mm)).query(points)[0]
    return distances
