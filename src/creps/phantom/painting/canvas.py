"""Painting tissues over one another with partial volume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from creps.phantom.painting.fields import HEAD_HALF_BOX_MM, Axes, HalfBox, smooth_field
from creps.phantom.painting.shapes import Point, Points, Shape
from creps.phantom.painting.tissues import TISSUE_ID
from creps.volume import Array

__all__ = ["SKIN_MM", "Canvas", "Layer", "Window"]

Window = tuple[slice, slice, slice]

_STRIDE_MM = 9.0

SKIN_MM = 1.9
"""Thickness of the skin."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A tissue that covers a part of what lies below it.

    Attributes:
        window: Where in the (D, H, W) grid.
        tissue: Tissue name.
        cover: Covered part of each voxel of the window, 0 to 1.
    """

    window: Window
    tissue: str
    cover: Array


@dataclass(eq=False)
class Canvas:
    """A stack of layers over air, on a grid that knows its anatomical coordinates.

    Every layer covers a fraction of each voxel, so the tissue fractions that result add up to 1
    whatever is painted.

    Attributes:
        axes: Patient coordinates (mm) of the grid along D, H, W.
        points: Anatomical coordinates (mm) of every voxel: patient coordinates less pose and deformation.
        voxel_mm: Edge length over which a surface blurs into partial volume.
        layers: Bottom first.
        depth_mm: (D, H, W) depth below the skin, or None; where given, `paint` and `paint_nested` stay below
            the skin: air at any depth, the rest at `SKIN_MM`.
        half_box_mm: The box that random fields cover.
    """

    axes: Axes
    points: Points
    voxel_mm: float
    layers: list[Layer] = field(default_factory=list)
    depth_mm: Array | None = None
    half_box_mm: HalfBox = HEAD_HALF_BOX_MM
    _coarse: tuple[int, Points] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(D, H, W)."""
        depth, height, width = self.points.x.shape
        return depth, height, width

    @property
    def everywhere(self) -> Window:
        """The window of the whole grid."""
        depth, height, width = self.shape
        return slice(0, depth), slice(0, height), slice(0, width)

    def smooth_field(self, rng: np.random.Generator, length_mm: float) -> Array:
        """(D, H, W): a random field of about unit variance, its nodes `length_mm` apart in the patient."""
        return smooth_field(rng, self.axes, length_mm, self.half_box_mm)

    def window(self, low: Point, high: Point, side: int = 1) -> Window | None:
        """The part of the grid that holds an anatomical box, or None where it lies outside."""
        if self._coarse is None:
            step = max(1, round(_STRIDE_MM / self.voxel_mm))
            pick = np.ix_(*(_strided(n, step) for n in self.shape))
            self._coarse = (step, Points(self.points.x[pick], self.points.y[pick], self.points.z[pick]))
        step, coarse = self._coarse
        pad = 1.5 * step * self.voxel_mm
        x = coarse.x * side
        inside = (x >= low[0] - pad) & (x <= high[0] + pad)
        inside &= (coarse.y >= low[1] - pad) & (coarse.y <= high[1] + pad)
        inside &= (coarse.z >= low[2] - pad) & (coarse.z <= high[2] + pad)
        bounds = []
        for axis, count in enumerate(self.shape):
            hit = np.flatnonzero(inside.any(axis=tuple(other for other in range(3) if other != axis)))
            if hit.size == 0:
                return None
            places = _strided(count, step)
            bounds.append(slice(int(places[hit[0]]), int(places[hit[-1]]) + 1))
        return bounds[0], bounds[1], bounds[2]

    def inside(self, distance: Array) -> Array:
        """The part of each voxel on the negative side of a surface, for a signed distance in mm."""
        cover: Array = np.clip(np.float32(0.5) - distance / np.float32(self.voxel_mm), 0, 1)
        return cover

    def at(self, window: Window, side: int = 1) -> Points:
        """The anatomical points of a window; `side` -1 mirrors left and right."""
        x = self.points.x[window]
        return Points(x if side == 1 else -x, self.points.y[window], self.points.z[window])

    def cover(self, window: Window, tissue: str, cover: Array) -> None:
        """Lay a tissue over a window."""
        self.layers.append(Layer(window, tissue, cover))

    def paint(self, tissue: str, shape: Shape, side: int = 1, strength: float = 1.0, below_mm: float = 0.0) -> None:
        """Fill a shape with a tissue.

        Args:
            tissue: Tissue name.
            shape: Where.
            side: 1 as given, -1 mirrored to the other side of the body.
            strength: Covered part deep inside, below 1 for a mixture with what is there.
            below_mm: Least depth below the skin.
        """
        self.paint_nested({tissue: 0.0}, shape, side, strength, below_mm)

    def paint_nested(
        self,
        tissues: Mapping[str, float],
        shape: Shape,
        side: int = 1,
        strength: float = 1.0,
        below_mm: float = 0.0,
    ) -> None:
        """Fill a shape with shells: each tissue from the given depth (mm) below the surface inwards."""
        window = self.window(shape.low, shape.high, side)
        if window is None:
            return
        distance = shape.distance(self.at(window, side))
        for tissue, depth in tissues.items():
            cover = self.inside(distance + np.float32(depth))
            if self.depth_mm is not None:
                least = below_mm if tissue == "air" else max(SKIN_MM, below_mm)
                cover = np.minimum(cover, self.inside(np.float32(least) - self.depth_mm[window]))
            if cover.any():
                self.cover(window, tissue, cover * np.float32(strength) if strength < 1 else cover)

    def paint_pair(self, tissue: str, shape: Shape, strength: float = 1.0, below_mm: float = 0.0) -> None:
        """`paint` on both sides of the body."""
        for side in (1, -1):
            self.paint(tissue, shape, side, strength, below_mm)

    def paint_nested_pair(self, tissues: Mapping[str, float], shape: Shape) -> None:
        """`paint_nested` on both sides of the body."""
        for side in (1, -1):
            self.paint_nested(tissues, shape, side)

    def mix(self, values: Mapping[str, float]) -> Array:
        """The mean of a quantity over each voxel's tissues.

        Args:
            values: The quantity per tissue name; missing tissues count as 0.

        Returns:
            (D, H, W).
        """
        result = np.full(self.shape, values.get("air", 0.0), dtype=np.float32)
        for layer in self.layers:
            part = result[layer.window]
            part += layer.cover * (np.float32(values.get(layer.tissue, 0.0)) - part)
        return result

    def labels(self) -> Array:
        """The uppermost tissue that covers at least half of each voxel, as its place in the table."""
        result = np.zeros(self.shape, dtype=np.float32)
        for layer in self.layers:
            np.copyto(result[layer.window], np.float32(TISSUE_ID[layer.tissue]), where=layer.cover >= 0.5)
        return result


def _strided(count: int, step: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Every `step`-th index, always with the last."""
    return np.unique(np.append(np.arange(0, count, step), count - 1))
