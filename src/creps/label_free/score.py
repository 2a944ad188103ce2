"""Comparisons that need no pairs: HU by place in the body, and the agreement of overlapping patches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from creps import hu
from creps.label_free.patches import PLACES, FixedPatch
from creps.preprocessing.intensity import network_to_hu
from creps.volume import Array

__all__ = ["ByPlace", "Score", "combined"]

LEVELS = np.linspace(0.0025, 0.9975, 200)
"""Quantiles that represent a distribution in the 1-D Wasserstein distance."""

FEWEST = 50
"""A place with fewer voxels than this, in sCTs or CTs, is left out."""

BLANK, BLANK_HU = 0.3, 1000.0
"""An sCT whose HU vary less than this share of the CTs' is useless: its score gets this penalty in HU."""


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
        """Mean over the body's voxels of the 1-D Wasserstein distance in their place; NaN if no place can be compared.

        Args:
            scts: sCT patches (D, H, W) in network units.
            mrs: The MR patches they were made from.
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


class Score:
    """The label-free score of sCTs of fixed patches, with its parts.

    Args:
        mrs: Patches of the MRs that the sCTs are made from.
        cts: Patches of the CTs of other patients.
    """

    def __init__(self, mrs: Sequence[FixedPatch], cts: Sequence[FixedPatch]) -> None:
        self.mrs, self.distance = mrs, ByPlace(network_to_hu, cts)
        inside = _in_body([ct.array for ct in cts], cts)
        self.ct_bone, self.ct_spread = _bone_share(inside), float(inside.std()) if inside.size else 0.0

    def __call__(self, scts: Sequence[Array], shifted: Sequence[Array]) -> dict[str, float]:
        """Score and parts, in HU or as a ratio to the CTs; NaN for a part that cannot be computed.

        Args:
            scts: sCTs of the MRs' patches, (D, H, W) in network units.
            shifted: sCTs of the patches that overlap them.
        """
        distance, disagreement = self.distance(scts, self.mrs), self._disagreement(scts, shifted)
        inside = _in_body(scts, self.mrs)
        spread = float(inside.std()) / self.ct_spread if self.ct_spread else math.nan
        return {
            "validation_score": combined(distance, disagreement, spread),
            "place_distance_hu": distance,
            "disagreement_hu": disagreement,
            "bone_ratio": _bone_share(inside) / self.ct_bone if self.ct_bone else math.nan,
            "spread_ratio": spread,
        }

    def _disagreement(self, scts: Sequence[Array], shifted: Sequence[Array]) -> float:
        """Mean absolute difference, in the body, of two overlapping predictions of one voxel."""
        parts = []
        for sct, other, mr in zip(scts, shifted, self.mrs, strict=True):
            here, there = mr.common
            if any(mr.shift):
                parts.append(network_to_hu(np.abs(sct[here] - other[there]))[mr.body[here]])
        values = np.concatenate(parts) if parts else np.empty(0)
        return float(values.mean()) if values.size else math.nan


def combined(distance: float, disagreement: float, spread_ratio: float) -> float:
    """The score in HU from its parts; a missing disagreement (patches as large as the volume) adds nothing."""
    score = distance + (0.0 if math.isnan(disagreement) else disagreement)
    return score + BLANK_HU if spread_ratio < BLANK else score


def _in_body(arrays: Sequence[Array], where: Sequence[FixedPatch]) -> Array:
    return network_to_hu(np.concatenate([array[patch.body] for array, patch in zip(arrays, where, strict=True)]))


def _bone_share(values_hu: Array) -> float:
    return float((values_hu > hu.BONE_SHARE_ABOVE).mean()) if values_hu.size else math.nan
