"""The report of a training run: progress, curves, health, pictures over time; rewritten while the run continues."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from creps.errors import InputError
from creps.figures.curves import LOSSES, TIME, VALIDATION, averaged
from creps.provenance import provenance
from creps.qa.document import Level
from creps.report import charts
from creps.report.document import Finding, KeyFigure, Report
from creps.report.page import check_page, png_data, render, write_page
from creps.report.reading import RUN, read_object, sound, without_names, without_paths
from creps.training.files import CURVES, PICTURES, RECORD, REPORT
from creps.training.health import HEALTHY

__all__ = ["is_run", "write_training"]

MOST_PICTURES = 10
"""Of the grid over time."""

MOST_POINTS = 300
"""Of a curve."""

RELOAD_SECONDS = 60
"""Interval at which the page of a running training reloads itself."""

LABELS = {
    "simulated_error_hu": "error on simulated MRs",
    "place_distance_hu": "distance to CTs at the same position",
    "disagreement_hu": "disagreement of overlapping patches",
    "train_eval_difference_hu": "difference of training and evaluation mode",
    "validation_score": "label-free score",
    "bone_ratio": "bone",
    "spread_ratio": "standard deviation of HU",
    TIME: "a step",
}
"""Column → label of its line."""

LIMITS = (
    "The label-free score compares sCTs with CTs of other people. It ranks the models of a run; it is not an error.",
    "Losses of different recipes, and of different settings, cannot be compared.",
)


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a training run."""
    return (folder / CURVES).is_file() and (folder / RECORD).is_file()


def write_training(run: Path, page: Path | None = None, *, title: str = "", overwrite: bool = True) -> Path:
    """Write the report of a run, finished or not.

    Args:
        run: Folder of the run.
        page: Where; default: ``report.html`` in that folder.
        title: Its heading.
        overwrite: Replace an earlier report.

    Returns:
        The page.

    Raises:
        InputError: the folder is no run, or its files are damaged.
        OutputExistsError: something is there and may not be replaced.
    """
    if not is_run(run):
        raise InputError(f"{run} is not the folder of a training run.", "Name the folder that creps train wrote.")
    page = run / REPORT if page is None else page
    check_page(page, overwrite=overwrite)
    record, damaged = sound(read_object(run / RECORD), RUN)
    rows = list(_rows(run / CURVES))
    report = _report(record, rows, title, damaged)
    running = record.get("status") == "running"
    html = render(
        report,
        "training",
        reload=RELOAD_SECONDS if running else None,
        charts=list(_charts(rows)),
        pictures=list(_pictures(run / PICTURES)),
        sessions=list(_sessions(record)),
        settings=list(_settings(record)),
    )
    return write_page(page, report, html)


def _report(
    record: Mapping[str, Any], rows: Sequence[Mapping[str, float]], title: str, damaged: Sequence[str]
) -> Report:
    settings = record.get("settings") or {}
    total = (settings.get("training") or {}).get("steps")
    status = str(record.get("status", "unknown"))
    health = [str(one) for one in record.get("health") or ()]
    findings = [_finding(one) for one in health]
    done = max([int(record.get("steps") or 0), *(int(row["step"]) for row in rows[-1:])])
    result: Level = "not checked"
    if status == "failed" or any(one.level == "warn" for one in findings):
        result = "fail" if status == "failed" else "warn"
    elif status == "finished":
        result = "pass"
    sessions = record.get("sessions") or [{}]
    reason = without_paths(str(sessions[-1].get("reason")))
    headline = {
        "running": "The run is in progress.",
        "finished": "The run is finished.",
        "interrupted": f"The run was interrupted ({reason}) and can be resumed.",
        "failed": f"The run failed: {reason}.",
    }.get(status, f"The run's status is {status}.")
    recipe, region = settings.get("recipe"), (settings.get("preparation") or {}).get("region")
    return Report(
        kind="training",
        title=title or f"Training{f', {recipe}' if recipe else ''}{f', {region}' if region else ''}",
        result=result,
        headline=headline,
        findings=tuple(findings),
        figures=tuple(_figures(record, rows, done, total)),
        missing=tuple(_missing(rows, damaged)),
        limits=LIMITS,
        content=without_names({"record": dict(record), "curves": [dict(row) for row in rows]}),
        provenance=provenance(),
    )


