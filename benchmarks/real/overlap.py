"""How far predictions of overlapping views agree on the real heads beside the project.

::

    python -m benchmarks.real.overlap MODEL -o overlap.json

Each head is predicted whole, and again without its lowest slices. Where both predict soft tissue, their difference is
counted from 16, 32 and 48 voxels above the cut: what a tile with that halo would differ by. Seams are differences.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from creps import load, read_volume
from creps.inference.executor import Executor
from creps.preprocessing.crop import crop_box
from creps.preprocessing.intensity import network_to_hu
from creps.preprocessing.preparation import prepare_mr

CUT_SLICES = 32
"""Slices that the second view lacks: a multiple of the strides of all networks."""

HALOS = (16, 32, 48)

SOFT_HU = 150.0
"""Voxels between minus and plus this value are soft tissue."""

FEWEST = 1000
"""Voxels below which a head says nothing."""


def differences(executor: Executor, model_path: Path, path: Path) -> dict[str, dict[str, float]]:
    """Halo in voxels → mean, 95th and 99th percentile of the absolute difference in HU."""
    prepared = prepare_mr(read_volume(path), load(model_path).plan.preparation, path.name)
    box = crop_box(prepared.body, prepared.grid.spacing_mm, 10.0)
    mr, body = prepared.array[box], prepared.body[box]
    depth = len(mr) // executor.stride * executor.stride

    def predicted(first: int) -> np.ndarray:
        view = np.ascontiguousarray(mr[None, first:depth])
        return network_to_hu(executor.start(view).result()[0])

    whole, part, found = predicted(0)[CUT_SLICES:], predicted(CUT_SLICES), {}
    for halo in HALOS:
        soft = (np.abs(whole[halo:]) < SOFT_HU) & body[CUT_SLICES + halo : depth]
        if soft.sum() >= FEWEST:
            away = np.abs(whole[halo:] - part[halo:])[soft]
            values = {"mean": away.mean(), "p95": np.percentile(away, 95), "p99": np.percentile(away, 99)}
            found[str(halo)] = {name: round(float(value), 2) for name, value in values.items()}
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/head"))
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    executor, rows = Executor(load(options.model).generator), {}
    for path in sorted((options.data / "mr").glob("*.nii.gz")):
        rows[path.name.split(".")[0]] = found = differences(executor, options.model, path)
        print(path.name, found, flush=True)
    if options.output is not None:
        options.output.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
