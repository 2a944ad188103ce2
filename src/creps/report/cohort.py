"""The report of a cohort: distributions, the worst cases first, and two models compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from creps.evaluation.definitions import metric
from creps.evaluation.results import Comparison, Evaluation
from creps.provenance import provenance
from creps.qa.document import Level
from creps.report import charts
from creps.report.document import Finding, KeyFigure, Report, counted
from creps.report.page import check_page, figure, render, write_page

__all__ = ["CohortCase", "CohortParts", "evaluated_cases", "worst_first", "write_cohort"]

SHOWN = ("mae_hu", "bias_hu", "bone_dice", "bone_hd95_mm", "body_hd95_mm")
"""Metrics of the table and the charts."""

EXPECTED = "expected_mae_hu"
"""Of an sCT without a CT: the MAE that its uncertainty lets expect."""

LABELS = {EXPECTED: ("expected error", "HU")}

RANK: dict[str, int] = {"fail": 0, "warn": 1, "not checked": 2, "pass": 3}

LIMITS = (
    "Means hide single patients: look at the worst cases first.",
    "P-values are not corrected for the number of metrics.",
)


@dataclass(frozen=True)
class CohortCase:
    """One case of a cohort.

    Attributes:
        name: Its name; shown only if asked for.
        values: Metric → value.
        result: Of its checks.
        notes: Sentences about it.
        page: Its own report, relative to the cohort's page; empty without one.
    """

    name: str
    values: Mapping[str, float | None] = field(default_factory=dict)
    result: Level = "not checked"
    notes: tuple[str, ...] = ()
    page: str = ""


@dataclass(frozen=True)
class CohortParts:
    """What a cohort report is made of.

    Attributes:
        cases: All cases.
        other: Cases of the model to compare with.
        comparison: The paired comparison, if there is one.
        unscored: Sentences about cases that are not among `cases`.
    """

    cases: tuple[CohortCase, ...]
    other: tuple[CohortCase, ...] = ()
    comparison: Comparison | None = None
    unscored: tuple[str, ...] = ()


def evaluated_cases(cases: Mapping[str, Evaluation], *, names: bool) -> tuple[CohortCase, ...]:
    """The cases of an evaluation.

    Args:
        cases: Name → metrics.
        names: Whether notes that may name files are shown; how CT and sCT were aligned always is.
    """
    return tuple(CohortCase(name, one.values, notes=tuple(_notes(one, names=names))) for name, one in cases.items())


def _notes(one: Evaluation, *, names: bool) -> Iterator[str]:
    kind = one.record.get("alignment", {}).get("kind", "same grid")
    if kind != "same grid":
        yield f"CT {kind}."
    notes = one.record.get("notes")
    if names and isinstance(notes, list):
        yield from (str(note) for note in notes)


def worst_first(cases: Sequence[CohortCase]) -> list[CohortCase]:
    """By their checks, then by error: measured, or else expected; cases without either come first."""

    def order(one: CohortCase) -> tuple[int, float]:
        error = next((v for key in ("mae_hu", EXPECTED) if (v := one.values.get(key)) is not None), None)
        return RANK[one.result], -float("inf") if error is None else -error

    return sorted(cases, key=order)


def write_cohort(
    parts: CohortParts, page: Path, *, title: str = "", names: bool = False, overwrite: bool = False
) -> Report:
    """Write the report of a cohort: an HTML page and its JSON.

    Args:
        parts: Cases, the other model, the comparison.
        page: Where, ending with .html.
        title: Its heading.
        names: Show the names of the cases; else they are numbered, the worst first.
        overwrite: Replace an earlier report.

    Returns:
        What the report says.

    Raises:
        OutputExistsError: something is there and may not be replaced.
        InputError: the place cannot be written to.
    """
    check_page(page, overwrite=overwrite)
    ordered = worst_first(parts.cases)
    if not names:
        ordered = [replace(one, name=f"case {number}") for number, one in enumerate(ordered, start=1)]
    columns = [key for key in (*SHOWN, EXPECTED) if any(one.values.get(key) is not None for one in ordered)]
    report = _report(parts, ordered, columns, title)
    html = render(
        report,
        "cohort",
        charts=list(_charts(ordered, parts.other, columns)),
        columns=[_label(key) for key in columns],
        rows=[_row(one, columns) for one in ordered],
        comparison=None if parts.comparison is None else list(_compared(parts.comparison)),
        patients=0 if parts.comparison is None else len(parts.comparison.patients),
    )
    write_page(page, report, html)
    return report


def _report(parts: CohortParts, cases: Sequence[CohortCase], columns: Sequence[str], title: str) -> Report:
    worst: Level = min(cases, key=lambda one: RANK[one.result]).result if cases else "not checked"
    if parts.unscored and worst != "fail":
        worst = "warn"
    checked = [one for one in cases if one.result != "not checked"]
    headline = f"{len(cases)} {'case' if len(cases) == 1 else 'cases'}."
    if checked:
        headline += f" Of {len(checked)} with QA, {counted(one.result for one in cases) or 'none fails or warns'}."
    return Report(
        kind="cohort",
        title=title or f"Cohort of {len(cases)} synthetic CTs",
        result=worst,
        headline=headline,
        findings=tuple(Finding(level="warn", text=one) for one in parts.unscored),
        figures=tuple(_figures(cases, columns)),
        limits=LIMITS,
        content={
            "cases": [{"case": one.name, "values": dict(one.values), "result": one.result} for one in cases],
            "comparison": None if parts.comparison is None else parts.comparison.metrics,
        },
        provenance=provenance(),
    )


def _figures(cases: Sequence[CohortCase], columns: Sequence[str]) -> Iterator[KeyFigure]:
    for key in columns:
        values = [value for one in cases if (value := one.values.get(key)) is not None]
        label, unit = _name(key)
        middle = median(values)
        spread = f"{figure(min(values))} to {figure(max(values))}, mean {figure(sum(values) / len(values))}"
        yield KeyFigure(label=f"{label}, median", value=f"{figure(middle)} {unit}".strip(), note=spread)


def _name(key: str) -> tuple[str, str]:
    if key in LABELS:
        return LABELS[key]
    about = metric(key)
    return about.label, about.unit


def _label(key: str) -> str:
    label, unit = _name(key)
    return f"{label}, {unit}" if unit else label


def _charts(cases: Sequence[CohortCase], others: Sequence[CohortCase], columns: Sequence[str]) -> Iterator[str]:
    for key in columns:
        groups = {
            name: values
            for name, group in (("this model", cases), ("other model", others))
            if (values := [float(v) for one in group if (v := one.values.get(key)) is not None])
        }
        if len({value for values in groups.values() for value in values}) > 1:
            yield charts.dots(groups if others else {"": next(iter(groups.values()))}, _label(key))


def _row(one: CohortCase, columns: Sequence[str]) -> dict[str, Any]:
    return {
        "name": one.name,
        "page": one.page,
        "result": one.result,
        "values": [one.values.get(key) for key in columns],
        "notes": " ".join(one.notes),
    }


def _compared(comparison: Comparison) -> Iterator[list[Any]]:
    for name, row in comparison.metrics.items():
        interval = row.get("ci95") or {}
        ends = [interval.get(key) for key in ("low", "high")] if isinstance(interval, dict) else [None, None]
        shown = "–" if None in ends else f"{figure(ends[0])} to {figure(ends[1])}"
        values = [row.get(key) for key in ("mean_first", "mean_second", "mean_difference")]
        yield [_label(name), *values, shown, row.get("patients"), row.get("p_value")]
