"""Where patches lie: pure index arithmetic, the same for training and for inference.

The half-stride grid and its coverage follow Hémon et al. 2023, section 2.2, Training and Inference:
patches overlap by half, every voxel of the original volume is seen at least twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TypeVar

import numpy as np
import numpy.typing as npt

__all__ = [
    "CoveringGrid",
    "PatchLocation",
    "Triple",
    "centred_location",
    "covering_grid",
    "half_overlap",
    "read_patch",
    "triple",
]

Triple = tuple[int, int, int]
Value = TypeVar("Value", bound=np.generic)


@dataclass(frozen=True)
class PatchLocation:
    """A box of voxels: where it starts and how large it is. It may reach beyond its volume.

    Attributes:
        index: First voxel (D, H, W).
        size: Voxels along (D, H, W).
    """

    index: Triple
    size: Triple

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The box as slices; valid only inside the volume."""
        d, h, w = (slice(i, i + n) for i, n in zip(self.index, self.size, strict=True))
        return d, h, w

    def moved(self, by: Sequence[int]) -> PatchLocation:
        """The box moved by a number of voxels (D, H, W)."""
        return PatchLocation(triple(i + n for i, n in zip(self.index, by, strict=True)), self.size)

    def inside(self, shape: Triple) -> tuple[slice, slice, slice]:
        """The part of the box that lies in a volume of that shape, as slices; empty if none does."""
        d, h, w = (
            slice(max(i, 0), max(0, i, min(i + n, length)))
            for i, n, length in zip(self.index, self.size, shape, strict=True)
        )
        return d, h, w


@dataclass(frozen=True)
class CoveringGrid:
    """Overlapping patches over a zero-padded volume.

    Attributes:
        shape: The original volume (D, H, W).
        patch_size: One patch (D, H, W).
        stride: From one patch to the next.
        counts: Patches along each axis.
        pad_before: Zeros in front of the original volume.
        left_out: First voxels of patches of the grid that are not predicted.
    """

    shape: Triple
    patch_size: Triple
    stride: Triple
    counts: Triple
    pad_before: Triple
    left_out: frozenset[Triple] = frozenset()

    @property
    def padded_shape(self) -> Triple:
        """Shape of the padded volume, covered exactly by the patches."""
        return triple(p + (c - 1) * s for p, c, s in zip(self.patch_size, self.counts, self.stride, strict=True))

    @property
    def original(self) -> PatchLocation:
        """Where the original volume lies in the padded one."""
        return PatchLocation(self.pad_before, self.shape)

    @cached_property
    def locations(self) -> tuple[PatchLocation, ...]:
        """Every patch that is predicted, in the padded volume; depth slowest."""
        d, h, w = (range(0, c * s, s) for c, s in zip(self.counts, self.stride, strict=True))
        return tuple(PatchLocation(index, self.patch_size) for index in product(d, h, w) if index not in self.left_out)

    def in_volume(self, location: PatchLocation) -> PatchLocation:
        """A patch of the padded volume in voxels of the original volume: it may reach beyond that."""
        return location.moved([-n for n in self.pad_before])

    @property
    def locations_in_volume(self) -> tuple[PatchLocation, ...]:
        """`locations` in voxels of the original volume."""
        return tuple(map(self.in_volume, self.locations))

    @cached_property
    def coverage_map(self) -> npt.NDArray[np.int32]:
        """(D, H, W) of the original volume: the number of patches over each voxel."""
        along = []
        for axis, part in enumerate(self.original.slices):
            count = np.zeros(self.padded_shape[axis], dtype=np.int32)
            for i in range(self.counts[axis]):
                count[i * self.stride[axis] :][: self.patch_size[axis]] += 1
            along.append(count[part])
        covered = along[0][:, None, None] * along[1][:, None] * along[2]
        for index in self.left_out:
            covered[self.in_volume(PatchLocation(index, self.patch_size)).inside(self.shape)] -= 1
        return covered


