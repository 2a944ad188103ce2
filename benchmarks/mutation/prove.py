"""Whether a new test suite finds every mistake that an old one finds.

    python -m benchmarks.mutation.prove OLD NEW --work FOLDER

OLD and NEW are two checkouts of the project. Sixty mistakes are put, one at a time, into code that both have (see
`sites`), into a copy; the tests that reach the line run until one fails. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import random
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.mutation.sites import KINDS, Site, pairs_of
from benchmarks.mutation.suites import Suite


def chosen(
    pairs: list[tuple[Site, Site]], count: int, seed: int, sources: tuple[Path, Path]
) -> list[tuple[Site, Site]]:
    """Mistakes of all kinds alike, and within a kind of all folders of the package alike, one a statement."""
    by_kind: dict[str, dict[str, list[tuple[Site, Site]]]] = defaultdict(lambda: defaultdict(list))
    for pair in pairs:
        by_kind[pair[1].kind][pair[1].path.split("/")[0]].append(pair)
    random_state = random.Random(seed)
    found: list[tuple[Site, Site]] = []
    statements: set[tuple[str, str]] = set()
    for number, kind in enumerate(KINDS):
        wanted = count * (number + 1) // len(KINDS) - count * number // len(KINDS)
        rooms = by_kind[kind]
        names = sorted(rooms)
        random_state.shuffle(names)
        for name in names:
            random_state.shuffle(rooms[name])
        while wanted and any(rooms.values()):
            for name in names:
                if not wanted or not rooms[name]:
                    continue
                pair = rooms[name].pop()
                place = (pair[1].where, pair[1].statement)
                fits = all(s.is_another_program((p / s.path).read_bytes()) for s, p in zip(pair, sources, strict=True))
                if place not in statements and fits:
                    statements.add(place)
                    found.append(pair)
                    wanted -= 1
    return found


def main() -> int:
    """Run it; 1 if the new suite misses what the old one finds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument(
        "--work", type=Path, required=True, help="for the copies and what was learnt of the suites; kept"
    )
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--budget", type=float, default=60, help="seconds of tests for one mistake and suite")
    parser.add_argument("--processes", type=int, default=2, help="for the first, unbroken run of both suites")
    parser.add_argument("--tests", nargs="*", default=[], help="only these files of tests, to try the command")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "results.json")
    options = parser.parse_args()
    old, new = (Suite(getattr(options, name).resolve(), options.work.resolve() / name) for name in ("old", "new"))
    pairs = chosen(pairs_of(old.package, new.package), options.count, options.seed, (old.package, new.package))
    for name, suite in (("old", old), ("new", new)):
        suite.learn(options.processes, options.tests)
        if not suite.seconds:
            print(f"{name}: no test passes; {suite.work / 'log.txt'} says why", file=sys.stderr)
            return 2
        print(f"{name}: {len(suite.seconds)} tests pass, {sum(suite.seconds.values()):.0f} s of tests", flush=True)
    rows = _known(options.output, options.seed)
    for number, (before, after) in enumerate(pairs, 1):
        place = (
            f"{after.path}:{after.line}:{after.kind}:{after.before!r} -> {after.after!r} in {after.where or after.name}"
        )
        if place not in rows:
            rows[place] = _row(old, new, before, after, options.budget)
            _write(options, rows, old, new)
        row = rows[place]
        print(f"{number}/{len(pairs)} {place}: old {row['old']['verdict']}, new {row['new']['verdict']}", flush=True)
    missed = [place for place, row in rows.items() if _missed(row)]
    print(
        "\n".join(f"NEW SUITE MISSES {place}" for place in missed) or "The new suite finds all that the old one finds."
    )
    return int(bool(missed))


def _row(old: Suite, new: Suite, before: Site, after: Site, budget: float) -> dict[str, Any]:
    start = time.monotonic()
    by_old, by_new = old.outcome(before, budget), new.outcome(after, budget)
    if by_old.verdict == "killed" and by_new.verdict == "survived" and by_new.tests < by_new.of:
        by_new = new.outcome(after, math.inf)
    kept = {"old_file": before.path, "old_line": before.line, "new_file": after.path, "new_line": after.line}
    kept |= {"kind": after.kind, "before": after.before, "after": after.after, "where": after.where or after.name}
    seconds = round(time.monotonic() - start, 1)
    return {**kept, "old": dataclasses.asdict(by_old), "new": dataclasses.asdict(by_new), "seconds": seconds}


def _missed(row: dict[str, Any]) -> bool:
    return row["old"]["verdict"] == "killed" and row["new"]["verdict"] != "killed"


def _known(path: Path, seed: int) -> dict[str, dict[str, Any]]:
    if not path.exists():
        return {}
    content = json.loads(path.read_text())
    return content["mistakes"] if content["seed"] == seed else {}


def _write(options: argparse.Namespace, rows: dict[str, dict[str, Any]], old: Suite, new: Suite) -> None:
    count = {
        name: {v: sum(row[name]["verdict"] == v for row in rows.values()) for v in ("killed", "survived", "unreached")}
        for name in ("old", "new")
    }
    content = {
        "seed": options.seed,
        "budget_s": options.budget,
        "tests": {"old": len(old.seconds), "new": len(new.seconds)},
        "outcomes": count,
        "found_by_old_but_not_by_new": [place for place, row in rows.items() if _missed(row)],
        "mistakes": rows,
    }
    options.output.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
