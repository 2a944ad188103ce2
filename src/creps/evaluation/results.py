"""What an evaluation returns: metrics of one pair, of a cohort, and of two models compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from creps.errors import CrepsError
from creps.evaluation.definitions import worst
from creps.metrics.statistics import bootstrap_interval

__all__ = ["CohortEvaluation", "Comparison", "Evaluation", "metric_names"]


@dataclass(frozen=True)
class Evaluation:
    """How a synthetic CT agrees with the true one.

    Attributes:
        values: Name of the metric → value; None where it cannot be computed.
        missing: Name → why its value is None.
        record: Inputs, grid, alignment, mask, classes, structures, notes, definitions, versions, as plain JSON values.
    """

    values: dict[str, float | None]
    missing: dict[str, str]
    record: dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """Two models on the same patients.

    Attributes:
        patients: Cases that both models have and that were scored in the same way; may be empty.
        metrics: Name → means of both, mean difference (first - second), interval, p-value, as plain JSON values.
        left_out: Case → why it is not compared.
        second: Case → metrics of the second model.
    """

    patients: tuple[str, ...]
    metrics: dict[str, dict[str, Any]]
    left_out: dict[str, str]
    second: Mapping[str, Evaluation] = field(default_factory=dict)


@dataclass(frozen=True)
class CohortEvaluation:
    """The metrics of a cohort.

    Attributes:
        cases: Case → metrics, of every case that could be scored.
        failed: Case → why it could not be scored; the messages name files, not their folders.
        without_ct: Cases with a synthetic CT only.
        without_sct: Cases with a true CT only.
        comparison: The comparison with another model, if one was requested.
        asked: What was requested, by the names of files and folders.
    """

    cases: dict[str, Evaluation]
    failed: dict[str, CrepsError]
    without_ct: tuple[str, ...] = ()
    without_sct: tuple[str, ...] = ()
    comparison: Comparison | None = None
    asked: dict[str, str | None] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every case was matched, scored and, if requested, compared."""
        unscored = self.failed or self.without_ct or self.without_sct
        return not (unscored or (self.comparison is not None and self.comparison.left_out))

    def summary(self) -> dict[str, dict[str, Any]]:
        """Summarize each metric over the patients.

        Returns:
            Name → count, mean, sample standard deviation, median, worst case and 95 % confidence interval of the mean,
            as plain JSON values; None where a value cannot be computed.
        """
        found = {}
        for name in metric_names(self.cases.values()):
            values = {case: value for case, one in self.cases.items() if (value := one.values.get(name)) is not None}
            found[name] = {"n": len(values), "missing": len(self.cases) - len(values), **_statistics(name, values)}
        return found


def metric_names(evaluations: Iterable[Evaluation]) -> list[str]:
    """Return the name of every metric, in the order of the first evaluation that has it."""
    return list(dict.fromkeys(name for one in evaluations for name in one.values))


def _statistics(name: str, values: dict[str, float]) -> dict[str, Any]:
    empty: dict[str, Any] = dict.fromkeys(("mean", "sd", "median", "worst", "ci95"))
    if not values:
        return empty | {"ci95_missing": "no case has a value"}
    array = np.array(list(values.values()))
    case = worst(name, values)
    found = empty | {
        "mean": float(array.mean()),
        "sd": float(array.std(ddof=1)) if len(array) > 1 else None,
        "median": float(np.median(array)),
        "worst": {"case": case, "value": values[case]},
    }
    try:
        found["ci95"] = asdict(bootstrap_interval(array.tolist()))
    except ValueError as error:
        found["ci95_missing"] = str(error)
    return found
