"""What can be compared without pairs: HU and texture by place in the body, and CTs found again from a simulated MR."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from creps.pipeline.validation_patches import PLACES, FixedPatch
from creps.preprocessing.intensity import network_to_hu
from creps.volume import Array

__all__ = ["ByPlace", "bone_share", "gradient_hu", "hu"]

LEVELS = np.linspace(0.0025, 0.9975, 200)
"""Quantiles that stand for a distribution in the 1-D Wasserstein distance."""

FEWEST = 50
"""A place with fewer voxels than this, on either side, is left out."""

BONE_HU = 200.0
"""Bone is above this."""


class ByPlace:
    """Distance of a quantity of sCTs to that of CTs, place by place.

    Args:
        quantity: (D, H, W) in network units → (D, H, W).
        cts: The CTs' patches.
    """

    def __init__(self, quantity: Callable[[Array], Array], cts: Sequence[FixedPatch]) -> None:
        self.quantity = quantity
        self.references, self.counts = self._quantiles([ct.array for ct in cts], cts)

    def __call__(self, scts: Sequence[Array], mrs: Sequence[FixedPatch]) -> float:
        """Mean over the body's voxels of the 1-D Wasserstein distance in their place; NaN if no place is known.

        Args:
            scts: sCT patches (D, H, W) in network units.
            mrs: The MR patches that they were made of.
        """
        quantiles, counts = self._quantiles(scts, mrs)
        known = np.flatnonzero((counts >= FEWEST) & (self.counts >= FEWEST))
        if not known.size:
            return float("nan")
        distances = np.abs(quantiles[known] - self.references[known]).mean(axis=1)
        return float(np.average(distances, weights=counts[known]))

    def _quantiles(self, arrays: Sequence[Array], where: Sequence[FixedPatch]) -> tuple[Array, Array]:
        """(`PLACES`, levels) quantiles, and how many voxels each place has."""
        values = np.concatenate([self.quantity(array).ravel() for array in arrays])
        place = np.concatenate([patch.place.ravel() for patch in where])
        found = [values[place == number] for number in range(PLACES)]
        quantiles = [np.quantile(v, LEVELS) if v.size else np.full(len(LEVELS), np.nan) for v in found]
        return np.stack(quantiles), np.array([v.size for v in found])


def hu(array: Array) -> Array:
    """(D, H, W) in network units → HU."""
    return network_to_hu(array)


def gradient_hu(array: Array) -> Array:
    """(D, H, W) in network units → how much HU change from a voxel to the next."""
    return np.asarray(np.sqrt(sum(np.square(part) for part in np.gradient(network_to_hu(array)))))


def bone_share(arrays: Sequence[Array], where: Sequence[FixedPatch]) -> float:
    """Share of the body's voxels that are bone."""
    inside = np.concatenate([array[patch.body] for array, patch in zip(arrays, where, strict=True)])
    return float((network_to_hu(inside) > BONE_HU).mean()) if inside.size else float("nan")
