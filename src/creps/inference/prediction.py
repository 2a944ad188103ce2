"""Which part of a volume is predicted, in which pieces, and how the pieces become one volume again."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import tee
from typing import Any

import numpy as np

from creps.errors import SettingsError
from creps.inference.aggregation import Slab, fused_slabs, slab_bytes
from creps.inference.executor import Executor
from creps.inference.pruning import pruned
from creps.inference.sliding_window import predict_patches
from creps.inference.tiles import Tile, exact_tiles
from creps.machine import free_bytes
from creps.patches import CoveringGrid, PatchLocation, Triple, covering_grid, half_overlap, triple
from creps.preprocessing.crop import crop_box
from creps.settings import InferenceSettings
from creps.volume import Array, Mask

__all__ = ["Layout", "lay_out", "predict"]

MARGIN_MM = 10.0
"""Margin around the body that is predicted too, if the background is kept: skin, and whatever the mask misses."""

SMALL_SLICE = 0.25
"""Slices with less than this share of the fullest one's signal say little about where the middle of the body is."""

STEPS = 6
"""Patches centred on the body start at multiples of a third of their stride (even numbers): with few places to choose
from, a slice more seldom makes them jump from one to the next."""

BATCH_VOXELS = 1 << 18
"""Voxels in a batch from which a larger one is no faster on a CPU (benchmarks/speed)."""

MOST_PATCHES = 8
"""Patches in a batch on a GPU: the paper's batch."""

MOST_GB = 4.0
"""Memory of a forward pass unless the settings say otherwise; half of what is free if that is less."""

MOST_VOXELS = 1 << 25
"""Voxels in a tile: times 32 channels they still fit into 32 bits, with which GPU kernels count."""


@dataclass(frozen=True)
class Layout:
    """The pieces in which a volume is predicted.

    Attributes:
        extent: The part of the volume that is predicted.
        grid: Overlapping patches over it; None for a single pass.
        tiles: Tiles over it for a single pass; empty otherwise.
        batch_size: Patches per forward pass.
        pass_bytes: Memory of a forward pass, and of the gaps it leaves in the heap.
        slab_bytes: Memory of the predictions that wait to be fused.
        fill: Value beyond the volume's edge; None: its outermost value is repeated.
        volume_bytes: Memory of the fused volume (and its spread) and of the predictions on their way to it.
    """

    extent: PatchLocation
    grid: CoveringGrid | None
    tiles: tuple[Tile, ...]
    batch_size: int
    fill: float | None
    pass_bytes: int
    slab_bytes: int
    volume_bytes: int

    @property
    def total_bytes(self) -> int:
        """Memory in bytes that the prediction takes in addition to what is already in use."""
        return self.pass_bytes + self.slab_bytes + self.volume_bytes

    @property
    def pieces(self) -> tuple[PatchLocation, ...]:
        """The boxes that go through the network, in voxels of the volume."""
        if self.grid is None:
            return tuple(tile.view for tile in self.tiles)
        return tuple(place.moved(self.extent.index) for place in self.grid.locations_in_volume)

    def coverage(self, body: Mask) -> tuple[int, int]:
        """Fewest and most predictions for a voxel of the body (D, H, W of the volume) in the extent."""
        if self.grid is None:
            return 1, 1
        counts = self.grid.coverage_map[body[self.extent.slices]]
        return int(counts.min()), int(counts.max())

    def record(self) -> dict[str, Any]:
        """As plain JSON values."""
        pieces = self.pieces
        voxels = sum(math.prod(piece.size) for piece in pieces)
        common = {
            "extent": {"index": list(self.extent.index), "size": list(self.extent.size)},
            "count": len(pieces),
            "voxels": voxels,
            "voxels_per_voxel": round(voxels / math.prod(self.extent.size), 2),
            "batch_size": self.batch_size,
            "estimated_bytes": self.total_bytes,
        }
        if self.grid is None:
            return common | {"largest": list(max((piece.size for piece in pieces), key=math.prod))}
        return common | {
            "size": list(self.grid.patch_size),
            "stride": list(self.grid.stride),
            "left_out": len(self.grid.left_out),
        }


