"""Smooth random fields on a patch."""

from __future__ import annotations

import numpy as np

from creps.volume import Array

__all__ = ["smooth_field"]


def smooth_field(
    shape: tuple[int, ...], spacing_mm: tuple[float, float, float], length_mm: float, rng: np.random.Generator
) -> Array:
    """Smooth noise of unit variance: random values on a grid of `length_mm`, linearly interpolated."""
    coarse = [max(2, round(n * s / length_mm) + 2) for n, s in zip(shape, spacing_mm, strict=True)]
    field = rng.standard_normal(coarse, dtype=np.float32)
    for axis, (n, c) in enumerate(zip(shape, coarse, strict=True)):
        place = np.linspace(0, c - 1, n, dtype=np.float32)
        below = np.minimum(place.astype(np.intp), c - 2)
        share = np.expand_dims(place - below.astype(np.float32), [a for a in range(len(shape)) if a != axis])
        low, high = field.take(below, axis), field.take(below + 1, axis)
        high -= low  # no matrix product: its threads would compete with those of other workers
        high *= share
        field = low + high
    spread = field.std()
    return np.asarray(field / spread if spread > 0 else np.zeros_like(field))
