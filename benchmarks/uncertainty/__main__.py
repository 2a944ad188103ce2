"""Test the calibrations of the shipped models.

::

    python -m benchmarks.uncertainty --work W --phantoms head=FOLDER pelvis=FOLDER --unseen head=FOLDER pelvis=FOLDER
        --data REAL --former head=FOLDER ... --gains 6 --rounds 5

PHANTOMS are what ``creps phantom --test N`` wrote, of seeds that no calibration has seen. UNSEEN are cohorts of
`benchmarks.unseen.cohort`: no limit is chosen by them. FORMER are other models of the region; the first of a region
joins the ensemble. Voxels of every case stay in W, so that a second run takes seconds. Parts whose folders are not
given are left as they are in the results.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common.machine import machine
from benchmarks.uncertainty import real
from benchmarks.uncertainty.cases import Case, measured
from benchmarks.uncertainty.cost import gains, time_of_uncertainty
from benchmarks.uncertainty.coverage import by_confidence, by_tissue
from benchmarks.uncertainty.predicted import agreement, of_cases, of_slices
from benchmarks.uncertainty.variants import VARIANTS, variant
from creps import load
from creps.inference.calibration import Calibration
from creps.io.atomic import write_json
from creps.provenance import provenance

OTHER = {"head": "pelvis", "pelvis": "head"}

FORMER_CASES, VARIANT_CASES = 5, 3
"""People that each other model is tried on, and each disturbed one."""


def main() -> None:
    """Parse, compute, write."""
    options = _options()
    path: Path = options.output
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    phantoms, unseen = dict(options.phantoms), dict(options.unseen)
    for region, folder in phantoms.items():
        people = sorted((folder / "test").iterdir())
        found.setdefault("own_seeds", {})[region] = _held(region, people, options.work / f"{region} own seeds")
        found.setdefault("other_region", {})[region] = _of_other(region, people, options.work)
    for region, folder in unseen.items():
        people = sorted((folder / "test").iterdir())
        found.setdefault("unseen_family", {})[region] = _held(region, people, options.work / f"{region} unseen")
    if phantoms:
        found["predicted_mae"] = _predicted(phantoms, options.former, options.work)
    if options.data is not None:
        found["thigh"], found["skull"] = real.thigh(options.data, options.work), real.skull(options.data)
    snapshots = dict(reversed(options.former))
    for region, folder in phantoms.items():
        people = sorted((folder / "test").iterdir())
        if options.gains:
            row = gains(region, people[: options.gains], snapshots.get(region), options.work)
            found.setdefault("gains", {})[region] = row
        if options.rounds:
            row = time_of_uncertainty(region, people[0], snapshots.get(region), options.rounds)
            found.setdefault("time", {})[region] = row
    write_json(path, found | {"machine": machine(), "provenance": provenance()})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    for name in ("phantoms", "unseen", "former"):
        parser.add_argument(f"--{name}", type=_named, nargs="*", default=[], metavar="REGION=FOLDER")
    parser.add_argument("--data", type=Path, help="folder of the real scans")
    parser.add_argument("--gains", type=int, default=0, help="people to measure the gain of flips and ensembles on")
    parser.add_argument("--rounds", type=int, default=0, help="rounds to measure the time with")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).with_name("results.json"))
    return parser.parse_args()


def _named(text: str) -> tuple[str, Path]:
    region, _, folder = text.partition("=")
    return region, Path(folder)


def _calibration(region: str) -> Calibration:
    found = load(region).calibration
    if found is None:
        raise SystemExit(f"The model '{region}' has no calibration.")
    return found


def _cases(region: str, people: Sequence[Path], kept: Path) -> list[Case]:
    model = load(region)
    return [measured(model, person, kept) for person in people]


def _held(region: str, people: Sequence[Path], kept: Path) -> dict[str, Any]:
    """The model's own calibration on these people."""
    calibration, cases = _calibration(region), _cases(region, people, kept)
    rows = of_cases(calibration, cases)
    return {
        "people": len(people),
        "tissues": by_tissue(calibration, cases),
        "by_confidence": by_confidence(calibration, cases),
        "predicted_mae": agreement(rows),
        "slices": of_slices(calibration, cases),
        "cases": rows,
    }


def _of_other(region: str, people: Sequence[Path], work: Path) -> dict[str, Any]:
    """The calibration of the other region's model, on this region's model and people."""
    cases = _cases(region, people, work / f"{region} own seeds")
    return {"calibration": OTHER[region], "tissues": by_tissue(_calibration(OTHER[region]), cases)}


def _predicted(phantoms: dict[str, Path], former: Sequence[tuple[str, Path]], work: Path) -> dict[str, Any]:
    """The predicted MAE over several models: shipped, former and disturbed ones, with the shipped calibrations."""
    rows: list[dict[str, Any]] = []
    for region, folder in phantoms.items():
        calibration, people = _calibration(region), sorted((folder / "test").iterdir())
        found = {f"{region}, shipped": _cases(region, people, work / f"{region} own seeds")}
        for _, model in (one for one in former if one[0] == region):
            loaded = load(model)
            kept = work / f"{model.name} own seeds"
            found[model.name] = [measured(loaded, person, kept) for person in people[:FORMER_CASES]]
        for name in list(VARIANTS)[1:]:
            kept = work / f"{region}, {name} own seeds"
            chosen = people[FORMER_CASES : FORMER_CASES + VARIANT_CASES]
            disturbed = variant(region, name)
            found[f"{region}, {name}"] = [measured(disturbed, person, kept) for person in chosen]
        rows += [{"model": model, **row} for model, cases in found.items() for row in of_cases(calibration, cases)]
    trained = [row for row in rows if not any(name in row["model"] for name in list(VARIANTS)[1:])]
    return {
        "all_models": agreement(rows),
        "trained_models": agreement(trained),
        "by_region": {
            region: agreement([row for row in rows if row["model"].startswith(region)]) for region in phantoms
        },
        "models": len({row["model"] for row in rows}),
        "rows": rows,
    }


if __name__ == "__main__":
    main()
