"""The report of one case: what was checked and found, in words and numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np

from creps import hu
from creps.evaluation.definitions import metric
from creps.evaluation.results import Evaluation
from creps.provenance import provenance
from creps.qa.document import Level
from creps.report.document import Finding, KeyFigure, Report, counted
from creps.report.parts import CaseParts
from creps.report.reading import without_names

__all__ = ["case_report"]

INTAKE_LEVELS: dict[str, Literal["fail", "warn", "note"]] = {"refusal": "fail", "warning": "warn"}
"""Level of an intake finding → level of the report's."""

WORST_FIRST: dict[str, int] = {"fail": 0, "warn": 1, "note": 2, "pass": 3}

LIMITS = (
    "The checks compare the sCT with its MR and with syntheses known to be good. A pass does not show that the sCT is"
    " fit for clinical use.",
    "An error that the MR does not show, such as a wrong HU in correctly placed bone, can pass every check.",
)

UNCALIBRATED = "There is no uncertainty map: synthesize with --uncertainty (calibrated models)."


def case_report(parts: CaseParts, title: str = "", *, names: bool = False) -> Report:
    """The report of a case as a document.

    Args:
        parts: The parts of the case.
        title: Its heading; default: the model's region.
        names: Show the names of files, and of the patient as DICOM gives them.
    """
    result = _result(parts)
    region = ((parts.record or {}).get("model") or {}).get("region")
    return Report(
        kind="case",
        title=title or f"Synthetic CT{f', {region}' if isinstance(region, str) else ''}",
        result=result,
        headline=_headline(parts, result),
        findings=tuple(sorted(_findings(parts), key=lambda one: WORST_FIRST[one.level])),
        figures=tuple(_figures(parts)),
        missing=(*_missing(parts), *(note.shown(names=names) for note in parts.notes)),
        limits=LIMITS,
        content=_content(parts, names=names),
        provenance=provenance(),
    )


def _result(parts: CaseParts) -> Level:
    """The worst of the QA, the intake checks and the flags of the dose."""
    found = [str(one.level) for one in _findings(parts) if one.level in ("fail", "warn")]
    if parts.qa is not None:
        found.append(parts.qa.result)
    for level in ("fail", "warn", "pass"):
        if level in found:
            return level
    return "not checked"


def _headline(parts: CaseParts, result: Level) -> str:
    if parts.qa is None:
        return "The sCT was not checked against its MR."
    done = [check for check in parts.qa.checks if check.result != "not checked"]
    found = counted(check.result for check in done)
    if not found:
        others = "" if result == "pass" else " See the findings of the intake or the dose."
        return f"None of {len(done)} checks of the sCT found anything.{others}"
    return f"Of {len(done)} checks of the sCT, {found}. Look at these positions first."


def _findings(parts: CaseParts) -> Iterator[Finding]:
    if parts.qa is not None:
        for check in parts.qa.checks:
            if check.result in ("fail", "warn"):
                yield Finding(level=check.result, text=check.message, do=check.do)
    for flag in () if parts.dose is None else parts.dose.flags:
        yield Finding(level="warn", text=flag, do="Compare the plan on both CTs.")
    gate = (parts.record or {}).get("gate")
    for one in gate.get("findings", ()) if isinstance(gate, dict) else ():
        level = INTAKE_LEVELS.get(one.get("level", ""), "note")
        yield Finding(level=level, text=f"Intake: {one.get('message', '')}", do=one.get("remedy", ""))
    for one in (parts.record or {}).get("overrides") or ():
        yield Finding(level="note", text=f"{one['ml']:.3g} ml of the sCT were set to {one['hu']:g} HU by hand.")


def _figures(parts: CaseParts) -> Iterator[KeyFigure]:
    record, evaluation = parts.record or {}, parts.evaluation
    if evaluation is not None:
        yield from _measured(evaluation)
    uncertainty = record.get("uncertainty")
    if isinstance(uncertainty, dict) and uncertainty.get("predicted_mae_hu") is not None:
        yield KeyFigure(
            label="expected error",
            value=f"{uncertainty['predicted_mae_hu']:.0f} HU",
            note="mean absolute error in the body, predicted without a CT",
        )
    if parts.uncertainty is not None:
        inside = parts.uncertainty.array[parts.uncertainty.array > 0]
        if inside.size:
            note = f"half width of the {100 * _confidence(record):.0f} % interval, median in the body"
            yield KeyFigure(label="uncertainty", value=f"± {np.median(inside):.0f} HU", note=note)
    if parts.qa is not None:
        yield from _checked(parts)
    if parts.dose is not None:
        yield from _dosed(parts)


