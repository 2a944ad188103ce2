"""Which patches of a grid need not be predicted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from creps.patches import CoveringGrid, PatchLocation, Triple, covering_grid
from creps.volume import Mask

__all__ = ["without_idle_patches"]


def without_idle_patches(grid: CoveringGrid, body: Mask | None, min_coverage: int) -> CoveringGrid:
    """The grid without patches that hold nothing of the body, and without those of its rim that bring nothing.

    For the sake of the volume's corners a grid with a least coverage above 1 is larger than one that sees every
    voxel once (by a row at either end of an axis). Of these outer rows only the patches stay without which a voxel
    would be covered too rarely.

    Args:
        grid: Of `covering_grid`, with nothing left out.
        body: (D, H, W) of the grid's original volume: what has to be covered; None: all of it.
        min_coverage: Fewest patches over each of these voxels.
    """
    wanted = np.ones(grid.shape, dtype=bool) if body is None else body
    held = {place.index: int(np.count_nonzero(wanted[_inside(grid, place)])) for place in grid.locations}
    left_out = {index for index, count in held.items() if count == 0}
    grid = replace(grid, left_out=frozenset(left_out))
    rim = [place for place in grid.locations if _on_rim(grid, place)]
    covered = grid.coverage_map.copy()
    for place in sorted(rim, key=lambda place: held[place.index]):
        box = _inside(grid, place)
        if (covered[box] > min_coverage)[wanted[box]].all():
            covered[box] -= 1
            left_out.add(place.index)
    return replace(grid, left_out=frozenset(left_out))


def _inside(grid: CoveringGrid, place: PatchLocation) -> tuple[slice, slice, slice]:
    return place.moved([-n for n in grid.pad_before]).inside(grid.shape)


def _on_rim(grid: CoveringGrid, place: PatchLocation) -> bool:
    """Whether a patch is first or last along an axis that has more patches than one sight of each voxel takes."""
    enough = _counts_for_one(grid)
    last = [(count - 1) * stride for count, stride in zip(grid.counts, grid.stride, strict=True)]
    return any(
        count > needed and index in (0, end)
        for index, count, needed, end in zip(place.index, grid.counts, enough, last, strict=True)
    )


def _counts_for_one(grid: CoveringGrid) -> Triple:
    d, h, w = (p - s for p, s in zip(grid.patch_size, grid.stride, strict=True))
    return covering_grid(grid.shape, grid.patch_size, (d, h, w), min_coverage=1).counts
