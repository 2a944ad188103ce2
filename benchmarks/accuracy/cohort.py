"""Write a benchmark cohort of digital phantoms: unpaired training data, pairs for the bound, patients with truth.

    python -m benchmarks.accuracy.cohort WORK/cohort --region head

Any other cohort of the same layout is scored by the same commands (`real_pair.py` turns a real pair into one)::

    COHORT/unpaired/           whatever 'creps prepare' reads: MR and CT of different people
    COHORT/paired/CASE/        mr, ct, mask of one person, registered: trains the supervised bound only
    COHORT/validation/CASE/    mr, ct, mask (and ct_noise_free, if the truth is known): curves and tuning
    COHORT/test/CASE/          the same, of people nothing else has seen: the tables

Every folder but `test` may be missing; the arms that need it then drop out.
"""

from __future__ import annotations

import argparse
import shutil
from functools import partial
from pathlib import Path

from creps.phantom import write_cohort
from creps.phantom.cohort import TRAINING_MANIFEST

SPACING_MM = {"head": 2.0, "pelvis": 2.5}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("cohort", type=Path, help="folder to write; must not exist")
    arguments.add_argument("--region", choices=sorted(SPACING_MM), default="head")
    arguments.add_argument("--unpaired", type=int, default=24, help="MR patients, and as many other CT patients")
    arguments.add_argument("--validation", type=int, default=4)
    arguments.add_argument("--test", type=int, default=8)
    arguments.add_argument("--seed", type=int, default=40)
    chosen = arguments.parse_args()
    chosen.cohort.mkdir(parents=True)
    write(chosen.cohort, chosen.region, chosen.unpaired, chosen.validation, chosen.test, chosen.seed)


def report(part: str, done: int, total: int, case: str) -> None:
    """Overwrite the line with the progress of a part."""
    print(f"\r{part} {done}/{total} {case}", end="", flush=True)


def write(cohort: Path, region: str, unpaired: int, validation: int, test: int, seed: int) -> None:
    """Three phantom cohorts of other seeds, so that no person is in two of them, put into one layout."""
    parts = {
        "unpaired": {"mr_patients": unpaired, "ct_patients": unpaired, "test_patients": 0},
        "paired": {"mr_patients": 0, "ct_patients": 0, "test_patients": unpaired},
        "truth": {"mr_patients": 0, "ct_patients": 0, "test_patients": validation + test},
    }
    for number, (name, patients) in enumerate(parts.items()):
        write_cohort(
            cohort / name,
            region=region,
            seed=10 * seed + number,
            spacing_mm=SPACING_MM[region],
            progress=partial(report, name),
            **patients,
        )
        print()
    people = sorted((cohort / "truth" / "test").iterdir())
    for name, cases in {"validation": people[:validation], "test": people[validation:]}.items():
        (cohort / name).mkdir()
        for case in cases:
            case.rename(cohort / name / case.name)
    shutil.copy(cohort / "truth" / "phantom.json", cohort / "phantom.json")
    shutil.rmtree(cohort / "truth")
    for case in sorted((cohort / "paired" / "test").iterdir()):
        case.rename(cohort / "paired" / case.name)
    (cohort / "paired" / "test").rmdir()
    (cohort / "paired" / TRAINING_MANIFEST).unlink()  # it lists training volumes, of which there are none


if __name__ == "__main__":
    main()
