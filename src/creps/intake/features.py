"""A few numbers that describe a prepared MR, measured alike in training cases and before a synthesis.

All but the noise are measured on a grid of about 4 mm, whatever the model's: so they cost little, and noise
and fine detail do not enter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from creps.intake.image_checks import cut_slices
from creps.preprocessing.mask import depth_mm
from creps.preprocessing.morphology import body_box
from creps.volume import Array, Mask

__all__ = ["VERSION", "Coarse", "Features", "features_of"]

VERSION = 1
"""Raised when the same volume gives other numbers: profiles of another version cannot be compared."""

COARSE_MM = 4.0
"""Voxels are averaged to about this size."""

QUANTILES = (10, 25, 50, 75, 90)
"""Percent, in each layer."""

DEPTHS_MM = (6.0, 12.0, 20.0, 35.0)
"""Bounds of four layers below the skin. What lies above them depends on where a mask puts the skin."""

HEIGHTS, FRONT_TO_BACK = 4, 3
"""Number of parts of the body's box along D and along H; left and right are alike."""

DARK = 0.15
"""Darker than this share of the median of what gives signal is a void."""

NOISE_SLICES = 32
"""Noise is measured in at most this many slices."""

GREYS_MM = 30.0
"""Greys are compared deeper than this below the skin, where fluid, brain and muscle are."""

SMALLEST_DEPTH = 500
"""Voxels that deep; with fewer, there are no greys."""

GIRTH_RANGE_MM = 150.0
"""The girth is that of slices up to this far from the top of the body: in a head, without the shoulders."""

WHOLE_MM = 40.0
"""At least this length of `GIRTH_RANGE_MM` must consist of slices that are not cut."""

SMALLEST_LAYER = 20
"""Voxels; with fewer, a layer takes the figures of the one above it (or of the whole body)."""

DIGITS = 4


def _parsed(value: Any) -> Any:
    return tuple(float(part) for part in value.split()) if isinstance(value, str) else value


Numbers = Annotated[
    tuple[float, ...],
    BeforeValidator(_parsed),
    PlainSerializer(lambda numbers: " ".join(f"{n:g}" for n in numbers), return_type=str, when_used="json"),
]
"""Some numbers; one line in JSON, so that a person can read a plan."""


class Features(BaseModel):
    """The numbers that describe a prepared MR."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    contrast: Numbers
    """Percentiles (`QUANTILES`) of the signal in each layer below the skin (`DEPTHS_MM`), in network units."""
    pattern: Numbers
    """Mean signal in 4 heights (from inferior) x 3 depths (from anterior) of the body's box, in network units."""
    shape: Numbers
    """Share of each of these 12 parts that the body fills."""
    size: Numbers
    """Extent of the body along D, H, W and the cube root of its volume, in mm."""
    noise: float
    """Standard deviation over the median signal, from differences of neighbours along W: texture counts too."""
    void_ml: float
    """Volume of the largest ball that fits into a region without signal inside the body."""
    greys: Numbers | None = None
    """Deeper than `GREYS_MM`: logarithms of the 95th percentile over the median, and of the 25th over the 90th. Bright
    fluid (T2) makes the first large and the second small. None if little of the body is that deep, or unknown."""
    girth_mm: float | None = None
    """Diameter of a circle with the area of a wide axial slice that the field of view does not cut: ears, height of
    the scan and cuts do not enter. None if too few slices are whole, or unknown."""


@dataclass(frozen=True, eq=False)
class Coarse:
    """An MR averaged over blocks of about `COARSE_MM`.

    Attributes:
        signal: (D, H, W) mean over the body's voxels of each block, 0 outside.
        inside: (D, H, W) blocks that are at least half in the body.
        spacing_mm: Size of the blocks along D, H, W.
    """

    signal: Array
    inside: Mask
    spacing_mm: list[float]

    @classmethod
    def of(cls, array: Array, body: Mask, spacing_mm: Sequence[float]) -> Coarse:
        """Average an MR.

        Args:
            array: (D, H, W) signal.
            body: (D, H, W) body mask, not empty.
            spacing_mm: Along D, H, W.
        """
        factors = [max(1, int(COARSE_MM / s + 0.25)) for s in spacing_mm]
        share = _block_means(body, factors)
        inside = share >= 0.5
        if not inside.any():
            inside = share > 0
        sums = _block_means(np.where(body, array, np.float32(0.0)), factors)
        signal: Array = np.where(inside, sums / np.maximum(share, 1e-6), 0.0).astype(np.float32)
        return cls(signal, inside, [s * f for s, f in zip(spacing_mm, factors, strict=True)])

    @cached_property
    def depth_mm(self) -> Array:
        """(D, H, W) distance below the skin."""
        return depth_mm(self.inside, self.spacing_mm)

    def layers(self) -> list[Mask]:
        """The layers below the skin (`DEPTHS_MM`), each (D, H, W)."""
        bounds = zip(DEPTHS_MM, (*DEPTHS_MM[1:], np.inf), strict=True)
        return [self.inside & (self.depth_mm > low) & (self.depth_mm <= high) for low, high in bounds]


