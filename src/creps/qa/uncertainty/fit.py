"""Fit a calibration: half widths and mean errors by tissue and spread, from sCTs whose true CT is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression

from creps.inference.calibration import ClassCalibration
from creps.metrics.tissues import tissue_classes
from creps.volume import Array, Mask

__all__ = ["CONFIDENCE", "Sample", "fit_class", "fit_classes", "sample_of"]

CONFIDENCE = 0.9
"""Share of true values that intervals are to hold."""

MOST_MISSES = 2.0
"""At each level of spread, misses are at most this many times those stated for the tissue.

The narrowest mean interval that holds 90 % of a tissue misses half of the unsure voxels. One that holds 90 % at every
level of spread is wider on average than a constant one. This is between the two."""

LEVELS = 24
"""Levels of spread, with equal numbers of voxels."""

CANDIDATES = 240
"""Half widths that are tried at each level: quantiles of the error there."""

FEWEST_VOXELS = 2000
"""A tissue with fewer voxels takes the calibration of all tissues together."""

VOXELS_PER_CASE = 40_000
"""At most this many voxels of a tissue from each case: people count alike, and memory stays small."""

HALVINGS = 60

Values = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Sample:
    """Voxels of one case.

    Attributes:
        classes: (N,) number of the tissue of the sCT.
        spread_hu: (N,) spread.
        error_hu: (N,) absolute error of the sCT.
    """

    classes: npt.NDArray[np.integer]
    spread_hu: Values
    error_hu: Values


def sample_of(sct_hu: Array, spread_hu: Array, ct_hu: Array, body: Mask, seed: Sequence[int]) -> Sample:
    """Draw voxels of a case, at most `VOXELS_PER_CASE` of each tissue.

    Args:
        sct_hu: (D, H, W).
        spread_hu: (D, H, W).
        ct_hu: (D, H, W) true CT.
        body: (D, H, W) voxels that count.
        seed: Of the draw.

    Raises:
        ValueError: no voxel counts.
    """
    counted = body & (spread_hu > 0)
    if not counted.any():
        raise ValueError("no voxel of the body has a spread")
    numbers, names = tissue_classes(sct_hu[counted])
    rng, kept = np.random.default_rng(list(seed)), []
    for number in names:
        own = np.flatnonzero(numbers == number)
        kept.append(rng.choice(own, min(len(own), VOXELS_PER_CASE), replace=False))
    places = np.sort(np.concatenate(kept))
    error = np.abs(sct_hu[counted][places] - ct_hu[counted][places])
    return Sample(numbers[places], spread_hu[counted][places], error)


def fit_classes(samples: Sequence[Sample]) -> dict[str, ClassCalibration]:
    """Fit every tissue, for intervals that hold `CONFIDENCE` of the true values.

    Args:
        samples: One for each case.

    Returns:
        Tissue → its calibration; of a tissue with fewer than `FEWEST_VOXELS`, that of all together.
    """
    classes, spread, error = (
        np.concatenate([getattr(sample, name) for sample in samples]) for name in ("classes", "spread_hu", "error_hu")
    )
    together = fit_class(spread, error).model_copy(update={"voxels": 0})
    fitted = {}
    for number, name in tissue_classes(np.zeros(1))[1].items():
        own = classes == number
        enough = np.count_nonzero(own) >= FEWEST_VOXELS
        fitted[name] = fit_class(spread[own], error[own]) if enough else together
    return fitted


def fit_class(spread_hu: Values, error_hu: Values, confidence: float = CONFIDENCE) -> ClassCalibration:
    """Fit one tissue: the narrowest mean interval that holds `confidence` of the true values.

    At each level of spread it holds at least 1 - `MOST_MISSES` * (1 - confidence), and it never narrows as the spread
    rises. At last all widths are scaled so that the share is met exactly in these voxels (split conformal prediction
    with the score error / width; Angelopoulos & Bates 2023, section 2.3.2).

    Args:
        spread_hu: (N,) spread.
        error_hu: (N,) absolute error.
        confidence: As stated.

    Returns:
        At most `LEVELS` levels.

    Raises:
        ValueError: there is no voxel.
    """
    if not len(spread_hu):
        raise ValueError("there is no voxel to calibrate with")
    order = np.argsort(spread_hu, kind="stable")
    parts = [part for part in np.array_split(order, LEVELS) if len(part)]
    levels, parts = _distinct(np.array([np.median(spread_hu[part]) for part in parts]), parts)
    counts = np.array([len(part) for part in parts], float)
    widths = isotonic_regression(_narrowest([error_hu[part] for part in parts], confidence), weights=counts).x
    errors = isotonic_regression(np.array([error_hu[part].mean() for part in parts]), weights=counts).x
    fitted = ClassCalibration(
        voxels=len(order), spread_hu=tuple(levels), half_width_hu=tuple(widths), error_hu=tuple(errors)
    )
    width, _ = fitted.read(spread_hu.astype(np.float32))
    scale = _conformal_quantile(error_hu / np.maximum(width, 1e-6), confidence)
    return ClassCalibration(
        voxels=len(order),
        spread_hu=_rounded(levels, 3),
        half_width_hu=_rounded(widths * scale, 2),
        error_hu=_rounded(errors, 2),
    )


def _narrowest(errors: Sequence[Values], confidence: float) -> Values:
    """Half width of each level: least mean width for the required share over all levels, a least share in each.

    Minimises mean width - price * share; the price is found by bisection.
    """
    shares = np.linspace(max(0.0, 1 - MOST_MISSES * (1 - confidence)), 1.0, CANDIDATES)
    counts = np.array([len(error) for error in errors], float)
    widths = np.array([np.quantile(error, shares) for error in errors])
    low, high = 0.0, float(widths.max()) * CANDIDATES + 1
    for _ in range(HALVINGS):
        price = (low + high) / 2
        chosen = np.argmin(widths - price * shares, axis=1)
        low, high = (low, price) if counts @ shares[chosen] >= confidence * counts.sum() else (price, high)
    chosen = np.argmin(widths - high * shares, axis=1)
    return widths[np.arange(len(errors)), chosen]


def _conformal_quantile(scores: Values, confidence: float) -> float:
    """The ceil((n + 1) confidence)-th smallest score (Angelopoulos & Bates 2023, section 1)."""
    rank = min(len(scores), int(np.ceil((len(scores) + 1) * confidence)))
    return float(np.partition(scores, rank - 1)[rank - 1])


def _distinct(levels: Values, parts: list[npt.NDArray[np.intp]]) -> tuple[Values, list[npt.NDArray[np.intp]]]:
    """Join levels that are the same once rounded."""
    joined: dict[float, list[npt.NDArray[np.intp]]] = {}
    for level, part in zip(levels, parts, strict=True):
        joined.setdefault(round(float(level), 3), []).append(part)
    return np.array(list(joined)), [np.concatenate(members) for members in joined.values()]


def _rounded(values: Values, digits: int) -> tuple[float, ...]:
    return tuple(round(float(value), digits) for value in values)
