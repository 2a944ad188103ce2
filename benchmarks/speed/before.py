"""How body masks and turned grids were computed before: what the benchmarks of preparing compare with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from creps.preprocessing import mask as masks
from creps.volume import Mask, Volume

__all__ = ["earlier_masks", "resample_turned"]


def _distance_mm(mask: Mask, spacing_mm: Sequence[float]) -> np.ndarray:
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(list(spacing_mm)[::-1])
    distance = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
    return np.asarray(sitk.GetArrayFromImage(distance), dtype=np.float32)


def grow(mask: Mask, spacing_mm: Sequence[float], radius_mm: float) -> Mask:
    """By a distance map and a threshold."""
    return mask if not mask.any() else _distance_mm(mask, spacing_mm) <= radius_mm


def shrink(mask: Mask, spacing_mm: Sequence[float], radius_mm: float) -> Mask:
    """By a distance map and a threshold."""
    return mask if mask.all() else _distance_mm(~mask, spacing_mm) > radius_mm


def largest(mask: Mask) -> Mask:
    """Sizes counted over the whole array at once."""
    labels, count = ndimage.label(mask)
    return mask if count < 2 else labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])


def filled(mask: Mask) -> Mask:
    """One slice after the other."""
    whole = mask.copy()
    for axis in range(3):
        for plane in np.moveaxis(whole, axis, 0):
            plane[:] = ndimage.binary_fill_holes(plane)
    return whole


@contextmanager
def earlier_masks() -> Iterator[None]:
    """While this is open, body masks are computed as before."""
    now = {name: getattr(masks, name) for name in ("grow", "shrink", "largest", "filled")}
    try:
        for name, way in (("grow", grow), ("shrink", shrink), ("largest", largest), ("filled", filled)):
            setattr(masks, name, way)
        yield
    finally:
        for name, way in now.items():
            setattr(masks, name, way)


def resample_turned(volume: Volume, grid: Volume) -> Volume:
    """Every voxel takes its 64 coefficients, whether inside or not, in one thread."""
    own = np.asarray(volume.spacing_mm)[:, None]
    matrix = (volume.direction.T @ grid.direction) * np.asarray(grid.spacing_mm) / own
    offset = volume.direction.T @ (np.asarray(grid.origin_mm) - np.asarray(volume.origin_mm)) / own[:, 0]
    coefficients = ndimage.spline_filter(volume.array, order=3, output=np.float32, mode="mirror")
    array = ndimage.affine_transform(
        coefficients, matrix, offset, output_shape=grid.shape, order=3, mode="mirror", prefilter=False
    )
    return grid.with_array(np.clip(array, volume.array.min(), volume.array.max()))
