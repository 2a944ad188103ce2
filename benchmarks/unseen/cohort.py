"""Write a cohort of the unseen family in the layout of benchmarks/accuracy.

::

    python -m benchmarks.unseen.cohort OUT --region head

The unseen family is a yardstick: phantoms built by hand with other shape equations, another tissue table and another
signal code than creps' own phantoms, of which it imports nothing. No recipe, network or threshold is chosen by it; it
confirms what was chosen elsewhere. ``frozen.json`` holds the SHA-256 of its code; a changed family is another family.

    OUT/unpaired/{train.csv,mr/,ct/}   MR and CT of different people
    OUT/paired/CASE/                   mr, ct, mask of one person: for the supervised bound
    OUT/validation/CASE/, OUT/test/CASE/   the same with ct_noise_free and labels, of other people
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.unseen.head import grow_head
from benchmarks.unseen.pelvis import grow_pelvis
from benchmarks.unseen.scanners import MR_CENTRES, Images, acquire
from creps import Volume, write_volume

GROW = {"head": grow_head, "pelvis": grow_pelvis}
SPACING_MM = {"head": 2.0, "pelvis": 2.5}
FACTOR = 2
"""Painted points per voxel along each axis."""

GROUPS = {"unpaired_mr": 0, "unpaired_ct": 1, "paired": 2, "validation": 3, "test": 4}
"""Group → its number, which enters the seed: nobody is in two of them."""

CUT_SHARE = {"head": 0.15, "pelvis": 0.25}
"""Share of MRs whose field of view cuts the patient."""


def person(region: str, group: str, index: int, seed: int) -> tuple[Images, dict[str, Any]]:
    """Grow and image one person; a pure function of its arguments."""
    rng = np.random.default_rng([seed, GROUPS[group], index, len(region)])
    step = SPACING_MM[region] / FACTOR
    body = GROW[region](rng, step)
    centre = index % len(MR_CENTRES[region])
    images = acquire(body, region, centre, FACTOR, couch=group == "unpaired_ct")
    notes = {**body.notes, "centre": centre, "cut": False}
    if group != "unpaired_ct" and rng.random() < CUT_SHARE[region]:
        images, notes["cut"] = cut(images, region, rng), True
    return images, notes


def cut(images: Images, region: str, rng: np.random.Generator) -> Images:
    """A smaller field of view: a head loses its neck and a little of its sides, a pelvis one side or its rim."""
    d, h, w = images.mr.shape
    low, high = [0, 0, 0], [d, h, w]
    if region == "head":
        low[0] = int(d * rng.uniform(0.1, 0.4))
        low[1], high[1] = int(h * rng.uniform(0, 0.06)), int(h * rng.uniform(0.93, 1))
    elif rng.random() < 0.5:
        low[2], high[2] = (
            (0, int(w * rng.uniform(0.55, 0.8))) if rng.random() < 0.5 else (int(w * rng.uniform(0.2, 0.45)), w)
        )
    else:
        low[1:], high[1:] = [int(n * 0.12) for n in (h, w)], [int(n * 0.88) for n in (h, w)]
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return Images(*(getattr(images, name)[box] for name in Images.__dataclass_fields__))


def write_person(region: str, seed: int, out: Path, job: tuple[str, int]) -> dict[str, Any]:
    """Write one person's images; return its row."""
    group, index = job
    images, notes = person(region, group, index, seed)
    name = f"U{region[0].upper()}{GROUPS[group]}{index:03d}"
    spacing = (SPACING_MM[region],) * 3

    def save(array: Any, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_volume(Volume(array, spacing), path, integer=True)

    if group.startswith("unpaired"):
        kind = group[-2:]
        save(getattr(images, kind), out / "unpaired" / kind / f"{name}.nii.gz")
        return {
            "case": name,
            "modality": kind,
            "path": f"{kind}/{name}.nii.gz",
            "centre": str(notes["centre"]),
            **notes,
        }
    for kind in ("mr", "ct", "mask", *(() if group == "paired" else ("ct_noise_free", "labels"))):
        save(getattr(images, kind), out / group / name / f"{kind}.nii.gz")
    return {"case": name, "group": group, **notes}


def write(out: Path, region: str, counts: dict[str, int], seed: int, jobs: int) -> None:
    """Write the whole cohort."""
    out.mkdir(parents=True)
    work = [(group, index) for group, count in counts.items() for index in range(count)]
    with ProcessPoolExecutor(jobs) as pool:
        rows = list(pool.map(partial(write_person, region, seed, out), work))
    with (out / "unpaired" / "train.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("case", "modality", "path", "centre"))
        table.writerows([row[key] for key in ("case", "modality", "path", "centre")] for row in rows if "path" in row)
    (out / "family.json").write_text(
        json.dumps({"region": region, "seed": seed, "code": code_sha256(), "people": rows}, indent=1)
    )


def code_sha256() -> str:
    """SHA-256 of the family's code: of every module here but those that only freeze and test it."""
    digest = hashlib.sha256()
    for name in ("body", "cohort", "head", "pelvis", "scanners", "signal", "space", "tissues"):
        digest.update((Path(__file__).parent / f"{name}.py").read_bytes())
    return digest.hexdigest()


def main() -> None:
    """Parse and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write; must not exist")
    parser.add_argument("--region", choices=sorted(GROW), default="head")
    parser.add_argument("--unpaired", type=int, default=24, help="MR patients, and as many other CT patients")
    parser.add_argument("--paired", type=int, default=24)
    parser.add_argument("--validation", type=int, default=4)
    parser.add_argument("--test", type=int, default=12)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args()
    counts = {"unpaired_mr": chosen.unpaired, "unpaired_ct": chosen.unpaired}
    counts |= {"paired": chosen.paired, "validation": chosen.validation, "test": chosen.test}
    write(chosen.out, chosen.region, counts, chosen.seed, chosen.jobs)


if __name__ == "__main__":
    main()
