"""HU and MR units ↔ network units (Hémon et al. 2023, section 2.2, Pre-processing)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from creps import hu
from creps.volume import Array

__all__ = [
    "AIR_NETWORK",
    "MR_RANGE_NETWORK",
    "hu_to_network",
    "mr_divisor",
    "mr_to_network",
    "network_to_hu",
]

MR_RANGE_NETWORK = (0.0, 2.0)
"""Range of the MR in network units (section 2.2, Pre-processing)."""

BRIGHT_PERCENTILE = 99.5
"""Percentile of an MR inside the body that an automatic scale maps to the top of the range."""

AIR_NETWORK = hu.AIR / hu.PER_NETWORK_UNIT
"""Air in a CT in network units: what lies beyond a CT's edge."""


def hu_to_network(array_hu: npt.NDArray[np.floating]) -> Array:
    """HU → network units in [-1, 3], clipped to `hu.CT_RANGE`. Any shape."""
    return (np.clip(array_hu, *hu.CT_RANGE) / hu.PER_NETWORK_UNIT).astype(np.float32)


def network_to_hu(array: npt.NDArray[np.floating]) -> Array:
    """Network units → HU, unclipped; inverts `hu_to_network` inside `hu.CT_RANGE`. Any shape."""
    return (np.asarray(array, dtype=np.float32) * np.float32(hu.PER_NETWORK_UNIT)).astype(np.float32)


def mr_divisor(mr: npt.NDArray[np.floating], body: npt.NDArray[np.bool_], scale: float | Literal["auto"]) -> float:
    """The number an MR is divided by.

    Args:
        mr: (D, H, W) in scanner units.
        body: (D, H, W) body mask.
        scale: A fixed divisor (paper: 1000), or ``auto``, which maps `BRIGHT_PERCENTILE` inside the body to 2, the top
            of the range.

    Returns:
        The divisor, positive.

    Raises:
        ValueError: with ``auto``, if nothing inside the body is positive.
    """
    if scale != "auto":
        return float(scale)
    inside = mr[body] if body.any() else mr
    top = float(np.percentile(inside, BRIGHT_PERCENTILE))
    if top <= 0:
        raise ValueError("no positive value inside the body")
    return top / MR_RANGE_NETWORK[1]


def mr_to_network(mr: npt.NDArray[np.floating], divisor: float) -> Array:
    """Scanner units → network units in [0, 2]: divided, then clipped. Any shape."""
    return np.clip(mr / divisor, *MR_RANGE_NETWORK).astype(np.float32)
