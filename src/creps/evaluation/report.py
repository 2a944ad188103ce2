"""Evaluations as tables: CSV with a row per case, and text for the terminal."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from creps.evaluation.definitions import metric
from creps.evaluation.results import CohortEvaluation, Comparison, metric_names
from creps.io.atomic import atomic_file
from creps.provenance import NOTICE

__all__ = ["comparison_table", "table", "write_csv"]

ALIGNMENTS = {
    "same grid": "on the same grid",
    "resampled": "the CT resampled onto the sCT's grid",
    "rigidly registered": "AFTER RIGID REGISTRATION of the CT to the sCT, which hides position errors",
}


def write_csv(path: Path, result: CohortEvaluation) -> None:
    """Write a row per case; the columns after ``missing`` are metrics, empty where there is no value."""
    names = metric_names(result.cases.values())
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["case", "alignment", "mask", "missing", *names])
        for name, case in result.cases.items():
            values = [case.values.get(metric_name) for metric_name in names]
            described = [case.record["alignment"]["kind"], case.record["mask"]["source"], len(case.missing)]
            rows.writerow([name, *described, *("" if value is None else repr(value) for value in values)])


def table(result: CohortEvaluation) -> str:
    """Return the metrics of one case, or the summary of several, and the comparison, as text."""
    lines = [_title(result), ""]
    if len(result.cases) == 1:
        (case,) = result.cases.values()
        for name, value in case.values.items():
            shown = f"{_number(name, value):>10}  {metric(name).unit:<2}"
            lines.append(f"{metric(name).label:<32}{shown}  {case.missing.get(name, '')}".rstrip())
    else:
        width = 2 * len(str(len(result.cases))) + len(" of ")
        lines.append(f"{'':<32}{'':<4}{'mean':>9}{'sd':>9}{'median':>9}   {'95 % interval':<18}{'n':>{width}}  worst")
        for name, row in result.summary().items():
            numbers = "".join(f"{_number(name, row[key]):>9}" for key in ("mean", "sd", "median"))
            worst = "" if row["worst"] is None else f"{_number(name, row['worst']['value'])} ({row['worst']['case']})"
            head = f"{metric(name).label:<32}{metric(name).unit:<4}{numbers}"
            count = f"{row['n']} of {row['n'] + row['missing']}" if row["missing"] else f"{row['n']}"
            lines.append(f"{head}   {_interval(name, row['ci95']):<18}{count:>{width}}  {worst}".rstrip())
    cases_of: dict[str, list[str]] = {}
    for name, case in result.cases.items():
        for note in case.record["notes"]:
            cases_of.setdefault(note, []).append(name)
    several = len(result.cases) > 1
    notes = [f"{cases[0]}: {note}" if several and len(cases) == 1 else note for note, cases in cases_of.items()]
    text = "\n".join([*lines, "", *notes, NOTICE])
    return text if result.comparison is None else f"{text}\n\n{comparison_table(result.comparison)}"


def comparison_table(comparison: Comparison) -> str:
    """Return the metrics of two models side by side as text."""
    patients = len(comparison.patients)
    width = 2 * len(str(patients)) + len(" of ")
    lines = [
        f"Paired comparison, {patients} patients; difference = first - second (--against)",
        "",
        f"{'':<32}{'':<4}{'first':>9}{'second':>9}{'diff.':>9}   {'95 % interval':<18}{'n':>{width}}{'p':>8}",
    ]
    for name, row in comparison.metrics.items():
        numbers = "".join(f"{_number(name, row[key]):>9}" for key in ("mean_first", "mean_second", "mean_difference"))
        p_value = "-" if row["p_value"] is None else f"{row['p_value']:.4f}"
        head = f"{metric(name).label:<32}{metric(name).unit:<4}{numbers}"
        count = f"{row['patients']}" if row["patients"] == patients else f"{row['patients']} of {patients}"
        lines.append(f"{head}   {_interval(name, row['ci95']):<18}{count:>{width}}{p_value:>8}")
    lines += ["", "p: Wilcoxon's signed-rank test, two-sided; not corrected for multiple comparisons."]
    fewest = 2 / 2 ** max(1, patients)
    if patients and fewest > 0.05:
        lines.append(f"With so few patients, no p-value can be below {fewest:.2g}.")
    lines += [f"not compared: {case} {reason}" for case, reason in comparison.left_out.items()]
    return "\n".join(lines)


def _title(result: CohortEvaluation) -> str:
    kinds = sorted({case.record["alignment"]["kind"] for case in result.cases.values()})
    how = "; ".join(ALIGNMENTS.get(kind, kind) for kind in kinds)
    masks: dict[str, int] = {}
    for case in result.cases.values():
        masks[case.record["mask"]["source"]] = masks.get(case.record["mask"]["source"], 0) + 1
    inside = ", ".join(source if len(masks) == 1 else f"{source} ({count})" for source, count in masks.items())
    cases = next(iter(result.cases)) if len(result.cases) == 1 else f"{len(result.cases)} cases"
    return f"{cases}: {how}; mask: {inside}"


def _interval(name: str, interval: Mapping[str, Any] | None) -> str:
    return "-" if interval is None else f"{_number(name, interval['low'])} to {_number(name, interval['high'])}"


def _number(name: str, value: float | None) -> str:
    decimals = {"HU": 1, "dB": 2, "mm": 2}.get(metric(name).unit, 4)
    return "-" if value is None else f"{value:.{decimals}f}"
