"""Fuse overlapping predictions with bounded memory (Hémon et al. 2023, section 2.2, Inference).

Patches of a regular grid fall into a few *slots* (every second patch along an axis, for half overlap):
patches of one slot never overlap, so a slot holds one prediction per voxel. Slots are kept for one
patch depth only; as soon as no later patch can reach a slab of slices, it is fused and handed on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from creps.data.patches import CoveringGrid, PatchLocation
from creps.settings.choices import Fusion
from creps.volume import Array

__all__ = ["fuse", "fused_slabs", "slab_bytes"]


def fused_slabs(
    grid: CoveringGrid, predictions: Iterable[tuple[PatchLocation, Array]], fusion: Fusion
) -> Iterator[tuple[int, Array]]:
    """Fuse predictions as they come.

    Args:
        grid: The patches' grid.
        predictions: Every location of `grid` in order, with its prediction (D, H, W).
        fusion: How a voxel's predictions become one, see `fuse`.

    Yields:
        (first slice, slab): consecutive slabs (d, H, W) that make up the padded volume.

    Raises:
        ValueError: a prediction is missing, out of order, or leaves a voxel uncovered.
    """
    depth, stride = grid.patch_size[0], grid.stride[0]
    slots = tuple(-(-p // s) for p, s in zip(grid.patch_size, grid.stride, strict=True))
    # [slot along D, slot along H, slot along W, slice within the patch, H, W]; NaN: no prediction
    stack = np.full((*slots, depth, *grid.padded_shape[1:]), np.nan, dtype=np.float32)
    expected = iter(grid.locations)
    remaining = len(grid.locations)
    per_row = grid.counts[1] * grid.counts[2]
    for location, prediction in predictions:
        if location != next(expected, None):
            raise ValueError(f"prediction at {location.index} is out of order")
        place = tuple(i // s for i, s in zip(location.index, grid.stride, strict=True))
        d, h, w = (p % n for p, n in zip(place, slots, strict=True))
        if place[1] == place[2] == 0:
            stack[d] = np.nan
        stack[d, h, w, :, location.slices[1], location.slices[2]] = prediction
        remaining -= 1
        if remaining % per_row == 0:
            last = place[0] == grid.counts[0] - 1
            yield location.index[0], _fused_row(stack, grid, place[0], depth if last else stride, fusion)
    if remaining:
        raise ValueError(f"{remaining} predictions are missing")


def fuse(values: Array, fusion: Fusion, weights: Array | None = None) -> Array:
    """Fuse the predictions of each voxel along the first axis; NaN marks "no prediction".

    The *upper* median is the paper's: a series of even length gets 3000 appended, so that of the two
    middle values the higher one is taken.

    Args:
        values: (predictions, ...).
        fusion: Upper median, median, mean, or mean weighted by `weights`.
        weights: The same shape, for ``gaussian``.

    Returns:
        The fused array (...).

    Raises:
        ValueError: a voxel without any prediction: a silent 0 would be water.
    """
    present = ~np.isnan(values)
    count = present.sum(axis=0)
    if not count.all():
        raise ValueError(f"{int((count == 0).sum())} voxels have no prediction")
    if fusion in ("mean", "gaussian"):
        weight = present.astype(np.float32) if weights is None else np.where(present, weights, 0).astype(np.float32)
        total: Array = (np.where(present, values, 0) * weight).sum(axis=0) / weight.sum(axis=0)
        return total.astype(np.float32)
    ordered = np.sort(values, axis=0)  # NaN sorts last
    upper = np.take_along_axis(ordered, (count // 2)[None], axis=0)[0]
    if fusion == "upper_median":
        return np.asarray(upper)
    lower = np.take_along_axis(ordered, ((count - 1) // 2)[None], axis=0)[0]
    return np.asarray((lower + upper) / 2, dtype=np.float32)


def slab_bytes(grid: CoveringGrid) -> int:
    """Memory in bytes that the slots of `fused_slabs` take."""
    slots = int(np.prod([-(-p // s) for p, s in zip(grid.patch_size, grid.stride, strict=True)]))
    return 4 * slots * grid.patch_size[0] * grid.padded_shape[1] * grid.padded_shape[2]


def _fused_row(stack: npt.NDArray[np.float32], grid: CoveringGrid, row: int, thickness: int, fusion: Fusion) -> Array:
    """Fuse the first `thickness` slices of patch row `row`: all predictions that reach them are in."""
    slots, stride = stack.shape[0], grid.stride[0]
    values, weights = [], []
    for earlier in range(min(slots, row + 1)):  # rows `row`, `row - 1`, … still overlap these slices
        first = earlier * stride
        length = min(thickness, grid.patch_size[0] - first)
        if length <= 0:
            continue
        part = np.full((*stack.shape[1:3], thickness, *stack.shape[4:]), np.nan, dtype=np.float32)
        part[:, :, :length] = stack[(row - earlier) % slots, :, :, first : first + length]
        values.append(part.reshape(-1, *part.shape[2:]))
        if fusion == "gaussian":
            weights.append(_row_weights(grid, first, thickness, stack.shape[1:3]))
    return fuse(np.concatenate(values), fusion, np.concatenate(weights) if weights else None)


def _row_weights(grid: CoveringGrid, first: int, thickness: int, slots: tuple[int, ...]) -> Array:
    """Gaussian weight of each slot's prediction at each voxel: (slots, thickness, H, W)."""
    along_d = np.zeros(thickness, dtype=np.float32)
    part = _bell(grid.patch_size[0])[first : first + thickness]
    along_d[: len(part)] = part
    planes = []
    for h in range(slots[0]):
        for w in range(slots[1]):
            rows = _slot_weights(grid, 1, h, slots[0])
            columns = _slot_weights(grid, 2, w, slots[1])
            planes.append(along_d[:, None, None] * rows[:, None] * columns)
    return np.stack(planes)


def _slot_weights(grid: CoveringGrid, axis: int, slot: int, slots: int) -> Array:
    """Weight along one axis of the patches that belong to a slot; 0 where none lies."""
    along = np.zeros(grid.padded_shape[axis], dtype=np.float32)
    size, stride = grid.patch_size[axis], grid.stride[axis]
    for place in range(slot, grid.counts[axis], slots):
        along[place * stride : place * stride + size] = _bell(size)
    return along


def _bell(size: int) -> Array:
    """A Gaussian over a patch axis, standard deviation an eighth of it (as nnU-Net and MONAI use)."""
    x = (np.arange(size) - (size - 1) / 2) / (size / 8)
    return np.maximum(np.exp(-0.5 * x**2), 1e-4).astype(np.float32)
