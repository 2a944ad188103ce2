"""The result of the checks as a document: what was checked, what was found, and where to look."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from creps.errors import InputError
from creps.io.atomic import write_json
from creps.io.versioned import read_versioned
from creps.qa.limits import Range

__all__ = ["SCOPE", "Level", "QaCheck", "QaReport", "read_report"]

Level = Literal["pass", "warn", "fail", "not checked"]

SCOPE = (
    "The sCT was compared with its MR and with syntheses known to be good. A pass says that none of these checks found"
    " anything. It says nothing of dose, and does not show that the sCT is fit for clinical use."
)


class QaCheck(BaseModel):
    """One check."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """Name of the check."""
    result: Level
    """`pass`, `warn`, `fail`, or `not checked` where it has no limit or nothing to measure."""
    value: float | None = None
    """What was measured."""
    unit: str = ""
    """Unit of the value and its limits."""
    limits: Range | None = None
    """From where on a value warns or fails."""
    origin: str = ""
    """Where the limits come from: known-good syntheses, the intake checks, or a publication."""
    message: str = ""
    """What was measured, as a sentence."""
    do: str = ""
    """What to do first; empty if the check passes."""
    slice: int | None = None
    """Slice of the sCT to inspect: index along its first axis, from 0. Null: no one slice."""
    position_mm: tuple[float, float, float] | None = None
    """Patient (x, y, z) to inspect, in DICOM coordinates."""


class QaReport(BaseModel):
    """All checks of one sCT."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    """Version of the file format; creps refuses any other."""
    result: Literal["pass", "warn", "fail"]
    """The worst result of a check."""
    scope: str = SCOPE
    """What a pass means, and what it does not."""
    region: str
    """Region of the model."""
    known_good: int | None
    """Syntheses that the limits come from; null if there are none for this region."""
    checks: tuple[QaCheck, ...]
    """Failures first, then warnings."""
    seconds: float
    """How long the checks took."""
    provenance: dict[str, Any]
    """Notice, time, versions and machine."""

    def of(self, level: Level) -> tuple[QaCheck, ...]:
        """The checks with one result."""
        return tuple(check for check in self.checks if check.result == level)

    def check(self, name: str) -> QaCheck:
        """The check of that name.

        Raises:
            KeyError: there is none.
        """
        found = [check for check in self.checks if check.name == name]
        if not found:
            raise KeyError(name)
        return found[0]

    def summary(self) -> str | None:
        """What failed or warned, in a line for a log; None if all checks pass."""
        if self.result == "pass":
            return None
        parts = {level: [check.name for check in self.of(level)] for level in ("fail", "warn")}
        listed = "; ".join(f"{level}: {', '.join(names)}" for level, names in parts.items() if names)
        return f"QA {self.result} ({listed}). {self.checks[0].message} {self.checks[0].do}"

    def write(self, path: Path) -> None:
        """Write it as JSON, atomically."""
        write_json(path, self.model_dump(mode="json"))


def read_report(path: Path) -> QaReport:
    """Read what `QaReport.write` wrote.

    Raises:
        InputError: the file is damaged, or of another version.
    """
    remedy = "Synthesize again with --qa report."
    return read_versioned(path, QaReport, InputError, other_version=remedy, damaged=remedy)
