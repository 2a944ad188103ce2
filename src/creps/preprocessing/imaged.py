"""Planes without signal next to a patient who is cut off: padding, not air that was imaged."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from creps.volume import Volume

__all__ = ["imaged_box"]

DARK = 0.15
"""Share of the typical signal below which a voxel is dark: noise is, dark muscle is not."""

EMPTY = 0.02
"""A plane with less than this share of the bright voxels of the fullest plane is empty: noise has outliers."""

AIRLESS = 0.5
"""There is no air, and so no padding, if the lowest value is no further than this share below the typical signal."""

ABRUPT = 0.2
"""Share of a plane's mean that the padding next to it has at most: a signal that fades is not padding."""

CUT, STEADY = 0.25, 0.85
"""The patient is cut off at a plane with at least these shares of the bright voxels of the fullest plane and of the
next one inwards. Where the patient ends naturally, planes fill quickly: a cylinder's first has .75 of its second."""


def imaged_box(volume: Volume) -> tuple[slice, slice, slice] | None:
    """The part of a volume that was imaged, if there are empty planes beyond an end at which the patient is cut off.

    A spline between the last slice of a neck and a slice of zeros gives values that were never measured. Empty planes
    beyond an end where the patient tapers off are left: they are air.

    Args:
        volume: MR or CT, on any grid; padded with its lowest value, or with noise.

    Returns:
        The box along D, H, W; None if nothing is padding.
    """
    lowest = volume.array.min()
    above = volume.array[volume.array > volume.array.mean()]
    if above.size == 0 or np.median(above) - lowest < AIRLESS * abs(np.median(above)):
        return None
    bright = volume.array > lowest + DARK * (np.median(above) - lowest)
    box = []
    for counts, means in zip(_planes(bright, np.int64), _planes(volume.array, np.float64), strict=True):
        means *= len(means) / volume.array.size
        means -= lowest
        box.append(slice(_first(counts, means), len(counts) - _first(counts[::-1], means[::-1])))
    d, h, w = box
    whole = all(part.stop - part.start == n for part, n in zip(box, volume.shape, strict=True))
    return None if whole or any(part.stop - part.start < 2 for part in box) else (d, h, w)


def _planes(array: npt.NDArray[Any], dtype: type) -> list[npt.NDArray[Any]]:
    """Sums over the planes along each axis, in two passes over the array."""
    lines = array.sum(axis=2, dtype=dtype)
    return [lines.sum(axis=1), lines.sum(axis=0), array.sum(axis=(0, 1), dtype=dtype)]


def _first(counts: npt.NDArray[np.int64], means: npt.NDArray[np.float64]) -> int:
    """The first plane that is not padding, from the bright voxels and the mean of each."""
    first = int(np.flatnonzero(counts >= max(1, EMPTY * counts.max()))[0])
    if first in (0, len(counts) - 1) or means[first - 1] > ABRUPT * means[first]:
        return 0
    return first if counts[first] >= max(CUT * counts.max(), STEADY * counts[first + 1]) else 0
