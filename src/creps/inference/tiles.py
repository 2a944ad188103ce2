"""Tiles for the exact single pass: each voxel predicted once, as if all that is predicted went through at once.

In evaluation mode a voxel depends on nothing farther away than the network's halo (with the U-Net: on nothing that
matters). A tile is predicted with that
halo around it, cut off only `RIM` voxels beyond the predicted part, wherever the volume ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

from creps.patches import PatchLocation, Triple, triple

__all__ = ["RIM", "Tile", "exact_tiles"]

RIM = 8
"""The network sees this many voxels around the predicted part, or the next multiple of its stride, zeros beyond the
volume's edge. If views ended at the volume's edge, the sCT would depend on how much air was imaged."""

SMALLEST_TILE = 16
"""Voxels along an axis; tiles are not cut smaller."""


@dataclass(frozen=True)
class Tile:
    """A part of a volume.

    Attributes:
        core: The voxels whose prediction is kept.
        view: The voxels that the network sees: the core and its halo.
    """

    core: PatchLocation
    view: PatchLocation


@dataclass(frozen=True)
class _Cuts:
    """One way to cut an axis into tiles.

    Attributes:
        cores: (first voxel, voxels) of each tile's core.
        views: The same of its view.
    """

    cores: tuple[tuple[int, int], ...]
    views: tuple[tuple[int, int], ...]

    @property
    def longest(self) -> int:
        """Voxels of the longest view."""
        return max(size for _, size in self.views)

    @property
    def total(self) -> int:
        """Voxels of all views together."""
        return sum(size for _, size in self.views)


def exact_tiles(
    extent: PatchLocation, halo: int, most_voxels: float, first: Triple = (0, 0, 0), *, stride: int = 2
) -> tuple[Tile, ...]:
    """The tiles over a part of a volume that predict the fewest voxels.

    Args:
        extent: The part to predict; tiles may reach less than a stride beyond it.
        halo: How far a voxel of the network sees.
        most_voxels: Largest view. If no tiling keeps to it, the one with the smallest views is taken.
        first: Index of the volume's first voxel on a lattice; tiles begin at its multiples of the stride.
        stride: The network's.

    Returns:
        Tiles, depth slowest, whose cores cover the extent once.
    """
    axes = zip(extent.index, extent.size, first, strict=True)
    tilings = product(*(_ways_to_cut(*axis, halo + -halo % stride, stride) for axis in axes))

    def cost(tiling: tuple[_Cuts, ...]) -> tuple[float, int]:
        largest = math.prod(cuts.longest for cuts in tiling)
        return max(largest, most_voxels), math.prod(cuts.total for cuts in tiling)

    best = min(tilings, key=cost)
    cores, views = product(*(cuts.cores for cuts in best)), product(*(cuts.views for cuts in best))
    return tuple(Tile(_box(core), _box(view)) for core, view in zip(cores, views, strict=True))


def _ways_to_cut(first: int, size: int, place: int, halo: int, stride: int) -> list[_Cuts]:
    """Every way to cut one axis into equal tiles that begin and end on multiples of the stride.

    Args:
        first: First voxel to predict.
        size: Voxels to predict.
        place: The volume's first voxel on the lattice.
        halo: A multiple of the stride.
        stride: Of the lattice.
    """
    start, end = first - (first + place) % stride, first + size + -(first + size + place) % stride
    rim, ways = RIM + -RIM % stride, []
    for count in range(1, max(1, (end - start) // max(SMALLEST_TILE, stride)) + 1):
        step = stride * math.ceil((end - start) / (stride * count))
        spans = [(begin, min(begin + step, end)) for begin in range(start, end, step)]
        seen = [(max(start - rim, begin - halo), min(end + rim, stop + halo)) for begin, stop in spans]
        ways.append(_Cuts(*(tuple((begin, stop - begin) for begin, stop in part) for part in (spans, seen))))
    return ways


def _box(spans: tuple[tuple[int, int], ...]) -> PatchLocation:
    """From (first voxel, voxels) along D, H, W."""
    return PatchLocation(triple(first for first, _ in spans), triple(size for _, size in spans))
