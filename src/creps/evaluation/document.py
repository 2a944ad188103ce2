"""Evaluations as JSON: written, and read again for a comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from creps.errors import InputError
from creps.evaluation.definitions import definitions
from creps.evaluation.results import CohortEvaluation, Evaluation
from creps.io.documents import read_json
from creps.provenance import provenance

__all__ = ["document", "read_document"]

SCHEMA = 1

RECORDED = ("inputs", "grid", "alignment", "not_covered", "mask", "tissues", "structures", "notes", "seconds")
"""What each case of the document holds of its record."""


def document(result: CohortEvaluation) -> dict[str, Any]:
    """Return everything as plain JSON values, without any path.

    Args:
        result: The cohort's metrics.

    Returns:
        Versions, summary, cases, failures and, if there is one, the comparison.
    """
    summary = result.summary()
    content: dict[str, Any] = {
        "schema": SCHEMA,
        **provenance(),
        "asked": result.asked,
        "alignment": sorted({case.record["alignment"]["kind"] for case in result.cases.values()}),
        "summary": summary,
        "cases": [
            {"case": name, "values": case.values, "missing": case.missing} | {key: case.record[key] for key in RECORDED}
            for name, case in result.cases.items()
        ],
        "failures": [{"case": n, "reason": e.what, "remedy": e.remedy} for n, e in result.failed.items()],
        "without_ct": list(result.without_ct),
        "without_sct": list(result.without_sct),
    }
    if result.comparison is not None:
        content["comparison"] = {
            "difference": "first - second; the second is the model given with --against",
            "patients": list(result.comparison.patients),
            "left_out": result.comparison.left_out,
            "metrics": result.comparison.metrics,
        }
    return {**content, "definitions": definitions(list(summary))}


def read_document(path: Path) -> dict[str, Evaluation]:
    """Read the cases of an earlier evaluation.

    Raises:
        InputError: the file cannot be read, is not an evaluation, or was changed so that it cannot be compared.
    """
    remedy = "Give a file that creps evaluate --json wrote, or a folder of synthetic CTs."
    found: dict[str, Evaluation] = {}
    try:
        content = read_json(path)
        if content["schema"] != SCHEMA:
            raise InputError(f"{path} was written by another version of creps.", "Evaluate again, or give the folder.")
        for case in content["cases"]:
            if case["case"] in found:
                raise InputError(f"{path} holds the case '{case['case']}' twice.", remedy)
            found[case["case"]] = _read_case(case)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise InputError(f"{path} is not the JSON of an evaluation.", remedy) from error
    return found


def _read_case(case: Mapping[str, Any]) -> Evaluation:
    """One case of the JSON.

    Raises:
        KeyError, TypeError, ValueError: it is not what `document` writes.
    """
    record = {key: value for key, value in case.items() if key not in ("case", "values", "missing")}
    for name in ("inputs", "alignment", "tissues"):
        if not isinstance(record.get(name, {}), dict):
            raise TypeError(f"{name} is not a table")
    if not isinstance(case["case"], str) or not all(isinstance(one, dict) for one in record.get("inputs", {}).values()):
        raise TypeError("a case without a name, or an input that is not a table")
    return Evaluation({name: _value(value) for name, value in case["values"].items()}, dict(case["missing"]), record)


def _value(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{value!r} is not a number")
    if not (abs(value) < math.inf):
        raise ValueError(f"{value} is not finite")
    return float(value)
