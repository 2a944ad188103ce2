"""What the QA of an sCT catches, misses and wrongly reports.

    python -m benchmarks.qa.campaign FOLDER [REAL]

FOLDER keeps the syntheses (see synthesize.py). Writes results.json beside this file and the tables in
docs/concepts/qa.md.
A case is caught if a check fails; with the intake on, also if the intake refuses the MR. Warnings are counted as well.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.common.machine import machine
from benchmarks.qa.cases import CORRUPTED, GOOD, Case, Kept, kept
from benchmarks.qa.sct_failures import SCT_FAILURES
from benchmarks.qa.synthesize import BESIDE
from benchmarks.qa.tables import write_tables
from creps.intake.image_checks import LEFT_OUT_WARNING_ML
from creps.io.atomic import write_json
from creps.provenance import provenance
from creps.qa.examine import PUBLISHED_FAT, field_of_view
from creps.qa.limits import read_limits
from creps.qa.measures.together import measure
from creps.volume import Volume

__all__ = ["FAILURES", "Seen", "on_scts", "seen", "summary"]

HERE = Path(__file__).parent
FAILURES: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "failures.yaml").read_text(encoding="utf-8"))

SAID_CAUGHT = 0.95
LADDER = 10
"""Cases on which the sizes that are not gross are tried: 95 % of them means all of them."""

WAYS = ("fail_off", "fail_on", "warn_off", "warn_on")


@dataclass(frozen=True)
class Seen:
    """What became of a case: whether it failed, and whether it at least warned, without and with the intake.

    Attributes:
        case: Its name.
        kind: Of the failure; "good": none.
        size: Of the failure.
        fail_off: A check failed.
        fail_on: A check failed, or the intake refused.
        warn_off: A check failed or warned.
        warn_on: The same, or the intake refused or warned.
        checks: The checks that failed.
    """

    case: str
    kind: str
    size: float
    fail_off: bool
    fail_on: bool
    warn_off: bool
    warn_on: bool
    checks: tuple[str, ...]


def kept_numbers(label: str, folder: Path, one: Kept, sct: Volume) -> dict[str, Any]:
    """What was measured of an sCT, kept in the folder: limits can change without measuring again."""
    path = folder / "measured" / f"{label}.json"
    if not path.is_file():
        found = measure(one.mr, sct, one.body)
        if found.by_place is None or found.errors:
            raise RuntimeError(f"not measured: {found.errors}")
        cut = field_of_view(one.body, cuts_allowed=_cuts_allowed(one))
        numbers = {name: m.value for name, m in found.measures.items() if m.value is not None}
        path.parent.mkdir(exist_ok=True)
        write_json(path, {"numbers": numbers, "by_place": found.by_place.tolist(), "cut": cut.result})
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _cuts_allowed(one: Kept) -> bool:
    return not any(f["check"] == "field of view" and f["level"] == "refusal" for f in one.intake["findings"])


def seen(case: Case, kind: str, size: float, row: dict[str, Any], one: Kept, region: str) -> Seen:
    """What the checks say of measured numbers, as `check_sct` does; `left_out` counts without the intake too."""
    limits = read_limits().regions[region]
    numbers = row["numbers"] | limits.anatomy(np.array(row["by_place"]))
    levels = {name: limits.checks[name].level(value) for name, value in numbers.items() if name in limits.checks}
    levels["field_of_view"] = row["cut"]
    levels["fat_published"] = PUBLISHED_FAT.level(numbers["fat"]) if "fat" in numbers else "pass"
    levels["left_out"] = "warn" if one.left_out_ml >= LEFT_OUT_WARNING_ML else "pass"
    failed = tuple(name for name, level in levels.items() if level == "fail")
    warned, verdict = any(level != "pass" for level in levels.values()), one.intake["verdict"]
    return Seen(
        case.name,
        kind,
        size,
        fail_off=bool(failed),
        fail_on=bool(failed) or verdict == "refused",
        warn_off=warned,
        warn_on=warned or verdict != "passed",
        checks=failed,
    )


def refused_before(case: Case, kind: str, size: float) -> Seen:
    """A case of which there is no sCT: the preparation refuses the MR, with the intake or without."""
    return Seen(case.name, kind, size, True, True, True, True, ("no sCT",))


def good_cases(folder: Path, real: Path) -> Iterator[tuple[Case, Kept]]:
    for case in GOOD:
        if (folder / f"{case.name}.npz").is_file():
            one = kept(case, folder, real)
            if not isinstance(one, str):
                yield case, one


def on_good(cases: Sequence[tuple[Case, Kept]], folder: Path) -> Iterator[Seen]:
    for case, one in cases:
        yield seen(case, "good", 0, kept_numbers(case.name, folder, one, one.sct), one, case.region)


def on_scts(cases: Sequence[tuple[Case, Kept]], folder: Path) -> Iterator[Seen]:
    """Every failure of the sCT on the cases of `CORRUPTED`; sizes that are not gross on the first `LADDER` of them."""
    found = [(case, one) for case, one in cases if case in CORRUPTED]
    for case, one in sorted(found, key=lambda pair: CORRUPTED.index(pair[0])):
        number = CORRUPTED.index(case)
        same = [found.sct for other, found in cases if other.region == case.region and other != case]
        for index, (kind, failure) in enumerate(SCT_FAILURES.items()):
            about = FAILURES[kind]
            for size in about["ladder"] if number < LADDER else [about["size"]]:
                label = f"{case.name}~{kind.replace(' ', '_')}~{size:g}"
                rng = np.random.default_rng([index, number])
                path = folder / "measured" / f"{label}.json"
                sct = one.sct if path.is_file() else failure(one.sct, float(size), rng, same[number % len(same)])
                yield seen(case, kind, float(size), kept_numbers(label, folder, one, sct), one, case.region)


def on_mrs(folder: Path, real: Path) -> Iterator[Seen]:
    """Every failure of the MR that was synthesized."""
    for case in CORRUPTED:
        for kind, about in FAILURES.items():
            if about["acts_on"] == "sct":
                continue
            other = {"head": "pelvis", "pelvis": "head"}[case.region]
            region = other if about["acts_on"] == "model" else case.region
            for size in sorted({float(about["size"]), *map(float, about["ladder"])}):
                label = f"{case.name}~{kind.replace(' ', '_')}~{size:g}"
                if not any((folder / f"{label}{ending}").is_file() for ending in (".npz", ".refused.json")):
                    continue
                one = kept(case, folder, real, kind, size)
                if isinstance(one, str):
                    yield refused_before(case, kind, size)
                else:
                    yield seen(case, kind, size, kept_numbers(label, folder, one, one.sct), one, region)


def summary(rows: Iterable[Seen], alarmed: dict[str, Seen]) -> list[dict[str, Any]]:
    """Shares caught by kind and size, of the cases that raise no alarm as they are.

    Args:
        rows: Of seeded failures.
        alarmed: Case → what was seen of it without a failure.
    """
    by_kind: dict[tuple[str, float], list[Seen]] = {}
    for row in rows:
        by_kind.setdefault((row.kind, row.size), []).append(row)
    found = []
    for (kind, size), cases in sorted(by_kind.items(), key=lambda item: (list(FAILURES).index(item[0][0]), item[0][1])):
        clean = [case for case in cases if not (case.case in alarmed and alarmed[case.case].fail_off)]
        names = [name for case in clean for name in case.checks]
        most = sorted(set(names), key=lambda name: (-names.count(name), name))[:3]
        shares = {way: round(float(np.mean([getattr(c, way) for c in clean])), 3) if clean else None for way in WAYS}
        gross = size == float(FAILURES[kind]["size"])
        real = sum("real" in case.case for case in clean)
        found.append(
            {"kind": kind, "size": size, "unit": FAILURES[kind]["unit"], "gross": gross, "cases": len(clean),
             "real": real, **shares, "checks": most}
        )  # fmt: skip
    return found


def smallest(rows: Sequence[dict[str, Any]], kind: str, way: str) -> float | None:
    """The smallest size from which on at least 95 % are caught; None: not at any."""
    sizes = sorted((row["size"], row[way]) for row in rows if row["kind"] == kind)
    enough = [size for i, (size, _) in enumerate(sizes) if all((share or 0) >= SAID_CAUGHT for _, share in sizes[i:])]
    return enough[0] if enough else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("real", type=Path, nargs="?", default=BESIDE)
    chosen = parser.parse_args()
    started = time.perf_counter()
    cases = list(good_cases(chosen.folder, chosen.real))
    good = list(on_good(cases, chosen.folder))
    alarmed = {row.case: row for row in good}
    failures = [*on_scts(cases, chosen.folder), *on_mrs(chosen.folder, chosen.real)]
    rows = summary(failures, alarmed)
    results = {
        **provenance(),
        "machine": machine(),
        "seconds": round(time.perf_counter() - started),
        "good": {
            "cases": len(good),
            "real": sum("real" in row.case for row in good),
            **{way: round(float(np.mean([getattr(row, way) for row in good])), 3) for way in WAYS},
            "alarms": {row.case: list(row.checks) or ["intake"] for row in good if row.fail_on},
        },
        "failures": rows,
        "smallest": {kind: {way: smallest(rows, kind, way) for way in WAYS[:2]} for kind in FAILURES},
    }
    write_json(HERE / "results.json", results)
    write_tables(results)


if __name__ == "__main__":
    main()
