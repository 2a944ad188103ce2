"""The volumes that speed is measured on: phantoms on the grids of the paper's presets."""

from __future__ import annotations

from functools import cache

import numpy as np

from creps.phantom import REGIONS
from creps.phantom.patient import grow_patient
from creps.preprocessing.resample import resample_onto
from creps.volume import Volume

__all__ = ["GRIDS", "mr_volume"]

GRIDS = {
    "brain": ("head", (168, 256, 256), (1.0, 1.0, 1.0)),
    "pelvis": ("pelvis", (100, 400, 500), (2.5, 1.0, 1.0)),
}
"""Preset → region of the phantom, depth x rows x columns, spacing in mm."""

GROWN_MM = 2.0
"""Spacing that phantoms are grown at before they are brought onto the grid: details do not matter here, time does."""


@cache
def mr_volume(name: str, times: int = 1) -> Volume:
    """An MR in scanner units on the grid of a preset, air where the phantom's field of view ends.

    Args:
        name: ``brain`` or ``pelvis``.
        times: So many times the voxels, by a finer spacing along the depth, then the rows, then the columns.
    """
    region, shape, spacing = GRIDS[name]
    phantom = grow_patient(REGIONS[region], [7, 0, 0], GROWN_MM, ct=False).mr.reoriented()
    finer = [1, 1, 1]
    for i in range(times.bit_length() - 1):
        finer[i % 3] *= 2
    counts = [n * f for n, f in zip(shape, finer, strict=True)]
    d, h, w = (s / f for s, f in zip(spacing, finer, strict=True))
    centre = phantom.to_patient_mm([(n - 1) / 2 for n in phantom.shape])
    first = -np.array([(n - 1) / 2 * s for n, s in zip(counts, (d, h, w), strict=True)])
    x, y, z = (centre + phantom.direction @ first).tolist()
    grid = Volume(np.zeros(counts, np.float32), (d, h, w), (x, y, z), phantom.direction)
    mr = resample_onto(phantom, grid)
    return mr.with_array(np.where(_seen(mr, phantom), mr.array, np.float32(0)))


def _seen(mr: Volume, phantom: Volume) -> np.ndarray:
    """(D, H, W) of `mr`: whether the phantom's field of view reaches there."""
    parts = []
    for n, s, m, t in zip(mr.shape, mr.spacing_mm, phantom.shape, phantom.spacing_mm, strict=True):
        parts.append(np.abs((np.arange(n) - (n - 1) / 2) * s) <= m * t / 2)
    return parts[0][:, None, None] & parts[1][:, None] & parts[2]
