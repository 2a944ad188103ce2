"""Evaluations as JSON, as a table of cases, and as a table to read."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from creps.errors import InputError
from creps.evaluation.batch import CohortEvaluation, Comparison, ScoredCase, summary
from creps.evaluation.definitions import definitions, metric
from creps.io.atomic import atomic_file
from creps.provenance import NOTICE, provenance

__all__ = ["comparison_table", "document", "read_document", "table", "write_csv"]

SCHEMA = 1

ALIGNMENTS = {
    "same grid": "on one grid",
    "resampled": "the CT resampled onto the sCT's grid",
    "rigidly registered": "AFTER RIGID REGISTRATION of the CT to the sCT, which hides errors of position",
}


def document(result: CohortEvaluation, comparison: Comparison | None = None, **about: Any) -> dict[str, Any]:
    """Everything as plain JSON values, without a place on this machine.

    Args:
        result: The cases.
        comparison: With another model.
        **about: What was asked for: names of the folders, of the truth, options.
    """
    found = summary(result.cases)
    content: dict[str, Any] = {
        "schema": SCHEMA,
        **provenance(),
        **about,
        "alignment": sorted(_alignments(result.cases)),
        "summary": found,
        "cases": [
            {"case": name, "values": case.values, "missing": case.missing, **case.about}
            for name, case in result.cases.items()
        ],
        "failures": [{"case": n, "reason": e.what, "remedy": e.remedy} for n, e in result.failures.items()],
        "without_ct": list(result.without_ct),
        "without_sct": list(result.without_sct),
    }
    if comparison is not None:
        content["comparison"] = {
            "difference": "first - second; the second is the model given with --against",
            "patients": list(comparison.patients),
            "left_out": comparison.left_out,
            "metrics": comparison.metrics,
        }
    return {**content, "definitions": definitions(list(found))}


def read_document(path: Path) -> dict[str, ScoredCase]:
    """The cases of an earlier evaluation.

    Raises:
        InputError: the file cannot be read, is none, or was changed so that it cannot be compared.
    """
    remedy = "Give a file that creps evaluate --json wrote, or a folder of synthetic CTs."
    found: dict[str, ScoredCase] = {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise InputError(f"{path} was written by another version of creps.", "Evaluate again, or give the folder.")
        for case in content["cases"]:
            if case["case"] in found:
                raise InputError(f"{path} holds the case '{case['case']}' twice.", remedy)
            found[case["case"]] = _read_case(case)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise InputError(f"{path} is not the JSON of an evaluation.", remedy) from error
    return found


def _read_case(case: Mapping[str, Any]) -> ScoredCase:
    """One case of the JSON.

    Raises:
        KeyError, TypeError, ValueError: it is not what `document` writes.
    """
    about = {key: value for key, value in case.items() if key not in ("case", "values", "missing")}
    for name in ("inputs", "alignment", "tissues"):
        if not isinstance(about.get(name, {}), dict):
            raise TypeError(f"{name} is no table")
    if not isinstance(case["case"], str) or not all(isinstance(one, dict) for one in about.get("inputs", {}).values()):
        raise TypeError("a case without a name, or an input that is no table")
    return ScoredCase({name: _figure(value) for name, value in case["values"].items()}, dict(case["missing"]), about)


def _figure(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{value!r} is no figure")
    if not (abs(value) < math.inf):
        raise ValueError(f"{value} is not finite")
    return float(value)


def write_csv(path: Path, result: CohortEvaluation) -> None:
    """A row per case; the columns after ``missing`` are the flat names, empty where there is no value."""
    names = list(dict.fromkeys(name for case in result.cases.values() for name in case.values))
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["case", "alignment", "mask", "missing", *names])
        for name, case in result.cases.items():
            values = [case.values.get(metric_name) for metric_name in names]
            about = [case.about["alignment"]["kind"], case.about["mask"]["source"], len(case.missing)]
            rows.writerow([name, *about, *("" if value is None else repr(value) for value in values)])


def table(result: CohortEvaluation) -> str:
    """The figures of one case, or the summary of several, as text."""
    lines = [_title(result), ""]
    if len(result.cases) == 1:
        (case,) = result.cases.values()
        for name, value in case.values.items():
            shown = f"{_number(name, value):>10}  {metric(name).unit:<2}"
            lines.append(f"{metric(name).label:<32}{shown}  {case.missing.get(name, '')}".rstrip())
    else:
        width = 2 * len(str(len(result.cases))) + len(" of ")
        lines.append(f"{'':<32}{'':<4}{'mean':>9}{'sd':>9}{'median':>9}   {'95 % interval':<18}{'n':>{width}}  worst")
        for name, row in summary(result.cases).items():
            numbers = "".join(f"{_number(name, row[key]):>9}" for key in ("mean", "sd", "median"))
            worst = "" if row["worst"] is None else f"{_number(name, row['worst']['value'])} ({row['worst']['case']})"
            head = f"{metric(name).label:<32}{metric(name).unit:<4}{numbers}"
            count = f"{row['n']} of {row['n'] + row['missing']}" if row["missing"] else f"{row['n']}"
            lines.append(f"{head}   {_interval(name, row['ci95']):<18}{count:>{width}}  {worst}".rstrip())
    notes = {note: None for case in result.cases.values() for note in case.about["notes"]}
    return "\n".join([*lines, "", *notes, NOTICE])


def comparison_table(comparison: Comparison) -> str:
    """Two models beside each other as text."""
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
    lines += ["", "p: Wilcoxon's signed-rank test, two-sided; not corrected for the number of figures."]
    fewest = 2 / 2 ** max(1, patients)
    if patients and fewest > 0.05:
        lines.append(f"With so few patients no p-value can be below {fewest:.2g}.")
    lines += [f"not compared: {case} {reason}" for case, reason in comparison.left_out.items()]
    return "\n".join(lines)


def _title(result: CohortEvaluation) -> str:
    how = "; ".join(ALIGNMENTS.get(kind, kind) for kind in sorted(_alignments(result.cases)))
    masks: dict[str, int] = {}
    for case in result.cases.values():
        masks[case.about["mask"]["source"]] = masks.get(case.about["mask"]["source"], 0) + 1
    inside = ", ".join(source if len(masks) == 1 else f"{source} ({count})" for source, count in masks.items())
    cases = next(iter(result.cases)) if len(result.cases) == 1 else f"{len(result.cases)} cases"
    return f"{cases}: {how}; mask: {inside}"


def _alignments(cases: Mapping[str, ScoredCase]) -> set[str]:
    return {case.about["alignment"]["kind"] for case in cases.values()}


def _interval(name: str, interval: Mapping[str, Any] | None) -> str:
    return "-" if interval is None else f"{_number(name, interval['low'])} to {_number(name, interval['high'])}"


def _number(name: str, value: float | None) -> str:
    decimals = {"HU": 1, "dB": 2, "mm": 2}.get(metric(name).unit, 4)
    return "-" if value is None else f"{value:.{decimals}f}"
