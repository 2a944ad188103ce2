"""Statistics over patients: confidence intervals, and two models on the same patients."""

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
"""Fewest patients with a confidence interval."""

ENUMERABLE = 13
"""Up to this many pairs, p-values with ties are exact: every assignment of signs is counted."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval of a mean.

    Attributes:
        low: Lower end.
        high: Upper end.
        method: How it was computed.
    """

    low: float
    high: float
    method: str


@dataclass(frozen=True)
class PairedComparison:
    """Two models on the same patients.

    Attributes:
        patients: Number of patients.
        mean_difference: Mean of first - second.
        interval: The confidence interval of the mean difference; None with fewer than three patients.
        p_value: Two-sided p-value of Wilcoxon's signed-rank test; None if no patient differs.
        test: How the p-value was computed.
    """

    patients: int
    mean_difference: float
    interval: Interval | None
    p_value: float | None
    test: str


def bootstrap_interval(values: Sequence[float], *, confidence: float = CONFIDENCE, seed: int = 0) -> Interval:
    """Return a confidence interval of the mean over patients: bias-corrected and accelerated bootstrap (Efron 1987).

    With fewer than about ten patients such intervals are too narrow.

    Args:
        values: One per patient.
        confidence: Confidence level, such as 0.95.
        seed: Seed of the resampling; the same values give the same interval.

    Raises:
        ValueError: fewer than three values, or a value that is not finite.

    Examples:
        >>> interval = bootstrap_interval([61.0, 70.0, 66.0, 58.0, 75.0])
        >>> interval.low < 66 < interval.high
        True
        >>> interval.method
        'bootstrap, BCa'
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


def paired_comparison(first: Sequence[float], second: Sequence[float]) -> PairedComparison:
    """Compare two models on the same patients.

    The p-value is of Wilcoxon's signed-rank test (two-sided, without the patients that do not differ). It is exact:
    from the test's distribution, or, with ties and up to 13 differing patients, from every assignment of signs. With n
    differences no p-value is below 2 / 2ⁿ.

    Args:
        first: One value per patient.
        second: The other model's values, in the same order.

    Raises:
        ValueError: the lengths differ, there is no patient, or a value is not finite.

    Examples:
        >>> found = paired_comparison([60.0, 62.0, 64.0, 66.0, 68.0, 70.0], [61.0, 64.0, 67.0, 70.0, 73.0, 76.0])
        >>> found.mean_difference, found.p_value
        (-3.5, 0.03125)
    """
    a, b = _checked(first), _checked(second)
    if len(a) != len(b):
        raise ValueError(f"{len(a)} values cannot be paired with {len(b)}")
    difference = a - b
    interval = bootstrap_interval(difference.tolist()) if len(a) >= FEWEST else None
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
    """The fraction of all assignments of signs whose rank sum is at least as far from the middle.

    scipy's ``wilcoxon(method=PermutationMethod())`` gives the same values but takes 5 s for 13 pairs instead of 1 ms.
    """
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
