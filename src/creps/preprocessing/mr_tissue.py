"""Where an MR shows tissue: thresholds for bright and for dim tissue, from the noise and the ghosts in the air."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from skimage.filters import threshold_otsu

from creps.preprocessing.morphology import filled, grow, opened
from creps.volume import Array, Mask, Volume

__all__ = ["tissue_mr"]

BLOCK = 4
"""Air is measured in squares of this many voxels a side."""

AIR_SHARE = 0.35
"""Where the dark part of an MR is brighter than this share of its limit, it is dark tissue rather than air."""

AIR_FACTOR = 3.5
"""Tissue has at least this multiple of the mean signal of air: 4.4 standard deviations of Rayleigh noise."""

DIM_SHARES = (0.2, 0.4)
"""Where there is air, dim tissue gives at least this share of the limit: the first beside clean air, up to the second
beside air with ghosts."""

GHOST_FACTOR = 1.5
"""Dim tissue has at least this multiple of the signal of the ghosts beside the patient, within `DIM_SHARES`."""

RING_MM = 20.0
"""Ghosts are measured up to this far from the patient."""

DIMMEST = 0.1
"""Where no air is in the field of view, dim tissue has at least this share of the limit ..."""

DARKEST_FACTOR = 2.0
"""... and at least this multiple of the signal of the darkest squares, which may be a corner of air."""

DIM_MM = 15.0
"""Dim voxels belong to the patient up to this far from bright ones: ghosts and fold-over reach further."""


def tissue_mr(mr: Volume) -> Mask:
    """(D, H, W) voxels that show tissue, without specks; none in an MR of a single value."""
    sample = mr.array[:, ::2, ::2]  # thresholds do not need every voxel
    clipped = np.minimum(sample, np.percentile(sample, 99.0))
    lowest = float(clipped.min())
    if lowest == clipped.max():
        return np.zeros(mr.shape, dtype=bool)
    limit, dim_limit = _limits(mr, clipped - np.float32(lowest), lowest)
    bright = opened(mr.array > lowest + limit, mr.spacing_mm, 2.0)
    dim = opened(mr.array > lowest + dim_limit, mr.spacing_mm, 4.0)
    return bright | (dim & grow(bright, mr.spacing_mm, DIM_MM))


def _limits(mr: Volume, values: Array, lowest: float) -> tuple[float, float]:
    """Signal above the lowest from which a voxel is tissue, and from which it is tissue beside such a voxel.

    Args:
        mr: The MR.
        values: Signals above the lowest.
        lowest: Its lowest signal.
    """
    # Otsu splits dark from bright tissue as readily as air from tissue: half of it keeps the dark tissue. Where no
    # signal lies between both classes it may be as low as the noise; halfway between their means it is not.
    otsu = float(threshold_otsu(values.ravel()))  # three or four columns would be taken for colours
    limit = 0.5 * otsu
    ceiling = max(limit, 0.25 * float(values[values > otsu].mean() + values[values <= otsu].mean()))
    means = _block_means(mr.array) - np.float32(lowest)
    dark = means[(means < ceiling) & (means > 0)]
    air = float(np.percentile(dark, 30)) if dark.size else 0.0
    if air > AIR_SHARE * ceiling:  # no air in sight
        darkest = float(np.percentile(dark, 2))
        return limit, min(max(DARKEST_FACTOR * darkest, DIMMEST * limit), limit)
    noise = min(AIR_FACTOR * air, ceiling)
    d, h, w = mr.spacing_mm
    ghosts = GHOST_FACTOR * _signal_beside(means, DIM_SHARES[1] * limit, (d, BLOCK * h, BLOCK * w))
    return max(limit, noise), max(noise, min(max(ghosts, DIM_SHARES[0] * limit), DIM_SHARES[1] * limit))


def _block_means(array: Array) -> Array:
    """(D, H / 4, W / 4) means of squares."""
    height, width = (n // BLOCK * BLOCK for n in array.shape[1:])
    rows = sum((array[:, :height, i:width:BLOCK] for i in range(1, BLOCK)), array[:, :height, :width:BLOCK])
    return sum((rows[:, i::BLOCK] for i in range(1, BLOCK)), rows[:, ::BLOCK]) / np.float32(BLOCK**2)


def _signal_beside(means: Array, tissue: float, spacing_mm: Sequence[float]) -> float:
    """The 95th percentile of the signal in the air beside the patient; 0 where there is no air.

    Args:
        means: (D, H, W) signal of squares.
        tissue: Squares from this signal belong to the patient.
        spacing_mm: Of the squares.
    """
    skin_mm = 2 * max(spacing_mm[1:])
    near = grow(filled(means > tissue), spacing_mm, skin_mm)
    ring = grow(near, spacing_mm, RING_MM) & ~near
    return float(np.percentile(means[ring], 95)) if ring.any() else 0.0
