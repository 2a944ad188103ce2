"""What the QA costs beside a synthesis: both timed in turn, several times, in one process.

    python -m benchmarks.qa.cost [ROUNDS]

Writes cost.json beside this file.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

import creps
from benchmarks.common.machine import machine
from benchmarks.common.timing import timed
from creps.io.atomic import write_json
from creps.phantom import REGIONS
from creps.phantom.patient import grow_patient
from creps.provenance import provenance
from creps.synthesis.result import Synthesis

HERE = Path(__file__).parent
SEED, SPACING_MM = 503, 2.0


def cost(region: str, rounds: int) -> dict[str, Any]:
    """Seconds of synthesis, synthesis with spread, and QA, medians of interleaved rounds."""
    mr = grow_patient(REGIONS[region], [SEED, 0, 0], SPACING_MM, ct=False).mr
    if mr is None:
        raise ValueError("the phantom has no MR")
    model = creps.load(region)
    seconds: dict[str, list[float]] = {"synthesis": [], "qa": []}
    results: list[Synthesis] = []

    def synthesize() -> None:
        results[:] = [model.synthesize(mr, spread=True)]

    def check() -> None:
        _ = results[0].qa

    synthesize()
    for _ in range(rounds):
        seconds["synthesis"].append(timed(synthesize))
        seconds["qa"].append(timed(check))
    ratios = [qa / whole for qa, whole in zip(seconds["qa"], seconds["synthesis"], strict=True)]
    medians = {name: round(statistics.median(own), 3) for name, own in seconds.items()}
    return {
        **medians,
        "ratio": round(statistics.median(ratios), 3),
        "rounds": rounds,
        "shape": list(results[0].sct.shape),
    }


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    found = {region: cost(region, rounds) for region in ("head", "pelvis")}
    write_json(HERE / "cost.json", {**provenance(), "machine": machine(), "cost": found})
    print(found)


if __name__ == "__main__":
    main()
