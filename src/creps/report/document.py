"""What a report says, as a document: the page is drawn from it, and it is written beside the page as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from creps.provenance import NOTICE
from creps.qa.document import Level

__all__ = ["Finding", "KeyFigure", "Report", "counted"]


class KeyFigure(BaseModel):
    """One number on the first screen."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str
    """What it is."""
    value: str
    """The number with its unit."""
    note: str = ""
    """How it was measured, or what to compare it with."""


class Finding(BaseModel):
    """One thing that was found."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    level: Literal["pass", "warn", "fail", "note"]
    """How serious it is."""
    text: str
    """What was found."""
    do: str = ""
    """What to do about it."""


class Report(BaseModel):
    """A report: of one case, of a cohort, or of a training run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    """Version of the file format."""
    kind: Literal["case", "cohort", "training"]
    """What it reports."""
    title: str
    """Its heading."""
    notice: str = NOTICE
    """Research only, not for diagnosis."""
    result: Level
    """The worst of what was checked."""
    headline: str
    """The result as a sentence."""
    findings: tuple[Finding, ...] = ()
    """What was found, the worst first."""
    figures: tuple[KeyFigure, ...] = ()
    """The numbers to read first."""
    missing: tuple[str, ...] = ()
    """What the report does not show, and why: a sentence each."""
    limits: tuple[str, ...] = ()
    """What the report cannot tell: a sentence each."""
    content: dict[str, Any] = {}
    """The documents that the figures come from: QA, evaluation, dose, record, curves."""
    provenance: dict[str, Any]
    """Notice, time, versions and machine of the report."""


def counted(results: Iterable[str]) -> str:
    """How many of some results fail and warn, in words; empty if none does.

    Examples:
        >>> counted(["pass", "fail", "warn", "warn"])
        '1 fails and 2 warn'
    """
    levels = list(results)
    counts = {level: levels.count(level) for level in ("fail", "warn")}
    return " and ".join(f"{n} {level}{'s' if n == 1 else ''}" for level, n in counts.items() if n)
