"""Coverage, width and order of intervals, by tissue of the sCT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from benchmarks.uncertainty.cases import Case
from creps.inference.calibration import Calibration
from creps.metrics.tissues import tissue_classes

__all__ = ["by_confidence", "by_tissue", "narrowest"]

EVERY = 7
"""One voxel in this many counts for rank correlations."""

TENTHS = 10


def by_tissue(calibration: Calibration, cases: Sequence[Case]) -> dict[str, Any]:
    """For each tissue: what the intervals hold, how wide they are, and whether wide ones are where errors are.

    ``width_ratio`` is mean width over the constant width that holds the same share of the same voxels. ``narrowest``
    is the least that any interval could have that depends on tissue and spread alone, chosen with the truth known.
    """
    sct, spread, error = (
        np.concatenate([getattr(case, name) for case in cases]) for name in ("sct", "spread", "error")
    )
    width, _ = calibration.read(sct, spread)
    numbers, names = tissue_classes(sct)
    rows: dict[str, Any] = {}
    for number, name in names.items():
        own = numbers == number
        if not own.any():
            continue
        held = error[own] <= width[own]
        constant = float(np.quantile(error[own], held.mean()))
        order = np.argsort(spread[own])
        rows[name] = {
            "voxels": int(own.sum()),
            "coverage": round(float(held.mean()), 3),
            "mean_half_width_hu": round(float(width[own].mean()), 1),
            "width_ratio": round(float(width[own].mean()) / constant, 2),
            "narrowest_ratio": narrowest(spread[own], error[own]),
            "spearman": round(float(spearmanr(width[own][::EVERY], error[own][::EVERY])[0]), 2),
            "coverage_of_the_surest_tenth": round(float(held[order[: len(order) // TENTHS]].mean()), 3),
            "coverage_of_the_least_sure_tenth": round(float(held[order[-(len(order) // TENTHS) :]].mean()), 3),
        }
    return rows


def by_confidence(calibration: Calibration, cases: Sequence[Case]) -> dict[str, Any]:
    """Mean error in tenths of the half width, from the narrowest on, and whether it rises throughout."""
    sct, spread, error = (
        np.concatenate([getattr(case, name) for case in cases]) for name in ("sct", "spread", "error")
    )
    width, _ = calibration.read(sct, spread)
    parts = np.array_split(np.argsort(width, kind="stable"), TENTHS)
    means = [round(float(error[part].mean()), 1) for part in parts]
    return {"mae_hu": means, "rises": bool(np.all(np.diff(means) >= 0))}


def narrowest(spread: np.ndarray, error: np.ndarray, share: float = 0.9, levels: int = 30) -> float:
    """The least mean width over the constant one, for intervals that depend on the spread and hold `share` of all."""
    parts = np.array_split(np.argsort(spread, kind="stable"), levels)
    shares = np.linspace(0, 1, 201)
    widths = np.array([np.quantile(error[part], shares) for part in parts])
    counts = np.array([len(part) for part in parts])
    low, high = 0.0, float(widths.max()) * 400
    for _ in range(60):
        price = (low + high) / 2
        chosen = np.argmin(widths - price * shares, axis=1)
        low, high = (low, price) if counts @ shares[chosen] >= share * counts.sum() else (price, high)
    chosen = np.argmin(widths - high * shares, axis=1)
    mean = counts @ widths[np.arange(levels), chosen] / counts.sum()
    return round(float(mean / np.quantile(error, counts @ shares[chosen] / counts.sum())), 2)
