"""Patches of a grid that need not be predicted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from creps.patches import CoveringGrid, PatchLocation, Triple, covering_grid, triple
from creps.volume import Mask

__all__ = ["pruned"]


def pruned(
    grid: CoveringGrid, body: Mask | None, min_coverage: int, cut_off: tuple[bool, bool] = (False, False)
) -> CoveringGrid:
    """The grid without patches outside the body, and without outer patches that no voxel needs.

    To cover the corners of the volume more than once, a grid has one more row of patches at either end of an axis than
    a grid that covers every voxel once. Of these outer rows, a patch stays only if a voxel would otherwise be covered
    fewer than `min_coverage` times.

    Where the patient is cut off along D, the outer row stays: without it, slices up to a stride away would have fewer
    predictions, and one slice more or less decides which row is the outer one.

    Args:
        grid: From `covering_grid`, complete.
        body: (D, H, W) of the grid's original volume: the voxels to cover; None: all.
        min_coverage: Fewest patches over each of these voxels.
        cut_off: Whether the patient is cut off at the first and at the last slice.

    Returns:
        The grid with the unneeded patches in `left_out`.
    """
    needed = np.ones(grid.shape, dtype=bool) if body is None else body
    held = {place.index: int(np.count_nonzero(needed[_inside(grid, place)])) for place in grid.locations}
    left_out = {index for index, count in held.items() if count == 0}
    grid = replace(grid, left_out=frozenset(left_out))
    rim = [place for place in grid.locations if _on_rim(grid, place, cut_off)]
    covered = grid.coverage_map.copy()
    for place in sorted(rim, key=lambda place: held[place.index]):
        box = _inside(grid, place)
        if (covered[box] > min_coverage)[needed[box]].all():
            covered[box] -= 1
            left_out.add(place.index)
    return replace(grid, left_out=frozenset(left_out))


def _inside(grid: CoveringGrid, place: PatchLocation) -> tuple[slice, slice, slice]:
    return grid.in_volume(place).inside(grid.shape)


def _on_rim(grid: CoveringGrid, place: PatchLocation, cut_off: tuple[bool, bool]) -> bool:
    """Whether a patch is first or last along an axis with more patches than it takes to cover each voxel once."""
    enough = _counts_for_one(grid)
    last = triple((count - 1) * stride for count, stride in zip(grid.counts, grid.stride, strict=True))
    outermost = [(index == 0, index == end) for index, end in zip(place.index, last, strict=True)]
    outermost[0] = (outermost[0][0] and not cut_off[0], outermost[0][1] and not cut_off[1])
    return any(any(ends) and count > least for ends, count, least in zip(outermost, grid.counts, enough, strict=True))


def _counts_for_one(grid: CoveringGrid) -> Triple:
    d, h, w = (p - s for p, s in zip(grid.patch_size, grid.stride, strict=True))
    return covering_grid(grid.shape, grid.patch_size, (d, h, w), min_coverage=1, first=grid.pad_before).counts
