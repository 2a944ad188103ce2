"""Fuse overlapping predictions with bounded memory (Hémon et al. 2023, section 2.2, Inference).

Patches of a regular grid fall into a few *slots* (every second patch along an axis, for half overlap):
patches of one slot never overlap, so a slot holds one prediction per voxel. Slots are kept for one
patch depth only, as a ring of slices; a slice that no later patch can reach is fused while it is in the
processor's cache, and its place in the ring becomes free.

On request each voxel gets its *spread* beside its value: half the range of its predictions. It is 0 where a
voxel has only one prediction, which then says nothing about its certainty.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from creps.patches import CoveringGrid, PatchLocation
from creps.settings.choices import Fusion
from creps.volume import Array

__all__ = ["NO_PREDICTION", "Slab", "fuse", "fused_slabs", "half_range", "slab_bytes"]

NO_PREDICTION = np.float32(np.inf)
"""Value of a slot where no patch has been: it sorts last."""


class Slab(NamedTuple):
    """Consecutive fused slices of a volume.

    Attributes:
        first: The first slice.
        values: (d, H, W) fused; NaN where nothing was predicted.
        spread: (d, H, W) half the range of the predictions, NaN where there is none; None unless asked for.
    """

    first: int
    values: Array
    spread: Array | None


def fused_slabs(
    grid: CoveringGrid,
    predictions: Iterable[tuple[PatchLocation, Array]],
    fusion: Fusion,
    *,
    spread: bool = False,
) -> Iterator[Slab]:
    """Fuse predictions as they come.

    Args:
        grid: The patches' grid.
        predictions: Every location of `grid` in order, with its prediction (D, H, W).
        fusion: How a voxel's predictions become one, see `fuse`.
        spread: Also compute the spread.

    Yields:
        Consecutive slabs that make up the original volume; NaN where only patches that the grid leaves out would
        have been.

    Raises:
        ValueError: a prediction is missing, out of order, or leaves a voxel uncovered although no patch is left out.
    """
    slots = _slots(grid)
    ring = np.full((grid.patch_size[0], int(np.prod(slots)), *grid.shape[1:]), NO_PREDICTION, dtype=np.float32)
    weights = _gaussian_weights(grid, slots) if fusion == "gaussian" else None
    expected, fused = iter(grid.locations), 0
    for location, prediction in predictions:
        if location != next(expected, None):
            raise ValueError(f"prediction at {location.index} is out of order")
        complete = min(location.index[0] - grid.pad_before[0], grid.shape[0])  # no later patch reaches these slices
        if complete > fused:
            yield _flushed(ring, grid, range(fused, complete), fusion, weights, spread=spread)
            fused = complete
        _store(ring, grid, slots, location, prediction)
    if (missing := sum(1 for _ in expected)) > 0:
        raise ValueError(f"{missing} predictions are missing")
    yield _flushed(ring, grid, range(fused, grid.shape[0]), fusion, weights, spread=spread)


def fuse(values: Array, fusion: Fusion, weights: Array | None = None, *, partial: bool = False) -> Array:
    """Fuse the predictions of each voxel along the first axis; `NO_PREDICTION` marks a missing one.

    The *upper* median is the paper's: it appends 3000 to a series of even length, which takes the higher of the two
    middle values.

    Args:
        values: (predictions, ...); reordered in place.
        fusion: Upper median, median, mean, or mean weighted by `weights`.
        weights: The same shape, for ``gaussian``.
        partial: Give NaN where there is no prediction, instead of raising.

    Returns:
        The fused array (...) in float32.

    Raises:
        ValueError: a voxel without any prediction: a silent 0 would be water.
    """
    present = values < NO_PREDICTION
    count = present.sum(axis=0, dtype=np.int16)
    fewest = int(count.min(initial=len(values)))
    if fewest == 0 and not partial:
        raise ValueError(f"{int((count == 0).sum())} voxels have no prediction")
    if fusion in ("mean", "gaussian"):
        fused = _mean(values, present, weights)
    else:
        fused = _median(values, count, upper=fusion == "upper_median")
    if fewest == 0:
        fused[count == 0] = np.nan
    return fused


def half_range(values: Array) -> Array:
    """Half the range of each voxel's predictions along the first axis: 0 for one prediction, NaN for none.

    Args:
        values: (predictions, ...); `NO_PREDICTION` marks a missing one.

    Returns:
        (...) in float32.
    """
    lowest = values.min(axis=0)
    highest = np.where(values < NO_PREDICTION, values, -NO_PREDICTION).max(axis=0)
    return np.where(lowest < NO_PREDICTION, (highest - lowest) / 2, np.float32(np.nan))


def slab_bytes(grid: CoveringGrid) -> int:
    """Memory in bytes of the slots of `fused_slabs`."""
    return 4 * int(np.prod(_slots(grid))) * grid.patch_size[0] * grid.shape[1] * grid.shape[2]


def _slots(grid: CoveringGrid) -> tuple[int, int, int]:
    d, h, w = (-(-p // s) for p, s in zip(grid.patch_size, grid.stride, strict=True))
    return d, h, w


def _store(
    ring: npt.NDArray[np.float32],
    grid: CoveringGrid,
    slots: tuple[int, int, int],
    location: PatchLocation,
    prediction: Array,
) -> None:
    """Put the part of a prediction that lies in the original volume into its slot."""
    d, h, w = ((i // s) % n for i, s, n in zip(location.index, grid.stride, slots, strict=True))
    slot = (d * slots[1] + h) * slots[2] + w
    place = grid.in_volume(location)
    depth, rows, columns = place.inside(grid.shape)
    part = prediction[
        tuple(slice(s.start - i, s.stop - i) for s, i in zip((depth, rows, columns), place.index, strict=True))
    ]
    for z, plane in zip(range(depth.start, depth.stop), part, strict=True):
        ring[z % len(ring), slot, rows, columns] = plane


def _flushed(
    ring: npt.NDArray[np.float32],
    grid: CoveringGrid,
    slices: range,
    fusion: Fusion,
    weights: _Weights | None,
    *,
    spread: bool,
) -> Slab:
    """The fused slices; their places in the ring are emptied."""
    fused = np.empty((len(slices), *grid.shape[1:]), dtype=np.float32)
    ranges = np.empty_like(fused) if spread else None
    for place, z in enumerate(slices):
        held = ring[z % len(ring)]
        if ranges is not None:
            ranges[place] = half_range(held)
        of_slice = None if weights is None else _weights_at(grid, z, *weights)
        fused[place] = fuse(held, fusion, of_slice, partial=bool(grid.left_out))
        held[...] = NO_PREDICTION
    return Slab(slices.start, fused, ranges)


def _mean(values: Array, present: npt.NDArray[np.bool_], weights: Array | None) -> Array:
    weight = present.astype(np.float32) if weights is None else np.where(present, weights, np.float32(0))
    total = (np.where(present, values, np.float32(0)) * weight).sum(axis=0)
    divisor = weight.sum(axis=0)
    return np.divide(total, divisor, out=np.zeros_like(total), where=divisor > 0)


def _median(values: Array, count: npt.NDArray[np.int16], *, upper: bool) -> Array:
    """The median by a sorting network over whole planes, several times faster than sorting voxel by voxel."""
    planes, spare = list(values), np.empty_like(values[0])
    for i, j in _sorting_network(len(planes)):
        low, high = planes[i], planes[j]
        np.minimum(low, high, out=spare)
        np.maximum(low, high, out=high)
        planes[i], spare = spare, low
    fused = np.empty_like(values[0])
    for n in np.flatnonzero(np.bincount(count.ravel())).tolist():
        of_n = planes[n // 2] if upper or n % 2 else (planes[n // 2 - 1] + planes[n // 2]) / 2
        if n:
            np.copyto(fused, of_n, where=count == n)
    return fused


@lru_cache(maxsize=8)
def _sorting_network(n: int) -> tuple[tuple[int, int], ...]:
    """Pairs to compare and exchange, in order: Batcher's merge exchange (Knuth, TAOCP 3, 5.2.2, algorithm M)."""
    pairs, top = [], 1 << max(0, (n - 1).bit_length() - 1)
    p = top
    while p > 0 and n > 1:
        q, r, d = top, 0, p
        while True:
            pairs += [(i, i + d) for i in range(n - d) if i & p == r]
            if q == p:
                break
            d, q, r = q - p, q // 2, p
        p //= 2
    return tuple(pairs)


