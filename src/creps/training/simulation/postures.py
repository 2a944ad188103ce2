"""Where a simulated patch looks: the anatomy turned, scaled, mirrored and bent at random."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from creps.patches import Triple
from creps.training.simulation.fields import smooth_field
from creps.volume import Array

__all__ = ["REACH", "draw_places"]

ROTATION_DEG, SCALE, SCALE_SD, BEND_MM = 15.0, (0.85, 1.2), 0.05, 3.0
"""Largest turn about each axis, range of the size, standard deviation of the log of each axis' size, largest bend."""

BEND_LENGTH_MM = 48.0

REACH = 1.5
"""A patch looks at a window of about this many times its size."""


def draw_places(
    size: Triple,
    centre: npt.NDArray[np.floating[Any]],
    spacing_mm: tuple[float, float, float],
    rng: np.random.Generator,
    anatomy_mm: tuple[float, float, float] | None = None,
    range_of_scale: tuple[float, float] = SCALE,
) -> Array:
    """Draw a posture.

    Args:
        size: Patch size (D, H, W).
        centre: (3,) voxel indices in the anatomy that the middle of the patch shows.
        spacing_mm: Voxel spacing (D, H, W) of the patch.
        rng: Source of everything that is drawn.
        anatomy_mm: Voxel spacing (D, H, W) of the anatomy; default: the patch's.
        range_of_scale: Smallest and largest size of all axes.

    Returns:
        (3, D, H, W) voxel indices in the anatomy of each voxel of the patch.
    """
    spacing, of_anatomy = np.array(spacing_mm), np.array(anatomy_mm or spacing_mm)
    turn = Rotation.from_euler("XYZ", rng.uniform(-ROTATION_DEG, ROTATION_DEG, 3), degrees=True).as_matrix()
    scale = rng.uniform(*range_of_scale) * np.exp(rng.normal(0, SCALE_SD, 3))
    mirror = np.array([1, 1, rng.choice([-1, 1])])
    matrix = ((turn * (scale * mirror * spacing)) / of_anatomy[:, None]).astype(np.float32)
    axes = [np.arange(n, dtype=np.float32) - np.float32((n - 1) / 2) for n in size]
    places = np.empty((3, *size), dtype=np.float32)
    for axis in range(3):
        d, h, w = (matrix[axis, k] * axes[k] for k in range(3))
        bend = np.float32(rng.uniform(0, BEND_MM) / of_anatomy[axis])
        places[axis] = (d[:, None, None] + h[:, None]) + (w + np.float32(centre[axis]))
        places[axis] += bend * smooth_field(size, spacing_mm, BEND_LENGTH_MM, rng)
    return places
