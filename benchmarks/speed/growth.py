"""How time and memory of a synthesis grow with the volume: x 1, 2, 4, 8, up to the brain preset's grid.

::

    python -m benchmarks.speed.growth [--width 8] [--patch 24 48 48] [--rounds 3]

Time is fitted against the voxels that the network sees, and against those of the volume: a grid of overlapping
patches has a rim, whose share falls as the volume grows. The generator has one residual block, so that the loop
weighs more than it usually does. Memory is that of a process of its own. Writes ``results/growth.json``.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from benchmarks.common.timing import medians
from benchmarks.speed.memory import in_a_process
from benchmarks.speed.models import generator, settings
from benchmarks.speed.results import save
from benchmarks.speed.volumes import mr_volume
from creps.inference.executor import Executor
from creps.inference.prediction import lay_out, predict
from creps.preprocessing.preparation import prepare_mr

SHAPES = {1: (84, 128, 128), 2: (168, 128, 128), 4: (168, 256, 128), 8: (168, 256, 256)}


def line(x: list[float], y: list[float]) -> dict[str, float]:
    """The straight line through (x, y): slope, intercept, R², and how far the farthest point is off, as a share."""
    slope, intercept = np.polyfit(x, y, 1)
    fitted = slope * np.array(x) + intercept
    residual, spread = ((np.array(y) - fitted) ** 2).sum(), ((np.array(y) - np.mean(y)) ** 2).sum()
    return {
        "slope": float(f"{slope:.4g}"),
        "intercept": float(f"{intercept:.4g}"),
        "r2": round(float(1 - residual / spread), 5),
        "farthest_off": round(float(np.abs(fitted / np.array(y) - 1).max()), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--patch", nargs=3, type=int, default=[24, 48, 48], metavar=("D", "H", "W"))
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    found: dict[str, Any] = {}
    mr = prepare_mr(mr_volume("brain"), settings("brain", chosen.width, chosen.patch).preparation, "brain").array
    executor = Executor(generator(chosen.width, residual_blocks=1))
    for fusion in ("upper_median", "single"):
        inference = settings("brain", chosen.width, chosen.patch, fusion=fusion, extent="volume").inference
        layouts, runs = {}, {}
        for times, shape in SHAPES.items():
            part = np.ascontiguousarray(mr[tuple(slice(0, n) for n in shape)])
            body = np.ones(shape, dtype=bool)
            layout = lay_out(shape, (1.0, 1.0, 1.0), body, tuple(chosen.patch), executor, inference)
            layouts[times] = layout
            runs[f"x {times}"] = lambda part=part, layout=layout, i=inference: predict(executor, part, layout, i)
        runs["x 1"]()  # warms up
        rows = medians(runs, chosen.rounds, reference="x 1", warm_up=False)
        for times, layout in layouts.items():
            record = layout.record()
            row = {"shape": SHAPES[times], "patch": chosen.patch, "fusion": fusion}
            taken = in_a_process(chosen.width, row)
            rows[f"x {times}"] |= {
                "voxels": int(np.prod(SHAPES[times])),
                "voxels_seen": record["voxels"],
                "pieces": record["count"],
                "peak_mb": taken["peak_mb"],
                "estimate_mb": taken["estimate_mb"],
            }
        seconds = [row["seconds"] for row in rows.values()]
        megavoxels = [row["voxels"] / 1e6 for row in rows.values()]
        seen = [row["voxels_seen"] / 1e6 for row in rows.values()]
        fits = {
            "seconds by million voxels seen": line(seen, seconds),
            "seconds by million voxels": line(megavoxels, seconds),
            "peak MB by million voxels": line(megavoxels, [row["peak_mb"] for row in rows.values()]),
        }
        found[fusion] = {"rows": rows, "fits": fits}
        for name, row in rows.items():
            print(f"  {fusion} {name}: {row['seconds']:.2f} s, {row['pieces']} pieces, {row['peak_mb']:.0f} MB")
        for name, fit in fits.items():
            print(f"  {fusion} {name}: {fit}")
    save("growth", width=chosen.width, patch=chosen.patch, precision=executor.precision, **found)


if __name__ == "__main__":
    main()