def lay_out(
    shape: Triple,
    spacing_mm: tuple[float, float, float],
    body: Mask,
    patch_size: Triple,
    executor: Executor,
    settings: InferenceSettings,
    *,
    margin_mm: float = MARGIN_MM,
    spread: bool = False,
    lattice_index: Triple = (0, 0, 0),
    signal: Array | None = None,
) -> Layout:
    """Choose patches or tiles, and how many at once.

    Args:
        shape: The volume (D, H, W).
        spacing_mm: Its spacing.
        body: (D, H, W) the patient.
        patch_size: Of the training.
        executor: The network.
        settings: Extent, overlap, coverage, fusion, batch size, memory.
        margin_mm: Around the body, for ``extent: body``.
        spread: Whether the spread is predicted too; it counts as memory.
        lattice_index: Of the volume's first voxel on the lattice of the patient: patches start at multiples of their
            stride on it, tiles at even points.
        signal: (D, H, W) the MR in network units: weights the body's centre, on which patches are placed, so that
            dark voxels at the skin that a mask holds or not do not move it.

    Raises:
        SettingsError: an overlap that cannot cover every voxel, a single pass of a network without a halo, or its
            spread if the network predicts none.
    """
    extent = PatchLocation((0, 0, 0), shape)
    if settings.extent == "body":
        box = crop_box(body, spacing_mm, margin_mm)
        extent = PatchLocation(triple(s.start for s in box), triple(s.stop - s.start for s in box))
    # The paper pads with zeros. To a network that saw few such patches, the end of a neck beside zeros is no neck.
    fill = None if settings.extent == "body" else 0.0
    volume_bytes = 4 * math.prod(shape) * (2 if spread else 1)
    if settings.fusion == "single":
        tiles = _tiles(extent, executor, settings, lattice_index, spread=spread)
        largest = max(math.prod(tile.view.size) for tile in tiles)
        waiting = (12 if executor.yields_spread else 8) * largest
        return Layout(extent, None, tiles, 1, fill, _pass_bytes(executor, largest), 0, volume_bytes + waiting)
    try:
        grid = _patches(extent, body if signal is None else body * signal, patch_size, settings, lattice_index)
    except ValueError as error:
        raise SettingsError(f"{str(error).capitalize()}.", "Change inference.patch_overlap or min_coverage.") from error
    needed = body[extent.slices] if settings.extent == "body" else None
    grid = pruned(grid, needed, settings.min_coverage, (bool(body[0].any()), bool(body[-1].any())))
    voxels = math.prod(patch_size)
    batch = min(_batch_size(settings, executor, voxels), len(grid.locations))
    waiting = 4 * voxels * batch * 3  # the patches cut out, the batch in progress, the one before it
    if executor.yields_spread:
        waiting *= 2
    slabs = slab_bytes(grid) * (2 if executor.yields_spread else 1)
    return Layout(extent, grid, (), batch, fill, _pass_bytes(executor, batch * voxels), slabs, volume_bytes + waiting)


def predict(
    executor: Executor,
    mr: Array,
    layout: Layout,
    settings: InferenceSettings,
    progress: Callable[[int, int], None] | None = None,
    *,
    spread: bool = False,
) -> tuple[Array, Array | None]:
    """Predict a volume (Hémon et al. 2023, section 2.2, Inference).

    Args:
        executor: The network.
        mr: (D, H, W) in network units.
        layout: Of `lay_out` for this volume.
        settings: How predictions are fused.
        progress: Called with (pieces done, pieces in all).
        spread: Compute the spread as well.

    Returns:
        The values, (D, H, W) in network units, NaN where nothing was predicted; and their spread, likewise, or None
        unless it was asked for. The spread is the network's own (the standard deviation of each voxel's distribution)
        and half the range of overlapping predictions, as the root of the sum of squares of those that there are.

    Raises:
        ModelError: the network returns values that are not finite, or does not fit into memory.
    """
    sct = np.full(mr.shape, np.nan, dtype=np.float32)
    ranges = np.full_like(sct, np.nan) if spread else None
    predictions = predict_patches(
        executor, mr, layout.pieces, batch_size=layout.batch_size, fill=layout.fill, progress=progress
    )
    if layout.grid is None:
        _fill_tiles(sct, ranges, layout.tiles, predictions, executor)
        return sct, ranges
    for slab in _fused(layout.grid, predictions, settings, executor, spread=spread):
        there = slice(slab.first, slab.first + len(slab.values))
        sct[layout.extent.slices][there] = slab.values
        if ranges is not None and slab.spread is not None:
            ranges[layout.extent.slices][there] = slab.spread
    return sct, ranges


def _fill_tiles(
    sct: Array, ranges: Array | None, tiles: Sequence[Tile], predictions: Iterator[Array], executor: Executor
) -> None:
    """Copy the core of every tile's prediction into the volume, and its spread into `ranges`."""
    for tile, prediction in zip(tiles, predictions, strict=True):
        box = tile.core.inside(triple(sct.shape))
        inside = tuple(slice(s.start - i, s.stop - i) for s, i in zip(box, tile.view.index, strict=True))
        sct[box] = (prediction[0] if executor.yields_spread else prediction)[inside]
        if ranges is not None:
            ranges[box] = prediction[1][inside]


