"""Limits of the checks: from known-good syntheses, kept as data beside this file.

A limit is a multiple of the distance from the median to the 5th or 95th percentile of known-good syntheses. The
multiple is the same for all checks, times the `tightness` of the check: the smallest with which enough of the
syntheses pass when each is left out in turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from creps.errors import CrepsError
from creps.io.versioned import read_versioned
from creps.qa.kinds import KINDS, CheckKind

__all__ = ["LIMITS_FILE", "Limits", "Range", "RegionLimits", "read_limits"]

LIMITS_FILE = Path(__file__).with_name("limits.json")

PERCENTILES = (5.0, 50.0, 95.0)
SMALLEST_SD = 0.01
"""Of a share in `by_place`; smaller ones count as this."""

SMALLEST_USUAL = 20
"""Values; with fewer, a check has no limit."""

Vector = npt.NDArray[np.float64]


class Range(BaseModel):
    """Limits of one check."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    median: float
    """Of the known-good syntheses."""
    warn_below: float | None = None
    """A lower value warns."""
    fail_below: float | None = None
    """A lower value fails."""
    warn_above: float | None = None
    """A higher value warns."""
    fail_above: float | None = None
    """A higher value fails."""

    def level(self, value: float) -> Literal["pass", "warn", "fail"]:
        """Of a value."""
        if _beyond(value, self.fail_below, self.fail_above):
            return "fail"
        return "warn" if _beyond(value, self.warn_below, self.warn_above) else "pass"


class RegionLimits(BaseModel):
    """Limits in one region."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cases: int
    """Known-good syntheses that they come from."""
    checks: dict[str, Range]
    """Name of the check → its limits."""
    usual_place: tuple[float, ...]
    """Mean of `tissue.by_place`."""
    spread_of_place: tuple[float, ...]
    """Standard deviation of the same."""

    def anatomy(self, by_place: Vector) -> dict[str, float]:
        """How far bone, air and body are from their usual places, and how much nearer they would be turned about."""
        return distances_of(by_place, np.array(self.usual_place), np.array(self.spread_of_place))


class Limits(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    times_warn: float
    """Multiple of the usual spread, from the median, at which a warning begins."""
    times_fail: float
    """The same for a failure."""
    regions: Annotated[dict[str, RegionLimits], Field(min_length=1)]
    """Region of the model → limits."""
    provenance: dict[str, Any]
    """Versions, time, and the names of the cases."""


@lru_cache(maxsize=4)
def read_limits(path: Path = LIMITS_FILE) -> Limits:
    """Read limits; those that come with creps are kept in memory.

    Raises:
        CrepsError: the file is damaged or of another version.
    """
    remedy = "Install creps again, or make the limits again: python -m benchmarks.qa.limits."
    return read_versioned(path, Limits, CrepsError, other_version=remedy, damaged=remedy)


def limits_of(values: Mapping[str, Sequence[float]], warn: float, fail: float) -> dict[str, Range]:
    """Limits of every check that has enough values.

    Args:
        values: Name of a check → its values in known-good syntheses.
        warn: Times the usual spread at which a warning begins.
        fail: Times the usual spread at which a failure begins.

    >>> limits_of({"shift": [1.0] * 10 + [2.0] * 10}, 2, 4)["shift"].fail_above
    3.5
    """
    known = {kind.name: kind for kind in KINDS}
    return {
        name: _range(np.asarray(own, dtype=np.float64), known[name], warn, fail)
        for name, own in values.items()
        if len(own) >= SMALLEST_USUAL
    }


def distances_of(by_place: Vector, usual: Vector, spread: Vector) -> dict[str, float]:
    """Root mean square of the deviations in spreads, and how much less it would be turned about."""

    def distance(turned: Vector) -> float:
        return float(np.sqrt(np.mean(((turned.ravel() - usual) / np.maximum(spread, SMALLEST_SD)) ** 2)))

    parts = by_place.reshape(3, 4, 3)
    own = distance(parts)
    return {"anatomy": own, "orientation": own - min(distance(parts[:, ::-1]), distance(parts[:, :, ::-1]))}


def _range(values: Vector, kind: CheckKind, warn: float, fail: float) -> Range:
    low, median, high = np.percentile(values, PERCENTILES)
    if kind.turning_point is not None:
        return Range(median=round(float(median), 4), **{f"fail_{kind.sides[0]}": kind.turning_point})
    found: dict[str, float] = {"median": median}
    for side, spread, sign in (("below", median - low, -1), ("above", high - median, 1)):
        if side in kind.sides:
            for level, times in (("warn", warn), ("fail", fail))[: 2 if kind.fails else 1]:
                found[f"{level}_{side}"] = median + sign * times * kind.tightness * max(spread, kind.smallest)
    return Range(**{key: round(float(value), 4) for key, value in found.items()})


def _beyond(value: float, below: float | None, above: float | None) -> bool:
    return (below is not None and value < below) or (above is not None and value > above)
