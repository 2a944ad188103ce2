"""How preparing grows: with the patients of a cohort, and with the voxels of a volume; x 1, 2, 4, 8, straight lines.

::

    python benchmarks/speed/cohort_growth.py [--rounds 3]

Cohorts of 1, 2, 4, 8 MR and as many CT of a head phantom at 4 mm, prepared at 3 mm in one process: seconds and the
peak of memory of the whole (`prepare`). Volumes of 1.4 to 11 million voxels, resampled by a tenth and masked: seconds
and peak. Peaks are what a process of its own needs above what it has after importing. The medians of the rounds are
fitted by a line; R² and the farthest point's distance from it are given. Writes ``results/cohort_growth.json``.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from growth import SHAPES, line
from timing import Peak, save

from creps.cohort.prepare import prepare
from creps.io.itk import write_volume
from creps.phantom import REGIONS
from creps.phantom.patient import grow_patient
from creps.preprocessing.mask import body_mask_mr
from creps.preprocessing.resample import resample
from creps.settings import load_settings
from creps.volume import Volume

TIMES = (1, 2, 4, 8)


def write_patients(folder: Path) -> None:
    """As many MR and CT as the largest cohort has, of different patients."""
    grown = grow_patient(REGIONS["head"], [7, 0, 0], 4.0)
    for kind, volume in (("mr", grown.mr), ("ct", grown.ct)):
        for i in range(max(TIMES)):
            other = volume.with_array(volume.array * (1 + 0.002 * i))  # the same image twice would be refused
            write_volume(other, folder / kind / f"{kind}{i}.nii.gz")


def prepare_patients(folder: Path, count: int) -> None:
    logging.getLogger("creps").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as temporary:
        some = Path(temporary)
        for kind in ("mr", "ct"):
            (some / kind).mkdir()
            for i in range(count):
                (some / kind / f"{kind}{i}.nii.gz").symlink_to(folder / kind / f"{kind}{i}.nii.gz")
        prepare((some / "mr", some / "ct"), some / "cohort", settings=load_settings("demo"))


@cache
def ellipsoid(shape: tuple[int, int, int]) -> Volume:
    """Bright, with dark spots, in noise."""
    rng = np.random.default_rng(0)
    d, h, w = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    inside = d[:, None, None] ** 2 + h[:, None] ** 2 + w**2 < 0.6
    array = 20 * rng.random(shape, dtype=np.float32) + np.where(inside, np.float32(400), np.float32(0))
    array[rng.random(shape, dtype=np.float32) < 0.02] = 0
    return Volume(array, (160 / shape[0], 160 / shape[1], 160 / shape[2]))


def resample_and_mask(shape: tuple[int, int, int]) -> None:
    volume = ellipsoid(shape)
    d, h, w = volume.spacing_mm
    body_mask_mr(resample(volume, (d / 1.1, h, w)))


def alone(run: Callable[..., None], arguments: tuple[Any, ...], rounds: int, results: Any) -> None:
    run(*arguments)
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        run(*arguments)
        seconds.append(time.perf_counter() - started)
    results.put(seconds)


def peak_alone(run: Callable[..., None], arguments: tuple[Any, ...], results: Any) -> None:
    if run is resample_and_mask:
        ellipsoid(*arguments)
    with Peak() as peak:
        run(*arguments)
    results.put(peak.grown / 1e6)


def in_own_process(target: Callable[..., None], *arguments: Any) -> Any:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=target, args=(*arguments, results))
    process.start()
    result = results.get()
    process.join()
    return result


def grown(
    name: str, run: Callable[..., None], arguments: dict[float, tuple[Any, ...]], rounds: int, unit: str
) -> dict[str, Any]:
    """Seconds and megabytes over a size, and the lines through them."""
    seconds, peaks = [], []
    for size, given in arguments.items():
        seconds.append(statistics.median(in_own_process(alone, run, given, rounds)))
        peaks.append(in_own_process(peak_alone, run, given))
        print(f"{name}: {size:g} {unit}: {seconds[-1]:.2f} s, {peaks[-1]:.0f} MB", flush=True)
    sizes = list(arguments)
    found = {
        "unit": unit, "sizes": sizes, "seconds": [round(s, 3) for s in seconds], "peak_mb": [round(p) for p in peaks],
        "seconds_line": line(sizes, seconds), "peak_line": line(sizes, peaks),
    }  # fmt: skip
    print(f"  seconds: {found['seconds_line']}\n  megabytes: {found['peak_line']}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_patients(folder)
        cohort = {float(n): (folder, n) for n in TIMES}
        found = {"cohort": grown("cohort", prepare_patients, cohort, rounds, "MR and CT each")}
    volumes = {float(np.prod(shape)) / 1e6: (shape,) for shape in SHAPES.values()}
    found["volume"] = grown("volume", resample_and_mask, volumes, rounds, "million voxels")
    save("cohort_growth", **found)


if __name__ == "__main__":
    main()
