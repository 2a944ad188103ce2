"""Thickness of a skull along rays from the middle of the brain, as a transducer on the scalp sees it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from creps import Volume

__all__ = ["along_rays", "brain_centre", "directions", "thickness_mm"]

Vector = npt.NDArray[np.float64]

CENTRE_MM = 75.0
"""The middle of the brain lies this far below the top of the head."""

STEP_MM = 0.25

REACH_MM = 140.0

LOWEST_DEGREES = 10.0
"""Rays go up from this angle above the level of the middle: the face and the base are no way for a beam."""


def brain_centre(skull: Volume) -> Vector:
    """(3,) patient coordinates in mm: in the middle of the skull `CENTRE_MM` below its top."""
    upright = skull.reoriented()
    inside = upright.array > 0.5
    top = int(np.flatnonzero(inside.any(axis=(1, 2))).max())
    level = max(0, top - round(CENTRE_MM / upright.spacing_mm[0]))
    rows, columns = np.nonzero(inside[level])
    return np.asarray(
        upright.to_patient_mm((level, (rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2))
    )


def directions(count: int) -> Vector:
    """(count, 3) unit vectors in patient coordinates, evenly spread over the part of a sphere above the brain."""
    lowest = np.sin(np.radians(LOWEST_DEGREES))
    k = np.arange(count) + 0.5
    up = lowest + (1 - lowest) * k / count
    angle, across = np.pi * (1 + 5**0.5) * k, np.sqrt(1 - up**2)
    return np.stack([across * np.cos(angle), across * np.sin(angle), up], axis=1)


def thickness_mm(skull: Volume, centre_mm: Vector, along: Vector) -> Vector:
    """(rays,) length of each ray in the skull in mm; 0 where it meets none.

    Args:
        skull: 1 in the skull, on any grid; read with linear interpolation, so that half a voxel counts as half.
        centre_mm: Patient coordinates of where the rays begin.
        along: (rays, 3) unit vectors.
    """
    return STEP_MM * sampled(skull, centre_mm, along, REACH_MM, lambda values: (values >= 0.5).astype(float))


def along_rays(volume: Volume, centre_mm: Vector, along: Vector, length_mm: float) -> Vector:
    """(rays,) integral of a volume along each ray, in its unit times mm."""
    return STEP_MM * sampled(volume, centre_mm, along, length_mm, lambda values: values)


def sampled(
    volume: Volume, centre_mm: Vector, along: Vector, length_mm: float, of: Callable[[Vector], Vector]
) -> Vector:
    """(rays,) sums of what `of` makes of the values at every `STEP_MM`; outermost values go on beyond the volume."""
    distance, total = np.arange(0, length_mm, STEP_MM), np.empty(len(along))
    for i, direction in enumerate(along):
        points = centre_mm + distance[:, None] * direction
        index = (points - np.asarray(volume.origin_mm)) @ volume.direction / np.asarray(volume.spacing_mm)
        total[i] = of(ndimage.map_coordinates(volume.array, index.T, order=1, mode="nearest")).sum()
    return total
