"""Tiles for the exact single pass: each voxel predicted once, as if the whole volume went through at once.

In evaluation mode a voxel depends on nothing farther away than the network's halo. A tile is predicted with that
halo around it, cut off only at the volume's own edge, where the whole volume would be padded as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

from creps.patches import PatchLocation, Triple, triple

__all__ = ["Tile", "even", "exact_tiles"]

SMALLEST_TILE = 16
"""Voxels along an axis below which a tile is not cut further."""


@dataclass(frozen=True)
class Tile:
    """A part of a volume.

    Attributes:
        core: What the tile is for.
        view: What the network sees for it: the core and its halo.
    """

    core: PatchLocation
    view: PatchLocation

    @property
    def of_view(self) -> tuple[slice, slice, slice]:
        """The core, as slices of the view's prediction."""
        return self.core.moved([-n for n in self.view.index]).slices


def even(shape: Triple) -> Triple:
    """The volume padded to even sizes, so that half resolution falls on the same voxels in every tile."""
    return triple(n + n % 2 for n in shape)


def exact_tiles(shape: Triple, extent: PatchLocation, halo: int, most_voxels: float) -> tuple[Tile, ...]:
    """The tiles over a part of a volume with the fewest voxels to predict.

    Args:
        shape: The volume (D, H, W); tiles may reach a voxel beyond it, where it is `even`.
        extent: The part that is wanted, within the volume.
        halo: How far a voxel of the network sees.
        most_voxels: Of a view. If halo and smallest tile are more, tiles are as small as they get.

    Returns:
        Tiles, depth slowest, whose cores cover the extent once.
    """
    axes = [
        _cuts(length, first, size, halo + halo % 2)
        for length, first, size in zip(even(shape), extent.index, extent.size, strict=True)
    ]
    choices = [
        (math.prod(max(view for _, view in cut) for cut in choice), math.prod(sum(v for _, v in cut) for cut in choice))
        for choice in product(*([[(core[1], view[1]) for core, view in cut] for cut in axis] for axis in axes))
    ]
    chosen = list(product(*axes))
    best = min(range(len(choices)), key=lambda i: (max(choices[i][0], most_voxels), choices[i][1]))
    return tuple(
        Tile(
            *(PatchLocation(triple(p[0] for p in part), triple(p[1] for p in part)) for part in zip(*tile, strict=True))
        )
        for tile in product(*chosen[best])
    )


_Span = tuple[int, int]


def _cuts(length: int, first: int, size: int, halo: int) -> list[list[tuple[_Span, _Span]]]:
    """Every way to cut one axis into equal tiles: for each tile (first, size) of its core and of its view."""
    start, end = first - first % 2, first + size + (first + size) % 2
    ways = []
    for count in range(1, max(1, (end - start) // SMALLEST_TILE) + 1):
        step = 2 * math.ceil((end - start) / (2 * count))
        way = []
        for begin in range(start, end, step):
            stop = min(begin + step, end)
            seen = max(0, begin - halo), min(length, stop + halo)
            way.append(((begin, stop - begin), (seen[0], seen[1] - seen[0])))
        ways.append(way)
    return ways
