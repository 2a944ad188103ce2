"""Does MAE rank sCTs as dose does? Dose error of networks, baselines and known errors beside MAE and bone Dice.

::

    python -m benchmarks.dose COHORT --region head --site PREPARED --work WORK --model NAME=FOLDER [...]

COHORT is what `benchmarks.unseen.cohort` wrote; PREPARED is a prepared cohort of its unpaired images, as
`benchmarks.unseen.rank` leaves it. NAME=FOLDER is a run, a model folder, or the name of a shipped model. One plan for
each person, made on the noise-free CT. Rows that `results/REGION.json` holds are not computed again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from benchmarks.dose.arms import Arms
from benchmarks.dose.cases import PLANS, Person, Radiation, Region, read_person
from benchmarks.dose.planned import Planned
from benchmarks.dose.table import RESULTS, tables
from creps.errors import CrepsError
from creps.io.atomic import write_json
from creps.metrics.image import mean_absolute_error_hu
from creps.metrics.segmentation import bone_dice
from creps.provenance import provenance
from creps.volume import Array

Row = dict[str, Any]


def main() -> None:
    """Compute what is missing, keep it, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--region", choices=get_args(Region), default="head")
    parser.add_argument("--site", type=Path, required=True, help="prepared cohort, for the baselines")
    parser.add_argument("--work", type=Path, required=True, help="where sCTs are kept")
    parser.add_argument("--model", action="append", default=[], metavar="NAME=FOLDER", required=True)
    parser.add_argument("--people", type=int, default=6)
    parser.add_argument("--output", type=Path, help="default: results/REGION.json beside this file")
    given = parser.parse_args()
    models = {name: folder for name, _, folder in (one.partition("=") for one in given.model)}
    output = given.output or RESULTS / f"{given.region}.json"
    arms = Arms(models, given.site, given.work)
    kept = json.loads(output.read_text(encoding="utf-8")) if output.is_file() else {"models": {}, "rows": []}
    rows, models_kept = kept["rows"], {**kept["models"], **arms.records()}
    for folder in sorted((given.cohort / "test").iterdir())[: given.people]:
        person = read_person(folder)
        for radiation in get_args(Radiation):
            for row in new_rows(person, given.region, radiation, arms, rows):
                rows.append(row)
                print(json.dumps(row), flush=True)
                content = {"region": given.region, "plans": PLANS[given.region], "models": models_kept, "rows": rows}
                write_json(output, {**provenance(), **content})
    print(tables(output))


def new_rows(person: Person, region: Region, radiation: Radiation, arms: Arms, known: list[Row]) -> Iterator[Row]:
    """A row for each arm that `known` has not: figures, or why creps refuses the sCT."""
    have = {row["arm"] for row in known if (row["case"], row["radiation"]) == (person.name, radiation)}
    missing = {name: make for name, make in arms.of(person).items() if name not in have}
    if not missing:
        return
    started = time.process_time()
    planned = Planned(person, region, radiation)
    for name, make in missing.items():
        sct = make()
        row: Row = {"case": person.name, "arm": name, "radiation": radiation, **image_figures(person, sct.array)}
        try:
            row |= planned.figures(sct)
        except CrepsError as error:
            row["refused"] = str(error)
        now = time.process_time()
        row["cpu_seconds"] = now - started
        yield {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}
        started = time.process_time()


def image_figures(person: Person, sct_hu: Array) -> dict[str, float]:
    """MAE and bone Dice inside the body, as `benchmarks.unseen.rank` has them."""
    truth = person.ct.array
    return {
        "mae_hu": mean_absolute_error_hu(truth, sct_hu, person.body),
        "bone_dice": bone_dice(truth, sct_hu, person.body),
    }


if __name__ == "__main__":
    main()
