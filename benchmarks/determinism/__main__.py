"""The campaign.

    python -m benchmarks.determinism --work W
    python -m benchmarks.determinism --work W --part train memory

Each part adds to ``results.json``. What W already has of the training part stays, so it can be interrupted.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.common.machine import machine
from benchmarks.determinism.memory import long_run, many_syntheses
from benchmarks.determinism.originals import write_originals
from benchmarks.determinism.preparing import phantoms, preparations
from benchmarks.determinism.scoring import calibrations, scores
from benchmarks.determinism.synthesis import PATCHES, syntheses
from benchmarks.determinism.training import far, trainings
from creps.io.atomic import write_json
from creps.provenance import provenance

__all__ = ["PARTS", "main"]

RESULTS = Path(__file__).with_name("results.json")

FAR_STEPS, LONG_STEPS, SYNTHESES = 100, 3000, 300


def _memory(folder: Path) -> dict[str, Any]:
    mr = str(sorted((folder / "mr").iterdir())[0].relative_to(folder))
    return {
        "training": long_run(folder, "anatomy", LONG_STEPS, 1),
        "syntheses": many_syntheses(folder, PATCHES, mr, SYNTHESES),
    }


PARTS = {
    "train": trainings,
    "far": lambda folder: far(folder, FAR_STEPS),
    "prepare": preparations,
    "phantom": phantoms,
    "synthesize": syntheses,
    "evaluate and report": scores,
    "calibrate": calibrations,
    "memory": _memory,
}


def main() -> None:
    """Run it and keep the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="Folder for phantoms, cohorts and runs.")
    parser.add_argument("--part", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    write_originals(options.work.resolve())
    for part in options.part:
        told = json.loads(options.out.read_text()) if options.out.is_file() else {}
        told[part] = PARTS[part](options.work.resolve())
        write_json(options.out, {**told, "machine": machine(), **provenance()})


if __name__ == "__main__":
    main()
