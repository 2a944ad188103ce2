"""`Measure`: a number, and where it was found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from creps.qa.scene import Scene
from creps.volume import Array, Mask

__all__ = ["CLUMP_VOXELS", "Measure", "densest", "total_ml"]

CLUMP_VOXELS = 5
"""Clumps are counted in a cube of this many voxels a side: 20 mm, 8 ml."""


@dataclass(frozen=True)
class Measure:
    """A number, and where it was found.

    Attributes:
        value: None if it cannot be measured.
        place: Voxel (D, H, W) of the scene; None: nowhere in particular.
    """

    value: float | None
    place: tuple[int, int, int] | None = None


def densest(weights: Array, scene: Scene, voxels: int = CLUMP_VOXELS) -> Measure:
    """The largest sum of weights within a cube, in ml.

    Args:
        weights: (D, H, W) share of each voxel that counts.
        scene: For the volume of a voxel.
        voxels: Edge of the cube.
    """
    sums = ndimage.uniform_filter(weights.astype(np.float32), voxels, mode="constant")
    return Measure(max(0.0, float(sums.max())) * voxels**3 * scene.voxel_ml, argmax(sums))


def total_ml(where: Mask, scene: Scene) -> Measure:
    """The volume of a mask; its place is the fullest axial slice."""
    per_slice = where.sum(axis=(1, 2))
    if not per_slice.any():
        return Measure(0.0)
    level = int(per_slice.argmax())
    middle = np.argwhere(where[level]).mean(axis=0)
    return Measure(float(where.sum()) * scene.voxel_ml, (level, int(middle[0]), int(middle[1])))


def argmax(values: npt.NDArray[np.generic]) -> tuple[int, int, int]:
    """Index of the largest value of (D, H, W)."""
    d, h, w = np.unravel_index(int(values.argmax()), values.shape)
    return int(d), int(h), int(w)
