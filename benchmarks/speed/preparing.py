"""Preparing a case, by part: brain and pelvis, MR and CT, from a compressed NIfTI to the arrays of a cohort.

::

    python -m benchmarks.speed.preparing [--rounds 2]

Phantoms on a scanner's grid that is not the model's (``volumes.py``, a tenth finer along the depth). Parts add up to
the whole; ``before`` are the same parts with body masks as they were computed until this was measured (``before.py``:
distance maps, slices filled one by one), in the same rounds, and the masks are compared voxel by voxel. ``start`` is a
process that only imports what ``creps prepare`` imports. Writes ``results/preparing.json``.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.before import earlier_masks
from benchmarks.speed.results import save
from benchmarks.speed.training import Clock
from benchmarks.speed.volumes import GRIDS, GROWN_MM, mr_volume
from creps.cohort import case as preparing
from creps.cohort.case import Task
from creps.cohort.sources import find_sources
from creps.io.image import ImageSource
from creps.io.itk import write_volume
from creps.phantom import REGIONS
from creps.phantom.patient import grow_patient
from creps.preprocessing import preparation
from creps.preprocessing.resample import resample_onto
from creps.settings import load_settings
from creps.volume import Volume

PARTS = {
    "hash of the file": (preparing, "_hashes"),
    "read": (ImageSource, "read"),
    "resample": (preparation, "resample_imaged"),
    "body mask": (preparation, "body_mask_mr"),
    "body mask (CT)": (preparation, "body_mask_ct"),
    "write": (preparing, "_store"),
}
"""Part → where it is looked up; the rest is checks, intensities, percentiles, reorientation."""


def scans(name: str, folder: Path) -> None:
    """An MR and a CT as they come from a scanner: int16, compressed."""
    mr = mr_volume(name)
    d, h, w = mr.spacing_mm
    region = GRIDS[name][0]
    ct = resample_onto(grow_patient(REGIONS[region], [7, 0, 0], GROWN_MM).ct.reoriented(), mr)
    for kind, volume in (("mr", mr), ("ct", ct)):
        scan = Volume(volume.array, (0.9 * d, h, w), volume.origin_mm, volume.direction)
        write_volume(scan, folder / kind / f"{name}.nii.gz", integer=True)


def task(name: str, kind: str, folder: Path) -> Task:
    (source,) = find_sources(folder / kind, kind)
    staging = folder / "staging"
    for part in (kind, f"{kind}_body", preparing.RECORDS):
        (staging / part).mkdir(parents=True, exist_ok=True)
    return Task(source, staging, load_settings(name).preparation)


def split(one: Task) -> dict[str, float]:
    """Seconds by part of preparing a case."""
    for path in one.folder.rglob("*.*"):
        path.unlink()
    clock, originals = Clock(), [(owner, attribute, getattr(owner, attribute)) for owner, attribute in PARTS.values()]
    for part, (owner, attribute) in PARTS.items():
        clock.wrap(owner, attribute, lambda part=part: part.removesuffix(" (CT)"))
    try:
        with clock.part("the rest"):
            outcome = preparing.prepare_case(one)
    finally:
        for owner, attribute, original in originals:
            setattr(owner, attribute, original)
    if outcome.failure is not None:
        raise RuntimeError(str(outcome.failure))
    return {**clock.seconds, "whole": sum(clock.seconds.values())}


def measured(one: Task, rounds: int) -> dict[str, Any]:
    kind, seconds, masks = one.source.modality, {"now": [], "before": []}, {}
    for _ in range(rounds):
        for way, chosen in (("now", nullcontext), ("before", earlier_masks)):
            with chosen():
                seconds[way].append(split(one))
            masks[way] = np.load(one.folder / f"{kind}_body" / f"{one.source.case}.npy")
    rows: dict[str, Any] = {
        way: {part: round(statistics.median(run[part] for run in runs), 3) for part in runs[0]}
        for way, runs in seconds.items()
    }
    pairs = list(zip(seconds["before"], seconds["now"], strict=True))
    for part in ("body mask", "whole"):
        rows[f"times_faster: {part}"] = round(statistics.median(a[part] / b[part] for a, b in pairs), 2)
    rows["mask_voxels_that_differ"] = int((masks["now"] != masks["before"]).sum())
    rows["shape"] = masks["now"].shape
    return rows


def start_seconds(rounds: int) -> float:
    """Of a process that imports what prepares."""
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import creps.cli, creps.cohort.prepare"], check=True)
        seconds.append(time.perf_counter() - started)
    return round(statistics.median(seconds), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    rounds = parser.parse_args().rounds
    found: dict[str, Any] = {"start_seconds": start_seconds(rounds), "cases": {}}
    print(f"start {found['start_seconds']} s")
    for name in GRIDS:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            for kind in ("mr", "ct"):
                (folder / kind).mkdir()
            scans(name, folder)
            for kind in ("mr", "ct"):
                rows = found["cases"][f"{name} {kind.upper()}"] = measured(task(name, kind, folder), rounds)
                print(
                    f"{name} {kind.upper()}, {rows['shape']}, mask differs in {rows['mask_voxels_that_differ']} voxels"
                )
                for part, value in rows["now"].items():
                    print(f"  {part:18s} {value:7.3f} s   before {rows['before'][part]:7.3f} s")
                print(f"  mask {rows['times_faster: body mask']} x, whole {rows['times_faster: whole']} x", flush=True)
    save("preparing", **found)


if __name__ == "__main__":
    main()
