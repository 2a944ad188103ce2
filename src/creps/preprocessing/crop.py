"""Cut a volume down to a box, and say which voxels of another grid lie outside it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from creps.preprocessing.morphology import body_box
from creps.volume import Mask, Volume

__all__ = ["Slices", "crop_box", "cropped", "outside_extent"]

Slices = tuple[slice, slice, slice]

PARALLEL = 1e-6
"""Cosine below which an axis does not run along another: 1 micrometre in a metre."""


def crop_box(body: Mask, spacing_mm: Sequence[float], margin_mm: float) -> Slices:
    """The box around the body with a margin, within the array.

    Args:
        body: (D, H, W) body mask.
        spacing_mm: Along D, H, W.
        margin_mm: On every side, rounded up to whole voxels.
    """
    parts = []
    for (first, end), spacing, length in zip(body_box(body), spacing_mm, body.shape, strict=True):
        margin = math.ceil(margin_mm / spacing - 1e-6)
        parts.append(slice(max(0, first - margin), min(length, end + margin)))
    d, h, w = parts
    return d, h, w


def cropped(volume: Volume, box: Slices) -> Volume:
    """The part of a volume in a box; every voxel stays where it is in the patient."""
    x, y, z = volume.to_patient_mm([part.start for part in box]).tolist()
    return Volume(np.ascontiguousarray(volume.array[box]), volume.spacing_mm, (x, y, z), volume.direction)


def outside_extent(volume: Volume, grid: Volume) -> Mask:
    """(D, H, W) of `volume`: voxels whose centre lies outside the extent (edge to edge) of `grid`, turned or not."""
    start = grid.direction.T @ (np.asarray(volume.origin_mm) - np.asarray(grid.origin_mm))
    steps = grid.direction.T @ volume.direction * np.asarray(volume.spacing_mm)
    steps[np.abs(steps) <= PARALLEL * np.asarray(volume.spacing_mm)] = 0
    along_d, along_h, along_w = (np.arange(n) for n in volume.shape)
    outside = np.zeros(volume.shape, dtype=bool)
    for axis, own in enumerate(grid.spacing_mm):
        low, high = -0.5 * own - 1e-3, (grid.shape[axis] - 0.5) * own + 1e-3
        in_plane = start[axis] + steps[axis, 1] * along_h[:, None] + steps[axis, 2] * along_w
        if not steps[axis, 1:].any():
            in_plane = in_plane[:1, :1]
        for plane, d in zip(outside, along_d, strict=True):
            plane |= (in_plane < low - steps[axis, 0] * d) | (in_plane > high - steps[axis, 0] * d)
    return outside