def _fused(
    grid: CoveringGrid, predictions: Iterator[Array], settings: InferenceSettings, executor: Executor, *, spread: bool
) -> Iterator[Slab]:
    """Fuse patches; where they have a spread of their own, its mean joins the spread between them."""
    if not executor.yields_spread:
        yield from fused_slabs(grid, zip(grid.locations, predictions, strict=True), settings.fusion, spread=spread)
        return
    pairs, again = tee(zip(grid.locations, predictions, strict=True))  # in step: a patch or two are kept
    values = fused_slabs(grid, ((place, both[0]) for place, both in pairs), settings.fusion, spread=True)
    own = fused_slabs(grid, ((place, both[1]) for place, both in again), "mean")
    for slab, of_network in zip(values, own, strict=True):
        between = np.float32(0) if slab.spread is None else slab.spread
        yield slab._replace(spread=np.hypot(between, of_network.values))


def _tiles(
    extent: PatchLocation, executor: Executor, settings: InferenceSettings, lattice_index: Triple, *, spread: bool
) -> tuple[Tile, ...]:
    """Tiles over the extent for a single pass, each as large as the memory allows."""
    if executor.halo is None:
        raise SettingsError(
            "fusion single needs a generator with a bounded field of view; with instance norm a voxel sees all.",
            "Use another inference.fusion.",
        )
    if spread and not executor.yields_spread:
        raise SettingsError(
            "fusion single predicts every voxel once, and this generator has no spread of its own.",
            "Use another inference.fusion, or a model with generator.classes.",
        )
    most = _voxels_within(_budget(settings, executor), executor)
    return exact_tiles(extent, executor.halo, most, lattice_index, stride=executor.stride)


def _patches(
    extent: PatchLocation, body: Mask | Array, patch_size: Triple, settings: InferenceSettings, lattice_index: Triple
) -> CoveringGrid:
    """Patches over the extent: along D on the lattice, along H and W centred on the body.

    What a network makes of a voxel depends on where its patches end, and on whether they start at an even point. So
    they must not move against the patient when there is more air around or, along D, a slice more of the patient. Along
    H and W, patches that meet in the middle of the body are more accurate than others (benchmarks/grid).
    """
    overlap = half_overlap(patch_size) if settings.patch_overlap is None else settings.patch_overlap
    first = [extent.index[0] + lattice_index[0]]
    for axis in (1, 2):
        start = _first_patch(body, axis, patch_size[axis], overlap[axis])
        step = 2 * max(1, (patch_size[axis] - overlap[axis]) // STEPS)
        start -= (start + lattice_index[axis] + step // 2) % step - step // 2
        first.append(extent.index[axis] - start)
    return covering_grid(extent.size, patch_size, overlap, settings.min_coverage, triple(first))


def _first_patch(body: Mask | Array, axis: int, size: int, overlap: int) -> int:
    """Where the first of the fewest patches starts that cover the body along an axis, centred on it.

    The centre is the median of the slices' centres of mass, the length their 90th percentile, taking each slice for an
    ellipse. A box would change with a voxel at the skin, the centre of mass of the body with every slice at an end.
    """
    rows = body.sum(axis=3 - axis, dtype=np.float64)
    totals = rows.sum(axis=1)
    rows = rows[totals >= SMALL_SLICE * totals.max()] if totals.any() else np.ones((1, body.shape[axis]))
    places, totals = np.arange(rows.shape[1]), rows.sum(axis=1)
    centres = rows @ places / totals
    variances = np.maximum(rows @ places**2 / totals - centres**2, 0)
    centre, length = float(np.median(centres)), 4 * math.sqrt(float(np.quantile(variances, 0.9)))
    stride = max(1, size - overlap)
    more = max(0, math.ceil((length - size) / stride))
    return round(centre + 0.5 - (size + more * stride) / 2)


def _pass_bytes(executor: Executor, voxels: int) -> int:
    return executor.bytes_at_peak(voxels) + executor.bytes_in_gaps(voxels)


def _voxels_within(budget: float, executor: Executor) -> int:
    """The largest tile whose forward pass stays within a budget in bytes, at most `MOST_VOXELS`."""
    return max(1, bisect_right(range(1, MOST_VOXELS + 1), budget, key=executor.bytes_at_peak))


def _budget(settings: InferenceSettings, executor: Executor) -> float:
    """Bytes that a forward pass may take."""
    if settings.memory_gb is not None:
        return settings.memory_gb * 1e9
    return min(MOST_GB * 1e9, free_bytes(executor.device) / 2)


def _batch_size(settings: InferenceSettings, executor: Executor, voxels: int) -> int:
    if settings.batch_size != "auto":
        return settings.batch_size
    most = MOST_PATCHES if executor.device.type != "cpu" else max(1, BATCH_VOXELS // voxels)
    return max(1, min(most, int(_budget(settings, executor) / executor.bytes_at_peak(voxels))))
