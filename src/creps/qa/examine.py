"""Check an sCT against its MR: measure, compare with the limits, say where to look."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from creps.intake.image_checks import CUT_BOTH_REFUSAL, CUT_WARNING, LEFT_OUT_WARNING_ML, cut_slices
from creps.provenance import provenance
from creps.qa.document import Level, QaCheck, QaReport
from creps.qa.kinds import KINDS, CheckKind
from creps.qa.limits import Limits, Range, RegionLimits, read_limits
from creps.qa.measures.measure import Measure
from creps.qa.measures.together import Measured, measure
from creps.regions import part_of_body
from creps.volume import Volume

__all__ = ["PUBLISHED_FAT", "IntakeSummary", "check_sct", "field_of_view"]

ORDER = ("fail", "warn", "pass", "not checked")

PUBLISHED_FAT = Range(median=-100, warn_below=-190, warn_above=-30)
FAT_SOURCE = "Yoshizumi et al. 1999, Radiology 211:283: adipose tissue in CT"

INTAKE_LEVELS: dict[str, Level] = {"passed": "pass", "warned": "warn", "refused": "fail"}
FROM_GOOD = "{} times the distance from the median to the 5th or 95th percentile of {} known-good syntheses"
BY_MEANING = "follows from what is measured"
INTAKE_SOURCE = "thresholds of the intake checks"


@dataclass(frozen=True)
class IntakeSummary:
    """What the intake found before the synthesis.

    Attributes:
        verdict: ``passed``, ``warned`` or ``refused``.
        largest_score: How far the MR is from the training's; None if the model does not know.
        left_out_ml: Signal outside the body mask.
        cuts_allowed: Whether the intake accepts bodies that the field of view cuts.
    """

    verdict: str
    largest_score: float | None = None
    left_out_ml: float = 0.0
    cuts_allowed: bool = False


def check_sct(
    mr: Volume,
    sct: Volume,
    body: Volume,
    region: str,
    intake: IntakeSummary | None = None,
    limits: Limits | None = None,
) -> QaReport:
    """Check an sCT against its MR, without a CT.

    Args:
        mr: In scanner units, on any grid.
        sct: In HU, on any grid.
        body: Body mask of the MR, 1 inside, over its whole field of view.
        region: Of the model, as in `preparation.region`; regions without known-good syntheses have few checks.
        intake: What the intake found; None: not part of the result.
        limits: Default: those that come with creps.

    Raises:
        ValueError: the mask is empty.
        CrepsError: the limits cannot be read.

    Examples:
        >>> mr = Volume(np.zeros((20, 20, 20))); inside = np.zeros((20, 20, 20)); inside[5:15, 5:15, 5:15] = 1
        >>> sct = mr.with_array(np.where(inside > 0, 40.0, -1000.0))
        >>> check_sct(mr.with_array(100 * inside), sct, mr.with_array(inside), "head").result
        'fail'
    """
    started = time.perf_counter()
    limits = limits or read_limits()
    known = limits.regions.get(part_of_body(region))
    found = measure(mr, sct, body)
    allowed = intake is not None and intake.cuts_allowed
    times = (limits.times_warn, limits.times_fail)
    checks = [
        *_measured_checks(found, sct, known, times),
        _published_fat(found),
        field_of_view(body, cuts_allowed=allowed),
    ]
    if intake is not None:
        checks += [_left_out(intake), _intake(intake)]
    checks.sort(key=lambda check: ORDER.index(check.result))
    worst = checks[0].result
    return QaReport(
        result="pass" if worst == "not checked" else worst,
        region=region,
        known_good=None if known is None else known.cases,
        checks=tuple(checks),
        seconds=round(time.perf_counter() - started, 3),
        provenance=provenance() | {"sct": {"shape": list(sct.shape), "mean_hu": round(float(sct.array.mean()), 3)}},
    )


def _measured_checks(
    found: Measured, sct: Volume, known: RegionLimits | None, times: tuple[float, float]
) -> Iterator[QaCheck]:
    """The checks whose limits come from known-good syntheses."""
    measures = dict(found.measures)
    if known is not None and found.by_place is not None:
        measures |= {name: Measure(value) for name, value in known.anatomy(found.by_place).items()}
    for kind in KINDS:
        one = measures.get(kind.name, Measure(None))
        limits = None if known is None else known.checks.get(kind.name)
        if one.value is None or limits is None or known is None:
            yield QaCheck(
                name=kind.name,
                result="not checked",
                value=_rounded(one.value),
                unit=kind.unit,
                message=_not_measured(found, kind.name),
            )
            continue
        level = limits.level(one.value)
        number, position_mm = _place(found, sct, one)
        yield QaCheck(
            name=kind.name,
            result=level,
            value=_rounded(one.value),
            unit=kind.unit,
            limits=limits,
            origin=BY_MEANING if kind.turning_point is not None else _from_good(kind, times, known.cases),
            message=_message(kind, one.value, limits),
            do="" if level == "pass" else kind.do,
            slice=number,
            position_mm=position_mm,
        )


def _not_measured(found: Measured, name: str) -> str:
    why = found.errors.get(name)
    return f"Not measured: {why}. This is a defect of creps: report it." if why else ""


def _from_good(kind: CheckKind, times: tuple[float, float], cases: int) -> str:
    warn, fail = (f"{round(kind.tightness * one, 3):g}" for one in times)
    return FROM_GOOD.format(f"{warn} (warn) and {fail} (fail)" if kind.fails else f"{warn} (warn)", cases)


def _message(kind: CheckKind, value: float, limits: Range) -> str:
    return f"{kind.tells.format(f'{value:.3g}')} Known-good syntheses have {limits.median:.3g} (median)."


def _place(found: Measured, sct: Volume, one: Measure) -> tuple[int | None, tuple[float, float, float] | None]:
    """Slice of the sCT and patient position of what was found."""
    if one.place is None:
        return None, None
    point = found.scene.patient_mm(one.place)
    x, y, z = (round(float(part), 1) for part in point)
    return sct.nearest_voxel(point)[0], (x, y, z)


def _published_fat(found: Measured) -> QaCheck:
    value = found.measures["fat"].value
    if value is None:
        return QaCheck(name="fat_published", result="not checked", unit="HU", message=_not_measured(found, "fat"))
    level = PUBLISHED_FAT.level(value)
    return QaCheck(
        name="fat_published", result=level, value=_rounded(value), unit="HU", limits=PUBLISHED_FAT, origin=FAT_SOURCE,
        message=f"Fat under the skin has {value:.3g} HU (median); published are -190 to -30 HU.",
        do="" if level == "pass" else "Check that the MR shows fat bright.",
    )  # fmt: skip


def field_of_view(body: Volume, *, cuts_allowed: bool) -> QaCheck:
    """Whether the field of view cuts the body, with the thresholds of the intake.

    Args:
        body: Body mask over the whole field of view.
        cuts_allowed: Whether it only warns.
    """
    upright = body.reoriented()
    cuts = cut_slices(upright.array > 0.5, upright.spacing_mm)
    deep, some = max(cuts.share(cuts.both), cuts.share(cuts.half)), cuts.share(cuts.some)
    failed = deep >= CUT_BOTH_REFUSAL and not cuts_allowed
    level: Level = "fail" if failed else "warn" if some >= CUT_WARNING else "pass"
    value = 100 * (deep if failed else some)
    return QaCheck(
        name="field_of_view", result=level, value=round(value, 1), unit="%", origin=INTAKE_SOURCE,
        limits=Range(
            median=0, warn_above=100 * CUT_WARNING, fail_above=None if cuts_allowed else 100 * CUT_BOTH_REFUSAL
        ),
        message=f"In {value:.0f} % of its axial slices the body is cut off at a side of the field of view.",
        do="" if level == "pass" else "Use a larger field of view; dose there and beams through it are wrong.",
    )  # fmt: skip


def _left_out(intake: IntakeSummary) -> QaCheck:
    level: Level = "warn" if intake.left_out_ml >= LEFT_OUT_WARNING_ML else "pass"
    return QaCheck(
        name="left_out", result=level, value=intake.left_out_ml, unit="ml", origin=INTAKE_SOURCE,
        limits=Range(median=0, warn_above=LEFT_OUT_WARNING_ML),
        message=f"{intake.left_out_ml:.3g} ml of bright signal lie outside the body mask and may be air in the sCT.",
        do="" if level == "pass" else "If that is part of the patient, give a body mask (--mask).",
    )  # fmt: skip


def _intake(intake: IntakeSummary) -> QaCheck:
    level = INTAKE_LEVELS[intake.verdict]
    return QaCheck(
        name="intake", result=level, value=_rounded(intake.largest_score), origin=INTAKE_SOURCE,
        message=f"The intake checks {intake.verdict if level == 'pass' else intake.verdict + ' (see the record)'}.",
        do="" if level == "pass" else "Read the findings under 'gate' in the record.",
    )  # fmt: skip


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
