"""Planes without signal next to a patient who is cut off: padding, not air that was imaged."""

from __future__ import annotations

import numpy as np

from creps.volume import Volume

__all__ = ["without_padding"]

DARK = 0.15
"""Share of the typical signal below which a voxel is dark: noise is, dark muscle is not."""

EMPTY = 0.02
"""A plane with less than this share of the bright voxels of the fullest plane is empty: noise has outliers."""

CUT = 0.25
"""The patient is cut off at a plane with at least this share of them. The top of a head has less: that is its shape."""


def without_padding(volume: Volume) -> tuple[slice, slice, slice] | None:
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
    if above.size == 0:
        return None
    bright = volume.array > lowest + DARK * (np.median(above) - lowest)
    box = []
    for axis in range(3):
        counts = np.count_nonzero(bright, axis=tuple(i for i in range(3) if i != axis))
        filled = np.flatnonzero(counts >= max(1, EMPTY * counts.max()))
        first, last = int(filled[0]), int(filled[-1])
        cut = CUT * counts.max()
        box.append(slice(first if counts[first] >= cut else 0, last + 1 if counts[last] >= cut else len(counts)))
    d, h, w = box
    whole = all(part.stop - part.start == n for part, n in zip(box, volume.shape, strict=True))
    return None if whole or any(part.stop - part.start < 2 for part in box) else (d, h, w)
