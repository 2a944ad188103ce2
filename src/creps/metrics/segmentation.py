"""Agreement of shapes. Arrays are (D, H, W)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["BONE_HU", "bone_dice", "dice"]

BONE_HU = 250.0
"""Voxels above this are bone."""


def dice(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    """2 |a ∩ b| / (|a| + |b|).

    Raises:
        ValueError: shapes differ, or both are empty and the ratio says nothing.
    """
    if a.shape != b.shape:
        raise ValueError(f"shapes differ: {a.shape} and {b.shape}")
    total = int(a.sum()) + int(b.sum())
    if total == 0:
        raise ValueError("both segmentations are empty")
    return 2 * int((a & b).sum()) / total


def bone_dice(ct_hu: npt.NDArray[np.floating], sct_hu: npt.NDArray[np.floating], mask: npt.NDArray[np.bool_]) -> float:
    """Dice of the voxels above `BONE_HU` inside the mask."""
    return dice((ct_hu > BONE_HU) & mask, (sct_hu > BONE_HU) & mask)