def features_of(array: Array, body: Mask, spacing_mm: Sequence[float], coarse: Coarse | None = None) -> Features:
    """Measure a prepared MR.

    Args:
        array: (D, H, W) in network units, upright: D to superior, H to posterior.
        body: (D, H, W) body mask, not empty.
        spacing_mm: Along D, H, W.
        coarse: The same MR, where it is averaged already.
    """
    coarse = Coarse.of(array, body, spacing_mm) if coarse is None else coarse
    signal, inside, coarse_mm = coarse.signal, coarse.inside, coarse.spacing_mm
    box = tuple(slice(first, end) for first, end in body_box(inside))
    pattern, shape = _by_place(signal[box], inside[box])
    return Features(
        contrast=_rounded(_contrast(coarse)),
        pattern=_rounded(pattern),
        shape=_rounded(shape),
        size=_rounded(_size_mm(inside, coarse_mm), digits=1),
        noise=round(_noise(array, body), DIGITS),
        void_ml=round(_void_ml(signal, inside, coarse_mm), 2),
        greys=_greys(coarse),
        girth_mm=_girth_mm(inside, coarse_mm),
    )


def _block_means(array: npt.NDArray[Any], factors: Sequence[int]) -> Array:
    """Mean of each block, axis by axis; beyond the edge is 0."""
    means = np.asarray(array, dtype=np.float32)
    for axis, factor in enumerate(factors):
        if factor > 1:
            starts = np.arange(0, means.shape[axis], factor)
            means = np.asarray(np.add.reduceat(means, starts, axis=axis) / factor, dtype=np.float32)
    return means


def _contrast(coarse: Coarse) -> npt.NDArray[np.float64]:
    layers = [np.percentile(coarse.signal[coarse.inside], QUANTILES)]
    for layer in coarse.layers():
        chosen = coarse.signal[layer]
        layers.append(np.percentile(chosen, QUANTILES) if chosen.size >= SMALLEST_LAYER else layers[-1])
    return np.concatenate(layers[1:])


def _greys(coarse: Coarse) -> tuple[float, ...] | None:
    """How far bright and dark lie apart in the depth of the body; bias field and scale hardly enter."""
    deep = coarse.signal[coarse.depth_mm > GREYS_MM]
    if deep.size < SMALLEST_DEPTH:
        return None
    p25, p50, p90, p95 = np.maximum(np.percentile(deep, (25, 50, 90, 95)), 1e-3)
    return _rounded(np.log(np.array([p95 / p50, p25 / p90])))


def _girth_mm(inside: Mask, spacing_mm: Sequence[float]) -> float | None:
    cuts = cut_slices(inside, spacing_mm)
    top = int(np.flatnonzero(cuts.body)[-1]) + 1
    first = max(0, top - round(GIRTH_RANGE_MM / spacing_mm[0]))
    whole = np.flatnonzero(cuts.body[first:top] & ~cuts.some[first:top]) + first
    if len(whole) * spacing_mm[0] < WHOLE_MM:
        return None
    area = inside[whole].sum(axis=(1, 2)) * spacing_mm[1] * spacing_mm[2]
    return round(float(np.percentile(2 * np.sqrt(area / np.pi), 90)), 1)


def _by_place(signal: Array, inside: Mask) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean signal of the body in, and its share of, each part of its box."""
    pattern, shape, middle = [], [], float(np.median(signal[inside]))
    heights = np.linspace(0, inside.shape[0], HEIGHTS + 1).round().astype(int)
    depths = np.linspace(0, inside.shape[1], FRONT_TO_BACK + 1).round().astype(int)
    for bottom, top in pairwise(heights):
        for front, back in pairwise(depths):
            part = inside[bottom:top, front:back]
            shape.append(float(part.mean()) if part.size else 0.0)
            pattern.append(float(signal[bottom:top, front:back][part].mean()) if part.any() else middle)
    return np.array(pattern), np.array(shape)


def _size_mm(inside: Mask, spacing_mm: Sequence[float]) -> npt.NDArray[np.float64]:
    extents = [(end - first) * s for (first, end), s in zip(body_box(inside), spacing_mm, strict=True)]
    return np.array([*extents, float(inside.sum() * np.prod(spacing_mm)) ** (1 / 3)])


def _noise(array: Array, body: Mask) -> float:
    """From the second differences along W, whose median is little moved by edges."""
    step = max(1, array.shape[0] // NOISE_SLICES)
    values, inside = np.asarray(array[::step], dtype=np.float32), np.asarray(body[::step])
    middle = float(np.median(values[inside])) if inside.any() else 0.0
    three = inside[:, :, 2:] & inside[:, :, 1:-1] & inside[:, :, :-2]
    if middle <= 0 or not three.any():
        return 0.0
    second = values[:, :, 2:] - 2 * values[:, :, 1:-1] + values[:, :, :-2]
    return float(1.4826 * np.median(np.abs(second[three])) / np.sqrt(6.0)) / middle


def _void_ml(signal: Array, inside: Mask, spacing_mm: Sequence[float]) -> float:
    values = signal[inside]
    bright = values[values > 0.1 * np.percentile(values, 90)]
    dark = inside & (signal < DARK * float(np.median(bright if bright.size else values)))
    if not dark.any():
        return 0.0
    radius = max(0.0, float(depth_mm(dark, spacing_mm).max()) - 0.5 * min(spacing_mm))
    return float(4 / 3 * np.pi * radius**3 / 1000)


def _rounded(numbers: npt.NDArray[np.float64], digits: int = DIGITS) -> tuple[float, ...]:
    return tuple(round(float(n), digits) for n in numbers)
