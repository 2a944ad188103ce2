"""What a few patients say about all: confidence intervals, and two models on the same patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

__all__ = ["Interval", "PairedComparison", "bootstrap_interval", "paired_comparison"]

CONFIDENCE = 0.95
RESAMPLES = 9999
FEWEST = 3
"""Fewer patients than this say nothing about how they scatter."""

ENUMERABLE = 13
"""Up to so many pairs every assignment of signs is counted, so that ties are exact too."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval of a mean.

    Attributes:
        low: Lower end.
        high: Upper end.
        method: How it was found.
    """

    low: float
    high: float
    method: str


@dataclass(frozen=True)
class PairedComparison:
    """Two models on the same patients.

    Attributes:
        patients: How many have both values.
        mean_difference: Mean of first - second.
        interval: Its confidence interval; None with fewer than three patients.
        p_value: Two-sided, of Wilcoxon's signed-rank test; None if no patient differs.
        test: How the p-value was found.
    """

    patients: int
    mean_difference: float
    interval: Interval | None
    p_value: float | None
    test: str


def bootstrap_interval(values: Sequence[float], *, confidence: float = CONFIDENCE, seed: int = 0) -> Interval:
    """Confidence interval of the mean over patients: bootstrap, bias-corrected and accelerated (Efron 1987).

    With few patients (below about ten) such intervals are too narrow.

    Args:
        values: One per patient.
        confidence: Such as 0.95.
        seed: Of the resampling; the same values have the same interval.

    Raises:
        ValueError: fewer than three values, or one that is not finite.
    """
    array = _checked(values)
    if len(array) < FEWEST:
        raise ValueError(f"an interval needs at least {FEWEST} patients, there are {len(array)}")
    if np.ptp(array) == 0:
        return Interval(float(array[0]), float(array[0]), "all values are equal")
    for method in ("BCa", "percentile"):
        with np.errstate(invalid="ignore", divide="ignore"):
            found = stats.bootstrap(
                (array,),
                np.mean,
                n_resamples=RESAMPLES,
                confidence_level=confidence,
                method=method,
                vectorized=True,
                batch=1000,
                rng=np.random.default_rng(seed),
            ).confidence_interval
        if np.isfinite([found.low, found.high]).all():
            break
    return Interval(float(found.low), float(found.high), f"bootstrap, {method}")


def paired_comparison(first: Sequence[float], second: Sequence[float], *, seed: int = 0) -> PairedComparison:
    """Compare two models on the same patients.

    Wilcoxon's signed-rank test (two-sided, patients without a difference left out), exact: by its distribution, or by
    counting every assignment of signs where differences are tied. With n differences no p-value is below 2 / 2ⁿ.

    Args:
        first: One value per patient.
        second: Those of the other model, in the same order.
        seed: Of the interval's resampling.

    Raises:
        ValueError: other lengths, no patient, or a value that is not finite.
    """
    a, b = _checked(first), _checked(second)
    if len(a) != len(b):
        raise ValueError(f"{len(a)} values cannot be paired with {len(b)}")
    difference = a - b
    interval = bootstrap_interval(difference.tolist(), seed=seed) if len(a) >= FEWEST else None
    p_value, test = _signed_rank(difference[difference != 0])
    return PairedComparison(len(a), float(difference.mean()), interval, p_value, test)


def _signed_rank(difference: npt.NDArray[np.float64]) -> tuple[float | None, str]:
    if len(difference) == 0:
        return None, "no patient differs"
    tied = len(np.unique(np.abs(difference))) < len(difference)
    if not tied:
        return float(stats.wilcoxon(difference, method="exact").pvalue), "Wilcoxon signed rank, exact"
    if len(difference) <= ENUMERABLE:
        return _by_counting(difference), "Wilcoxon signed rank, exact with ties"
    return float(stats.wilcoxon(difference, method="approx").pvalue), "Wilcoxon signed rank, approximate (ties)"


def _by_counting(difference: npt.NDArray[np.float64]) -> float:
    """The share of all assignments of signs whose rank sum is as far from the middle."""
    ranks = stats.rankdata(np.abs(difference))
    signs = (np.arange(2 ** len(ranks))[:, None] >> np.arange(len(ranks))) & 1
    middle = ranks.sum() / 2
    seen = abs(ranks[difference > 0].sum() - middle)
    return float((np.abs(signs @ ranks - middle) >= seen - 1e-9).mean())


def _checked(values: Sequence[float]) -> npt.NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if len(array) == 0 or not np.isfinite(array).all():
        raise ValueError("there is no patient" if len(array) == 0 else "a value is not finite")
    return array
