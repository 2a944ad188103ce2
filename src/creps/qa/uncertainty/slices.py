"""Mean expected error of each slice of an sCT, whatever the grids of sCT and model."""

from __future__ import annotations

import numpy as np

from creps.volume import Array, Mask, Volume

__all__ = ["errors_by_slice"]


def errors_by_slice(error_hu: Array, body: Mask, grid: Volume, target: Volume) -> list[float | None]:
    """The mean of an error over the body in each slice of another grid.

    Every voxel of the body counts for the slice of `target` that is nearest to its centre. A slice between others, as
    on a finer grid, takes the line between its neighbours.

    Args:
        error_hu: (D, H, W) of `grid`.
        body: (D, H, W) of `grid`.
        grid: Where both lie; its array is not read.
        target: Its slices count, along D; its array is not read.

    Returns:
        One value in HU for each slice of `target`; None before the body's first slice and after its last.

    Examples:
        >>> grid = Volume(np.zeros((3, 1, 1)), (2.0, 1.0, 1.0))
        >>> body = np.array([True, True, False]).reshape(3, 1, 1)
        >>> fine = Volume(np.zeros((5, 1, 1)), (1.0, 1.0, 1.0))
        >>> errors_by_slice(np.float32([10, 30, 99]).reshape(3, 1, 1), body, grid, fine)
        [10.0, 20.0, 30.0, None, None]
    """
    count = target.shape[0]
    voxels = np.nonzero(body)
    along = target.direction[:, 0] / target.spacing_mm[0]
    step = along @ (grid.direction * np.asarray(grid.spacing_mm))
    first = float(along @ (np.asarray(grid.origin_mm) - np.asarray(target.origin_mm)))
    place = first + sum(np.float32(part) * axis.astype(np.float32) for part, axis in zip(step, voxels, strict=True))
    slices = np.floor(np.asarray(place) + 0.5 - 1e-4).astype(np.int64)
    seen = (slices >= 0) & (slices < count)
    numbers = np.bincount(slices[seen], minlength=count)
    sums = np.bincount(slices[seen], error_hu[voxels][seen], minlength=count)
    filled = np.flatnonzero(numbers)
    if not len(filled):
        return [None] * count
    means = np.interp(np.arange(count), filled, sums[filled] / numbers[filled])
    inside = (np.arange(count) >= filled[0]) & (np.arange(count) <= filled[-1])
    return [round(float(mean), 1) if shown else None for mean, shown in zip(means, inside, strict=True)]
