"""Make the limits of the QA from known-good syntheses, and write them into the package.

    python -m benchmarks.qa.limits FOLDER [REAL]

FOLDER keeps the syntheses (see synthesize.py). Known-good means: of `cases.LIMITS`, and the intake checks find nothing.
How many times the usual spread is allowed is decided here as well, by leaving each person out in turn: no test case
enters.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.qa.cases import LIMITS, Case, Kept, kept
from benchmarks.qa.synthesize import BESIDE
from creps.io.atomic import write_json
from creps.provenance import provenance
from creps.qa.limits import LIMITS_FILE, Limits, RegionLimits, distances_of, limits_of
from creps.qa.measures.together import measure

ALLOWED = {"warn": 0.1, "fail": 0.025}
"""Share of the known-good syntheses that may warn, and fail, with limits from the other people."""

TIMES = np.arange(1.0, 12.01, 0.25)

Row = dict[str, Any]


def measured(case: Case, one: Kept) -> Row:
    """Numbers of a case."""
    found = measure(one.mr, one.sct, one.body)
    if found.by_place is None or found.errors:
        raise RuntimeError(f"not measured: {found.errors}")
    numbers = {name: m.value for name, m in found.measures.items() if m.value is not None}
    return {
        "case": case.name,
        "person": f"{case.family} {case.file or case.number}",
        "region": case.region,
        "numbers": numbers,
        "by_place": found.by_place.tolist(),
    }


def good_rows(folder: Path, real: Path) -> list[Row]:
    rows = []
    for case in LIMITS:
        one = kept(case, folder, real)
        if not isinstance(one, str) and one.intake["verdict"] == "passed":
            rows.append(measured(case, one))
    return rows


def region_limits(rows: Sequence[Row], warn: float, fail: float) -> RegionLimits:
    """Limits from the rows of one region; distances of a case are to the mean of the others."""
    places = np.array([row["by_place"] for row in rows])
    values: dict[str, list[float]] = {}
    for number, row in enumerate(rows):
        others = np.delete(places, number, axis=0)
        numbers = row["numbers"] | distances_of(places[number], others.mean(axis=0), others.std(axis=0))
        for name, value in numbers.items():
            values.setdefault(name, []).append(value)
    return RegionLimits(
        cases=len(rows),
        checks=limits_of(values, warn, fail),
        usual_place=tuple(places.mean(axis=0).round(5).tolist()),
        spread_of_place=tuple(places.std(axis=0).round(5).tolist()),
    )


def share_beyond(rows: Sequence[Row], times: float) -> float:
    """Share of the cases that would fail with limits from the other people."""
    beyond = 0
    for row in rows:
        others = [one for one in rows if one["region"] == row["region"] and one["person"] != row["person"]]
        limits = region_limits(others, times, times)
        numbers = row["numbers"] | limits.anatomy(np.array(row["by_place"]))
        known = {name: value for name, value in numbers.items() if name in limits.checks}
        beyond += any(limits.checks[name].level(value) == "fail" for name, value in known.items())
    return beyond / len(rows)


def chosen_times(rows: Sequence[Row]) -> dict[str, float]:
    """Level → the fewest times the usual spread with which few enough fail."""
    found = {}
    for level, allowed in ALLOWED.items():
        found[level] = next(times for times in map(float, TIMES) if share_beyond(rows, times) <= allowed)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("real", type=Path, nargs="?", default=BESIDE)
    chosen = parser.parse_args()
    rows = good_rows(chosen.folder, chosen.real)
    times = chosen_times(rows)
    regions = {
        region: region_limits([row for row in rows if row["region"] == region], times["warn"], times["fail"])
        for region in sorted({row["region"] for row in rows})
    }
    limits = Limits(
        times_warn=times["warn"], times_fail=times["fail"], regions=regions,
        provenance={**provenance(), "cases": [row["case"] for row in rows]},
    )  # fmt: skip
    write_json(LIMITS_FILE, limits.model_dump(mode="json"))
    print(json.dumps({"times": times, "cases": {name: one.cases for name, one in regions.items()}}))


if __name__ == "__main__":
    main()
