"""The predicted MAE of cases and slices against the true one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from benchmarks.uncertainty.cases import Case
from creps.inference.calibration import Calibration

__all__ = ["agreement", "of_cases", "of_slices"]

FEWEST = 200
"""Voxels of the body in a slice that counts."""


def of_cases(calibration: Calibration, cases: Sequence[Case]) -> list[dict[str, Any]]:
    """A row for each case: predicted and true MAE in HU."""
    rows = []
    for case in cases:
        _, expected = calibration.read(case.sct, case.spread)
        rows.append(
            {
                "case": case.name,
                "predicted_hu": round(float(expected.mean()), 2),
                "true_hu": round(float(case.error.mean()), 2),
            }
        )
    return rows


def of_slices(calibration: Calibration, cases: Sequence[Case]) -> dict[str, float]:
    """Agreement over all slices, and the median over cases of the rank correlation within one."""
    rows, within = [], []
    for case in cases:
        _, expected = calibration.read(case.sct, case.spread)
        counts, predicted, true = (np.bincount(case.slices, weights) for weights in (None, expected, case.error))
        enough = counts >= FEWEST
        of_case = [
            {"predicted_hu": p / n, "true_hu": t / n}
            for p, t, n in zip(predicted[enough], true[enough], counts[enough], strict=True)
        ]
        rows += of_case
        within.append(agreement(of_case)["spearman"])
    return agreement(rows) | {"median_spearman_within_a_case": round(float(np.median(within)), 2)}


def agreement(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Rank correlation, and the median of |predicted - true| / true."""
    predicted, true = (np.array([row[key] for row in rows]) for key in ("predicted_hu", "true_hu"))
    return {
        "cases": len(rows),
        "spearman": round(float(spearmanr(predicted, true)[0]), 2),
        "median_relative_error": round(float(np.median(np.abs(predicted - true) / true)), 3),
    }
