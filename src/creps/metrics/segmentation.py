"""Agreement of shapes. Arrays are (D, H, W)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from creps import hu
from creps.volume import Mask

__all__ = ["SurfaceDistance", "bone_dice", "dice", "surface_distance"]


HAUSDORFF_PERCENTILE = 95.0


@dataclass(frozen=True)
class SurfaceDistance:
    """How far two surfaces lie apart.

    Attributes:
        average_mm: Mean over the voxels of both surfaces of the distance to the other one (average symmetric).
        hd95_mm: The larger of the two directed 95th percentiles (as SynthRAD and MONAI have it; not the percentile of
            both pooled).
    """

    average_mm: float
    hd95_mm: float


def dice(a: Mask, b: Mask) -> float:
    """2 |a ∩ b| / (|a| + |b|).

    Raises:
        ValueError: shapes differ, one is not boolean, or both are empty and the ratio says nothing.
    """
    _check_masks(a, b)
    total = int(a.sum()) + int(b.sum())
    if total == 0:
        raise ValueError("both segmentations are empty")
    return 2 * int((a & b).sum()) / total


def bone_dice(ct_hu: npt.NDArray[np.floating], sct_hu: npt.NDArray[np.floating], mask: Mask) -> float:
    """Dice of the voxels above `hu.BONE_ABOVE` inside the mask.

    Raises:
        ValueError: as `dice`.
    """
    return dice((ct_hu > hu.BONE_ABOVE) & mask, (sct_hu > hu.BONE_ABOVE) & mask)


def surface_distance(a: Mask, b: Mask, spacing_mm: Sequence[float]) -> SurfaceDistance:
    """Distance of the surfaces of two segmentations.

    The surface are the voxels with a face neighbour outside; beyond the edge of the array is outside. Distances are
    Euclidean between voxel centres.

    Args:
        a: (D, H, W).
        b: (D, H, W).
        spacing_mm: Along D, H, W.

    Raises:
        ValueError: shapes differ, or one of them is not boolean, or empty and has no surface.
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
    if a.dtype != np.bool_ or b.dtype != np.bool_:  # the sum of a mask of 255 is no count
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
    """Of each voxel of a surface the distance to the nearest one of the other.

    A tree over the surface is exact as a distance map is, and needs no memory for the voxels between.
    """
    distances = np.zeros(int(surface.sum()))
    apart = ~other[surface]  # what the surfaces share is 0 mm away
    points = np.argwhere(surface)[apart] * np.asarray(spacing_mm)
    if len(points):
        distances[apart] = cKDTree(np.argwhere(other) * np.asarray(spacing_mm)).query(points)[0]
    return distances