def _confidence(record: Mapping[str, Any]) -> float:
    about = record.get("uncertainty")
    return float(about.get("confidence", 0.9)) if isinstance(about, dict) else 0.9


def _measured(evaluation: Evaluation) -> Iterator[KeyFigure]:
    shown = {
        "mae_hu": ("mean absolute error", "against the CT, in the mask"),
        "bias_hu": ("bias", "sCT minus CT, mean"),
        "bone_dice": ("bone Dice", f"above {hu.BONE_ABOVE:g} HU; 1 is perfect"),
        "body_hd95_mm": ("outline, 95th percentile", "distance of the body's surface to the CT's"),
    }
    for name, (label, note) in shown.items():
        found = evaluation.values.get(name)
        if found is not None:
            yield KeyFigure(label=label, value=_number(name, found), note=note)


def _number(name: str, found: float) -> str:
    return quantity(found, metric(name).unit, signed=name.startswith("bias"))


def quantity(number: float, unit: str, *, signed: bool = False) -> str:
    """A number as the first screen shows it: whole HU, tenths of mm and %, two digits without a unit."""
    digits = {"HU": 0, "mm": 1, "dB": 1, "%": 1, "ml": 1}.get(unit, 2)
    return f"{number:{'+' if signed else ''}.{digits}f} {unit}".strip().replace("-", "−")


def _checked(parts: CaseParts) -> Iterator[KeyFigure]:
    by_name = {check.name: check for check in (() if parts.qa is None else parts.qa.checks)}
    shown = {
        "contour_p95": ("outline against the MR", "95 % of the skin lies closer"),
        "shift": ("displacement against the MR", "of the edges"),
        "bone_share": ("bone", "of the body"),
        "soft_tissue": ("deep soft tissue", "median"),
    }
    for name, (label, note) in shown.items():
        check = by_name.get(name)
        if check is None or check.value is None:
            continue
        median = None if check.limits is None else check.limits.median
        usual = "" if median is None else f"; known-good: {quantity(median, check.unit)}"
        yield KeyFigure(label=label, value=quantity(check.value, check.unit), note=f"{note}{usual}")


def _dosed(parts: CaseParts) -> Iterator[KeyFigure]:
    dose = parts.dose
    if dose is None:
        return
    yield KeyFigure(
        label="target dose error",
        value=f"{dose.target.error_percent:.2f} %",
        note=f"of the prescription, against the {dose.reference_name}",
    )
    for name, share in dose.gamma.items():
        if share is not None:
            yield KeyFigure(label=f"gamma {name}", value=f"{100 * share:.1f} %", note="of the voxels within 1, global")
            break


def _missing(parts: CaseParts) -> Iterator[str]:
    explained = {note.part for note in parts.notes}
    if parts.mr is None and "mr" not in explained:
        yield "There is no MR in this report: name it with --mr."
    if parts.ct is None and "ct" not in explained:
        yield "There is no CT in this report, so the true error is unknown."
    if parts.uncertainty is None and "uncertainty" not in explained:
        yield UNCALIBRATED


def _content(parts: CaseParts, *, names: bool) -> dict[str, Any]:
    evaluation = parts.evaluation
    found: dict[str, Any] = {
        "qa": None if parts.qa is None else parts.qa.model_dump(mode="json"),
        "evaluation": None
        if evaluation is None
        else {
            "values": evaluation.values,
            "missing": evaluation.missing,
            "record": {key: value for key, value in evaluation.record.items() if names or key != "notes"},
        },
        "dose": None if parts.dose is None else parts.dose.model_dump(mode="json"),
        "record": None if parts.record is None else dict(parts.record),
    }
    return {**found, "names": dict(parts.names)} if names else without_names(found)
