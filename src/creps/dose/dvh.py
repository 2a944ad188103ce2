"""Dose–volume histograms and the figures read from them.

Each voxel counts with the share of it that belongs to the structure, so that a small organ on a coarse dose grid keeps
its volume.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from creps.volume import Array

__all__ = ["DvhValues", "conformity", "curve", "dvh_values", "synthrad_dvh"]

EPSILON = 1e-12

ISODOSE = 0.95
"""Of the prescription; the isodose that conformity compares with the target."""

ORGANS = 3
"""SynthRAD2023 takes the organs with the highest (D5 + Dmean) / 2 on the CT."""

Dose = npt.NDArray[np.floating]


@dataclass(frozen=True)
class DvhValues:
    """Doses of one structure in Gy per fraction.

    Attributes:
        d98_gy: Dose that 98 % of the volume receives at least.
        d95_gy: The same of 95 %.
        d5_gy: The same of 5 %.
        d2_gy: The same of 2 %.
        mean_gy: Mean dose.
    """

    d98_gy: float
    d95_gy: float
    d5_gy: float
    d2_gy: float
    mean_gy: float

    def difference(self, other: DvhValues) -> dict[str, float]:
        """Each value of `other` minus that of this one."""
        own, its = asdict(self), asdict(other)
        return {name: its[name] - own[name] for name in own}


def dvh_values(dose_gy: Dose, share: Array) -> DvhValues:
    """Read the doses of one structure.

    Args:
        dose_gy: (D, H, W).
        share: (D, H, W) share of each voxel that belongs to the structure.

    Examples:
        >>> dvh_values(np.array([[[1.0, 2.0, 3.0, 4.0]]]), np.ones((1, 1, 4))).mean_gy
        2.5
    """
    inside = share > 0
    doses, weights = dose_gy[inside].astype(np.float64), share[inside].astype(np.float64)
    order = np.argsort(-doses)
    doses, volume = doses[order], np.cumsum(weights[order]) / weights.sum()
    at = {percent: float(np.interp(percent / 100, volume, doses)) for percent in (98, 95, 5, 2)}
    return DvhValues(at[98], at[95], at[5], at[2], float(np.average(doses, weights=weights[order])))


def curve(dose_gy: Dose, share: Array, levels_gy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Share of a structure's volume that receives at least each dose, from 1 to 0.

    Args:
        dose_gy: (D, H, W).
        share: (D, H, W) share of each voxel that belongs to the structure.
        levels_gy: (n,) rising.

    Examples:
        >>> curve(np.array([[[1.0, 3.0]]]), np.ones((1, 1, 2)), np.array([0.0, 2.0, 4.0])).tolist()
        [1.0, 0.5, 0.0]
    """
    inside = share > 0
    order = np.argsort(dose_gy[inside])
    doses = dose_gy[inside][order].astype(np.float64)
    below = np.concatenate([[0.0], np.cumsum(share[inside][order].astype(np.float64))])
    return np.asarray(1 - below[np.searchsorted(doses, levels_gy, side="left")] / below[-1])


def conformity(dose_gy: Dose, target: Array, prescription_gy: float) -> float:
    """Paddick's conformity index (J Neurosurg 2000;93 Suppl 3:219) of the 95 % isodose.

    Args:
        dose_gy: (D, H, W).
        target: (D, H, W) share of each voxel that belongs to the target.
        prescription_gy: The prescription.

    Returns:
        1 if the isodose is the target, 0 if it misses it.

    Examples:
        >>> conformity(np.array([[[2.0, 2.0, 0.1]]]), np.array([[[1.0, 0.0, 0.0]]]), 2.0)
        0.5
    """
    covered = dose_gy >= ISODOSE * prescription_gy
    both, whole, isodose = float(target[covered].sum()), float(target.sum()), float(covered.sum())
    return both**2 / (whole * isodose) if isodose else 0.0


def synthrad_dvh(
    values: Mapping[str, tuple[DvhValues, DvhValues]], target: str, conformities: tuple[float, float]
) -> float:
    """DVH metric of SynthRAD2023: the sum of relative differences.

    Of the target's D98 and conformity, and of the mean over the three organs with the highest (D5 + Dmean) / 2 on the
    CT: D2 and Dmean.

    Args:
        values: Structure → values on the CT and on the sCT.
        target: Name of the target.
        conformities: On the CT and on the sCT.

    Examples:
        >>> one = DvhValues(2.0, 2.0, 2.0, 2.0, 2.0)
        >>> synthrad_dvh({"PTV": (one, one)}, "PTV", (0.8, 0.6))
        0.25
    """
    organs = sorted(
        (pair for name, pair in values.items() if name != target),
        key=lambda pair: -(pair[0].d5_gy + pair[0].mean_gy) / 2,
    )[:ORGANS]
    total = _relative(values[target][0].d98_gy, values[target][1].d98_gy) + _relative(*conformities)
    for name in ("d2_gy", "mean_gy"):
        parts = [_relative(getattr(ct, name), getattr(sct, name)) for ct, sct in organs]
        total += float(np.mean(parts)) if parts else 0.0
    return round(total, 12)


def _relative(ct: float, sct: float) -> float:
    return abs(ct - sct) / (abs(ct) + EPSILON)