def _missing(rows: Sequence[object], damaged: Sequence[str]) -> Iterator[str]:
    if not rows:
        yield "There are no curves yet: the first row is written after the first step."
    if damaged:
        yield f"The record of the run is damaged; left out: {', '.join(damaged)}."


def _finding(health: str) -> Finding:
    return Finding(level="pass" if health.startswith(HEALTHY) else "warn", text=health)


def _figures(
    record: Mapping[str, Any], rows: Sequence[Mapping[str, float]], done: int, total: int | None
) -> Iterator[KeyFigure]:
    share = f"{100 * done / total:.0f} % done" if total else ""
    yield KeyFigure(label="steps", value=f"{done} of {total}" if total else str(done), note=share)
    scored = [row for row in rows if "validation_score" in row]
    if scored:
        best = min(scored, key=lambda row: row["validation_score"])
        note = f"at step {best['step']:.0f}; lower is better"
        yield KeyFigure(label="best label-free score", value=f"{best['validation_score']:.1f} HU", note=note)
        if "bone_ratio" in scored[-1]:
            note = "of the CTs' share, at the last validation; 1 is right"
            yield KeyFigure(label="bone", value=f"{scored[-1]['bone_ratio']:.2f}", note=note)
    timed = [row[TIME] for row in rows if TIME in row][-20:]
    if timed:
        yield KeyFigure(label="a step", value=f"{median(timed):.2f} s", note="median of the last rows")
    cohort = record.get("cohort") or {}
    if cohort.get("mr_cases") is not None:
        yield KeyFigure(label="training cases", value=f"{cohort['mr_cases']} MR, {cohort.get('ct_cases')} CT")


def _rows(curves: Path) -> Iterator[dict[str, float]]:
    """The rows of the curves; one that is just being written is left out."""
    try:
        with curves.open(encoding="utf-8", errors="replace", newline="") as stream:
            for row in csv.DictReader(stream):
                found = {name: _number(cell) for name, cell in row.items() if name and cell}
                kept = {name: value for name, value in found.items() if value is not None}
                if "step" in kept:
                    yield kept
    except (OSError, csv.Error) as error:
        raise InputError(f"{curves} cannot be read ({error}).", "Name the folder of a run.") from error


def _number(cell: str) -> float | None:
    try:
        number = float(cell)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _charts(rows: Sequence[Mapping[str, float]]) -> Iterator[dict[str, str]]:
    for title, columns in LOSSES.items():
        if lines := _lines(rows, columns):
            yield {"title": f"Loss: {title}", "svg": charts.curves(lines, "step", "loss, not weighted")}
    for title, (columns, label) in (VALIDATION | {"time": ((TIME,), "seconds per step")}).items():
        if lines := _lines(rows, columns):
            yield {"title": title[0].upper() + title[1:], "svg": charts.curves(lines, "step", label)}


def _lines(
    rows: Sequence[Mapping[str, float]], columns: Sequence[str]
) -> dict[str, tuple[Sequence[float], Sequence[float]]]:
    """Each column that has values, averaged in groups if there are many."""
    found: dict[str, tuple[Sequence[float], Sequence[float]]] = {}
    for column in columns:
        points = [(row["step"], row[column]) for row in rows if column in row]
        if points:
            found[LABELS.get(column, column.replace("_", " "))] = averaged(points, MOST_POINTS)
    return found


def _pictures(folder: Path) -> Iterator[dict[str, str]]:
    """Some of the pictures of validations, evenly over time, the last one included."""
    files = sorted(file for file in folder.glob("step_*.png") if file.is_file())
    if len(files) > MOST_PICTURES:
        ends = [round(k * (len(files) - 1) / (MOST_PICTURES - 1)) for k in range(MOST_PICTURES)]
        files = [files[k] for k in ends]
    for file in files:
        step = file.stem.partition("_")[2].lstrip("0") or "0"
        yield {"uri": png_data(file.read_bytes()), "step": step}


def _sessions(record: Mapping[str, Any]) -> Iterator[list[Any]]:
    for one in record.get("sessions") or ():
        values = [one.get(key) for key in ("started", "from_step", "ended", "to_step", "status", "reason")]
        yield [without_paths(value) if isinstance(value, str) else value for value in values]


def _settings(record: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """The settings of the run, by section and name."""
    for section, values in (record.get("settings") or {}).items():
        if isinstance(values, dict):
            yield from ((f"{section}.{name}", without_paths(str(value))) for name, value in values.items())
        else:
            yield section, without_paths(str(values))
