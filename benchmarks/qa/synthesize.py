"""Synthesize all cases of the QA benchmark and keep them, most needed first.

python -m benchmarks.qa.synthesize FOLDER [REAL] [--ladders]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import yaml

from benchmarks.qa.cases import CORRUPTED, CUT, GOOD, LIMITS, Case, kept

HERE = Path(__file__).parent
BESIDE = HERE.parents[1].parent / "shared" / "data"


def jobs(*, ladders: bool) -> list[tuple[Case, str, float]]:
    """Every synthesis that the benchmark needs."""
    failures = yaml.safe_load((HERE / "failures.yaml").read_text())
    before = {kind: about for kind, about in failures.items() if about["acts_on"] != "sct"}
    if not ladders:
        gross = [(kind, float(about["size"])) for kind, about in before.items()]
        plain = [(case, "", 0.0) for case in (*LIMITS, *GOOD)]
        return plain + [(case, kind, size) for case in CORRUPTED for kind, size in gross] + [(c, "", 0.0) for c in CUT]
    sizes = [(kind, float(size)) for kind, about in before.items() for size in about["ladder"] if size != about["size"]]
    return [(case, kind, size) for case in CORRUPTED for kind, size in sizes]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("real", type=Path, nargs="?", default=BESIDE)
    parser.add_argument("--ladders", action="store_true", help="the other sizes of the failures")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    for case, failure, size in jobs(ladders=chosen.ladders):
        started = time.perf_counter()
        found = kept(case, chosen.folder, chosen.real, failure, size)
        told = found if isinstance(found, str) else f"{found.intake['verdict']}, {found.seconds:.1f} s"
        print(f"{case.name} {failure} {size:g}: {told}; {time.perf_counter() - started:.1f} s", flush=True)


if __name__ == "__main__":
    main()