def half_overlap(patch_size: Triple) -> Triple:
    """The paper's overlap in voxels: half a patch, rounded up."""
    return triple(p - max(1, p // 2) for p in patch_size)


def covering_grid(
    shape: Triple,
    patch_size: Triple,
    patch_overlap: Triple | None = None,
    min_coverage: int = 2,
    first: Triple | None = None,
) -> CoveringGrid:
    """The smallest grid of patches that sees every voxel of a volume at least `min_coverage` times.

    Padding is centred; on a lattice, patches start at multiples of the stride, wherever the volume ends. Along one axis
    patches cover the first and last part of the padded volume less often than its middle; where the coverage asks for
    it, the grid grows by whole strides along the axes where that costs the fewest patches, on a lattice along D first.

    Args:
        shape: Volume (D, H, W).
        patch_size: Patch (D, H, W).
        patch_overlap: Overlap of neighbours (D, H, W) in voxels; default: half a patch.
        min_coverage: Fewest predictions for any voxel of the volume.
        first: Index of the volume's first voxel (D, H, W) on a lattice; None: there is none.

    Raises:
        ValueError: the overlap does not fit the patch, or is too small for `min_coverage`.
    """
    overlap = half_overlap(patch_size) if patch_overlap is None else patch_overlap
    if any(not 0 <= o < p for o, p in zip(overlap, patch_size, strict=True)):
        raise ValueError(f"patch overlap {overlap} must lie in [0, patch size {patch_size})")
    axes = list(zip(shape, patch_size, overlap, strict=True))
    if first is None:
        options = [_axis_options(*axis) for axis in axes]
    else:
        options = [_options_on_lattice(*axis, start) for axis, start in zip(axes, first, strict=True)]
    candidates = [
        (math.prod(option.count for option in choice), choice)
        for choice in product(*options)
        if math.prod(option.covered for option in choice) >= min_coverage
    ]
    if not candidates:
        raise ValueError(
            f"patches of {patch_size} with an overlap of {overlap} cannot cover every voxel {min_coverage} times"
        )
    if first is None:
        _, best = min(candidates, key=lambda candidate: candidate[0])
    else:  # not by the number of patches: a slice more could make another axis the cheapest
        _, best = min(candidates, key=lambda candidate: [option.count for option in reversed(candidate[1])])
    stride = triple(p - o for p, o in zip(patch_size, overlap, strict=True))
    counts, before = triple(option.count for option in best), triple(option.before for option in best)
    return CoveringGrid(shape, patch_size, stride, counts, before)


def read_patch(
    array: npt.NDArray[Value], location: PatchLocation, fill: float | None, out: npt.NDArray[Value] | None = None
) -> npt.NDArray[Value]:
    """Copy a patch out of a (D, H, W) array or mask; `fill` where it reaches beyond the array's edge.

    Args:
        array: (D, H, W).
        location: The patch.
        fill: Value beyond the edge; None: the outermost value is repeated.
        out: Where to, of the patch's size; default: a new array.
    """
    inside = location.inside(triple(array.shape))
    target = tuple(
        slice(part.start - index, part.stop - index) for part, index in zip(inside, location.index, strict=True)
    )
    values = array[inside]
    patch = np.empty(location.size, dtype=array.dtype) if out is None else out
    if fill is None and values.shape != location.size:
        d, h, w = (
            np.clip(np.arange(index, index + n), 0, length - 1)
            for index, n, length in zip(location.index, location.size, array.shape, strict=True)
        )
        patch[...] = array[np.ix_(d, h, w)]
        return patch
    if values.shape != location.size and fill is not None:
        patch[...] = fill
    patch[target] = values
    return patch


def centred_location(centre: Sequence[float], shape: Triple, size: Triple) -> PatchLocation:
    """The patch around a point, moved inside the volume; centred along axes shorter than the patch."""
    index = []
    for c, n, p in zip(centre, shape, size, strict=True):
        start = round(c - p / 2)
        index.append(min(max(start, 0), n - p) if n >= p else (n - p) // 2)
    return PatchLocation(triple(index), size)


@dataclass(frozen=True)
class _Option:
    """Patches along one axis: how many, least coverage of the original, padding in front of it."""

    count: int
    covered: int
    before: int


def _axis_options(length: int, size: int, overlap: int) -> list[_Option]:
    """The smallest centred grid for each coverage."""
    stride = size - overlap
    options: list[_Option] = []
    count = max(1, -(-(length - size) // stride) + 1)
    most = -(-size // stride)
    while not options or options[-1].covered < most:
        total = size + (count - 1) * stride
        before = (total - length) // 2
        covered = _least_coverage(length, size, stride, count, before)
        if not options or covered > options[-1].covered:
            options.append(_Option(count, covered, before))
        if total > length + 2 * (size + stride):
            break
        count += 1
    return options


def _options_on_lattice(length: int, size: int, overlap: int, first: int) -> list[_Option]:
    """The smallest grid for each coverage whose patches start at multiples of the stride."""
    stride, options = size - overlap, list[_Option]()
    enough = max(1, -(-(length + first % stride - size) // stride) + 1)
    for more in range(-(-size // stride)):
        count, before = enough + 2 * more, first % stride + more * stride
        covered = _least_coverage(length, size, stride, count, before)
        if not options or covered > options[-1].covered:
            options.append(_Option(count, covered, before))
    return options


def _least_coverage(length: int, size: int, stride: int, count: int, before: int) -> int:
    starts = np.arange(count) * stride
    positions = np.arange(before, before + length)[:, None]
    return int(((starts <= positions) & (positions < starts + size)).sum(axis=1).min())


def triple(values: Iterable[int]) -> Triple:
    """Three whole numbers (D, H, W)."""
    a, b, c = (int(v) for v in values)
    return a, b, c