_Weights = tuple[Array, Array]


def _gaussian_weights(grid: CoveringGrid, slots: tuple[int, int, int]) -> _Weights:
    """Gaussian weights of the slots: along the padded depth (slots, padded D), and in the plane (slots, H, W)."""
    along = [np.stack([_slot_weights(grid, a, slot, slots[a]) for slot in range(slots[a])]) for a in range(3)]
    _, rows, columns = grid.original.slices
    plane = along[1][:, None, rows, None] * along[2][None, :, None, columns]
    return along[0], plane.reshape(-1, *plane.shape[2:])


def _weights_at(grid: CoveringGrid, z: int, along_depth: Array, plane: Array) -> Array:
    """(slots, H, W) at slice z of the original volume."""
    depth = along_depth[:, z + grid.pad_before[0]]
    return (depth[:, None, None, None] * plane).reshape(-1, *plane.shape[1:])


def _slot_weights(grid: CoveringGrid, axis: int, slot: int, slots: int) -> Array:
    """Weight along one axis of the patches that belong to a slot; 0 where none lies."""
    along = np.zeros(grid.padded_shape[axis], dtype=np.float32)
    size, stride = grid.patch_size[axis], grid.stride[axis]
    for place in range(slot, grid.counts[axis], slots):
        along[place * stride : place * stride + size] = _gaussian(size)
    return along


def _gaussian(size: int) -> Array:
    """A Gaussian over a patch axis, standard deviation an eighth of it (as nnU-Net and MONAI use)."""
    x = (np.arange(size) - (size - 1) / 2) / (size / 8)
    return np.maximum(np.exp(-0.5 * x**2), 1e-4).astype(np.float32)
