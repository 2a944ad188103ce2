"""Compare two models on the same patients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from creps.evaluation.results import Comparison, Evaluation, metric_names
from creps.metrics.statistics import paired_comparison

__all__ = ["compare"]


def compare(first: Mapping[str, Evaluation], second: Mapping[str, Evaluation]) -> Comparison:
    """Compare two models on the cases that both have and that were scored in the same way.

    Args:
        first: Case → metrics of the first model.
        second: Case → metrics of the second model.

    Returns:
        The paired comparison; differences are first - second.
    """
    left_out = {case: "was not scored for the other model" for case in first if case not in second}
    left_out |= {case: "was scored for the other model only" for case in second if case not in first}
    patients = []
    for case in (case for case in first if case in second):
        own, other = _basis(first[case]), _basis(second[case])
        differing = next((what for what in own if own[what] != other[what]), None)
        if differing is None:
            patients.append(case)
        else:
            left_out[case] = f"was scored with another {differing}"
    metrics = {}
    for name in metric_names([first[case] for case in patients]):
        pairs = [(first[case].values.get(name), second[case].values.get(name)) for case in patients]
        both = [(a, b) for a, b in pairs if a is not None and b is not None]
        if both:
            metrics[name] = _compared([a for a, _ in both], [b for _, b in both])
    return Comparison(tuple(patients), metrics, left_out, second)


def _basis(evaluation: Evaluation) -> dict[str, Any]:
    """What two evaluations of a case must share to be comparable."""
    inputs, tissues = evaluation.record.get("inputs", {}), evaluation.record.get("tissues", {})
    return {
        "CT": inputs.get("ct", {}).get("sha256"),
        "mask": inputs.get("mask", {}).get("sha256"),
        "grid": evaluation.record.get("grid"),
        "alignment": evaluation.record.get("alignment", {}).get("kind"),
        "label volume": inputs.get("labels", {}).get("sha256"),
        "table of tissues": tissues.get("numbers") or tissues.get("windows_hu"),
    }


def _compared(first: list[float], second: list[float]) -> dict[str, Any]:
    found = asdict(paired_comparison(first, second))
    found["ci95"] = found.pop("interval")
    return {"mean_first": float(np.mean(first)), "mean_second": float(np.mean(second)), **found}
