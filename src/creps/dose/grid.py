"""The dose grid, and averages over its voxels.

Densities are averaged, not sampled: the water-equivalent thickness along a beam is then that of the image's own voxels,
whatever the voxel size of the dose.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from creps.volume import AXIAL, Array, Mask, Volume

__all__ = ["averaged", "box_grid", "coverage"]


def box_grid(low_mm: npt.ArrayLike, high_mm: npt.ArrayLike, spacing_mm: float) -> Volume:
    """An empty axial grid of cubic voxels over a box.

    Args:
        low_mm: Lowest patient (x, y, z).
        high_mm: Highest patient (x, y, z).
        spacing_mm: Voxel size.

    Examples:
        >>> box_grid((0, 0, 0), (8, 8, 16), 4.0).shape
        (4, 2, 2)
    """
    low, high = np.asarray(low_mm, float), np.asarray(high_mm, float)
    counts = np.maximum(1, np.ceil((high - low) / spacing_mm - 1e-6)).astype(int)
    start = (low + high) / 2 - (counts - 1) * spacing_mm / 2
    x, y, z = start.tolist()
    nx, ny, nz = counts.tolist()
    return Volume(np.zeros((nz, ny, nx), np.float32), (spacing_mm,) * 3, (x, y, z), AXIAL)


def averaged(volume: Volume, grid: Volume, outside: float) -> Array:
    """Mean of a volume over each voxel of a grid.

    Args:
        volume: Axial.
        grid: Axial.
        outside: The value beyond the volume.

    Returns:
        (D, H, W) of the grid.

    Examples:
        >>> fine = Volume(np.arange(8.0).reshape(8, 1, 1), (1.0, 1.0, 1.0))
        >>> averaged(fine, Volume(np.zeros((4, 1, 1)), (2.0, 1.0, 1.0), (0.0, 0.0, 0.5)), 0.0).ravel().tolist()
        [0.5, 2.5, 4.5, 6.5]
    """
    weights = [_overlap(volume, grid, axis) for axis in range(3)]
    array = volume.array.astype(np.float32) - np.float32(outside)
    for axis in np.argsort([n / m for n, m in zip(grid.shape, volume.shape, strict=True)]).tolist():
        array = _along(array, weights[axis], axis)
    return np.asarray(array + np.float32(outside), dtype=np.float32)


def coverage(volume: Volume, grid: Volume) -> Mask:
    """(D, H, W) of the grid: voxels that lie in the volume by at least half."""
    shares = [np.asarray(_overlap(volume, grid, axis).sum(axis=1)).ravel() for axis in range(3)]
    return np.asarray(np.einsum("i,j,k->ijk", *shares) >= 0.5)


def _overlap(volume: Volume, grid: Volume, axis: int) -> sparse.csr_matrix:
    """(grid's, volume's): share of each grid voxel that each of the volume's voxels covers, along an axis."""
    along = volume.direction[:, axis]
    first = float((np.asarray(volume.origin_mm) - np.asarray(grid.origin_mm)) @ along)
    own, wide = volume.spacing_mm[axis], grid.spacing_mm[axis]
    edges = first + (np.arange(volume.shape[axis] + 1) - 0.5) * own
    rows, columns, shares = [], [], []
    for index in range(grid.shape[axis]):
        low, high = (index - 0.5) * wide, (index + 0.5) * wide
        part = np.minimum(edges[1:], high) - np.maximum(edges[:-1], low)
        inside = np.flatnonzero(part > 0)
        rows += [index] * inside.size
        columns += inside.tolist()
        shares += (part[inside] / wide).tolist()
    return sparse.csr_matrix((shares, (rows, columns)), shape=(grid.shape[axis], volume.shape[axis]))


def _along(array: Array, weights: sparse.csr_matrix, axis: int) -> Array:
    moved = np.moveaxis(array, axis, 0)
    flat = weights.astype(np.float32) @ moved.reshape(moved.shape[0], -1)
    return np.ascontiguousarray(np.moveaxis(flat.reshape(-1, *moved.shape[1:]), 0, axis))
