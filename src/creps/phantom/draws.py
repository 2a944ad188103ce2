"""Random draws that the people of every region share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["evenly", "vary"]

LIMIT_SD = 2.0
"""Normal draws stay within this many standard deviations."""


def evenly(rng: np.random.Generator, ranges: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    """A uniform draw for each name, from its range."""
    return {name: float(rng.uniform(*limits)) for name, limits in ranges.items()}


def vary(rng: np.random.Generator, mean: float, sd: float) -> float:
    """A normal draw, kept within `LIMIT_SD` standard deviations."""
    return float(mean + sd * np.clip(rng.standard_normal(), -LIMIT_SD, LIMIT_SD))
