"""Cubic B-spline resampling between grids (section 2.2, Pre-processing).

Axes that stay parallel make the interpolation separable: one prefilter, then one sparse 1-D product
per axis. That is the way of an MR to the model's grid and of its sCT back. Only the sCT of an oblique MR
that is wanted on axial slices is turned, and takes the slower way of `resample_turned`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse

from creps.volume import Array, Volume

__all__ = ["model_grid", "resample", "resample_onto", "resample_turned"]


def model_grid(volume: Volume, spacing_mm: tuple[float, float, float]) -> Volume:
    """An empty volume over the same extent, centred on it, with the given spacing (D, H, W)."""
    counts = [max(2, int(np.ceil(e / s - 1e-3))) for e, s in zip(volume.extent_mm, spacing_mm, strict=True)]
    centre = volume.to_patient_mm([(n - 1) / 2 for n in volume.shape])
    first = -np.array([(n - 1) / 2 * s for n, s in zip(counts, spacing_mm, strict=True)])
    x, y, z = (centre + volume.direction @ first).tolist()
    return Volume(np.zeros(counts, np.float32), spacing_mm, (x, y, z), volume.direction)


def resample(volume: Volume, spacing_mm: tuple[float, float, float]) -> Volume:
    """Resample to a spacing (D, H, W) in mm, along the volume's own axes."""
    return resample_onto(volume, model_grid(volume, spacing_mm))


def resample_onto(volume: Volume, grid: Volume) -> Volume:
    """Sample a volume at the voxels of a grid with parallel axes.

    Cubic B-spline; beyond the volume's edge its outermost value goes on; the result never leaves
    the source's range, so that the spline's overshoot at bone and metal is cut off.

    Args:
        volume: What to sample.
        grid: Where; its array is not read.

    Returns:
        A volume on `grid`.

    Raises:
        ValueError: the axes are not parallel.
    """
    if not np.allclose(volume.direction, grid.direction, atol=1e-4):
        raise ValueError("resample_onto needs grids with parallel axes")
    if volume.same_grid_as(grid):
        return grid.with_array(volume.array)
    start = volume.direction.T @ (np.asarray(grid.origin_mm) - np.asarray(volume.origin_mm))
    positions = [
        (offset + np.arange(n) * spacing) / own
        for offset, n, spacing, own in zip(start, grid.shape, grid.spacing_mm, volume.spacing_mm, strict=True)
    ]
    array = ndimage.spline_filter(volume.array, order=3, output=np.float32, mode="mirror")
    for axis in np.argsort([n / m for n, m in zip(grid.shape, volume.shape, strict=True)]):
        array = _along(array, _weights(positions[axis], volume.shape[axis]), int(axis))
    return grid.with_array(np.clip(array, volume.array.min(), volume.array.max()))


def resample_turned(volume: Volume, grid: Volume) -> Volume:
    """Sample a volume at the voxels of a grid that may be rotated against it.

    Cubic B-spline, clipped to the source's range; what lies beyond the volume's edge means nothing (see `beyond`).

    Args:
        volume: What to sample.
        grid: Where; its array is not read.

    Returns:
        A volume on `grid`.
    """
    own = np.asarray(volume.spacing_mm)[:, None]
    matrix = (volume.direction.T @ grid.direction) * np.asarray(grid.spacing_mm) / own
    offset = volume.direction.T @ (np.asarray(grid.origin_mm) - np.asarray(volume.origin_mm)) / own[:, 0]
    array = ndimage.affine_transform(
        ndimage.spline_filter(volume.array, order=3, output=np.float32, mode="mirror"),
        matrix,
        offset,
        output_shape=grid.shape,
        order=3,
        mode="mirror",
        prefilter=False,
    )
    return grid.with_array(np.clip(array, volume.array.min(), volume.array.max()))


def _weights(positions: npt.NDArray[np.float64], count: int) -> sparse.csr_matrix:
    """(len(positions), count) cubic B-spline weights on mirrored coefficients, positions clamped."""
    clamped = np.clip(positions, 0, count - 1)
    base = np.floor(clamped).astype(np.int64)
    t = clamped - base
    taps = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
    period = max(1, 2 * (count - 1))
    columns = np.abs(base + np.arange(-1, 3)[:, None]) % period
    columns = np.minimum(columns, period - columns)  # mirrored at the outermost voxel centres
    rows = np.broadcast_to(np.arange(len(positions)), columns.shape)
    matrix = sparse.coo_matrix((taps.ravel(), (rows.ravel(), columns.ravel())), shape=(len(positions), count))
    return matrix.tocsr().astype(np.float32)


def _along(array: Array, weights: sparse.csr_matrix, axis: int) -> Array:
    """Multiply `weights` into one axis of a (D, H, W) array."""
    depth, height, width = array.shape
    if axis == 0:
        return np.asarray((weights @ array.reshape(depth, -1)).reshape(-1, height, width))
    if axis == 1:
        return np.stack([weights @ plane for plane in array])
    return np.stack([(weights @ plane.T).T for plane in array])
