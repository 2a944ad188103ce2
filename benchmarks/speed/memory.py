"""Memory of a synthesis: its peak above the loaded program, against the estimate that the log prints.

::

    python -m benchmarks.speed.memory [--width 8]

Each row is a process of its own. The estimate is slab of predictions + volume + one batch (`Layout`):

* slab: 4 bytes x predictions kept per voxel x patch depth x rows x columns;
* volume: 4 bytes x voxels, and three batches of patches on their way;
* batch: the forward pass's two largest maps, ``2 x width x bytes per value``, and its input, per voxel; on a CPU also
  the gaps in glibc's heap, which keeps freed pieces below 32 MB: as much as a map, 32 MB at most. (With
  ``MALLOC_MMAP_THRESHOLD_=1000000`` there are none.) In bfloat16 two maps, and 16 MB of buffers.

Rows change one thing at a time: the depth (more patches, same slab), rows and columns (larger slab), the patch depth,
the batch, the fusion, the memory that a single pass may take. Writes ``results/memory.json``.
"""

from __future__ import annotations

import argparse
import multiprocessing
from typing import Any

import numpy as np

from benchmarks.common.memory import Peak
from benchmarks.speed.models import generator, settings
from benchmarks.speed.results import save
from creps.inference.executor import Executor
from creps.inference.prediction import lay_out, predict

BASE: dict[str, Any] = {"shape": (96, 192, 192), "patch": [48, 96, 96], "batch_size": 1, "fusion": "upper_median"}
ROWS: dict[str, dict[str, Any]] = {
    "median": {},
    "median, twice the depth": {"shape": (192, 192, 192)},
    "median, four times the depth": {"shape": (384, 192, 192)},
    "median, twice the rows": {"shape": (96, 384, 192)},
    "median, twice rows and columns": {"shape": (96, 384, 384)},
    "median, patches half as deep": {"patch": [24, 96, 96]},
    "median, patches twice as deep": {"patch": [96, 96, 96]},
    "median, two patches at once": {"batch_size": 2},
    "median, four patches at once": {"batch_size": 4},
    "mean": {"fusion": "mean"},
    "single, 0.5 GB for a pass": {"fusion": "single", "memory_gb": 0.5, "shape": (192, 256, 256)},
    "single, 1 GB for a pass": {"fusion": "single", "memory_gb": 1.0, "shape": (192, 256, 256)},
    "single, 2 GB for a pass": {"fusion": "single", "memory_gb": 2.0, "shape": (192, 256, 256)},
}


def measured(width: int, row: dict[str, Any], results: Any) -> None:
    given = BASE | row
    shape, patch = given.pop("shape"), given.pop("patch")
    inference = settings("brain", width, patch, extent="volume", **given).inference
    executor = Executor(generator(width, residual_blocks=1))  # the peak lies behind the blocks: the same, sooner
    executor.start(np.zeros((1, 16, 16, 16), np.float32)).result()  # what the libraries set up once
    mr = np.random.default_rng(0).random(shape, dtype=np.float32)
    layout = lay_out(shape, (1.0, 1.0, 1.0), np.ones(shape, dtype=bool), tuple(patch), executor, inference)
    with Peak() as peak:
        predict(executor, mr, layout, inference)
    results.put(
        {
            "peak_mb": round(peak.grown / 1e6, 1),
            "estimate_mb": round(layout.total_bytes / 1e6, 1),
            "ratio": round(peak.grown / layout.total_bytes, 3),
            "slab_mb": round(layout.slab_bytes / 1e6, 1),
            "volume_mb": round(layout.volume_bytes / 1e6, 1),
            "pass_mb": round(layout.pass_bytes / 1e6, 1),
            "pieces": len(layout.pieces),
            "precision": executor.precision,
        }
    )


def in_a_process(width: int, row: dict[str, Any]) -> dict[str, Any]:
    """`measured` in a process of its own: nothing that was freed before hides what is taken."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=measured, args=(width, row, results))
    process.start()
    found: dict[str, Any] = results.get()
    process.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=8)
    width = parser.parse_args().width
    rows = {}
    for name, row in ROWS.items():
        rows[name] = found = in_a_process(width, row)
        print(
            f"  {name:32s} peak {found['peak_mb']:5.0f} MB, estimate {found['estimate_mb']:5.0f} MB:"
            f" {found['ratio']:.2f}  ({found['pieces']} pieces, slab {found['slab_mb']:.0f} MB)",
            flush=True,
        )
    save("memory", width=width, base=BASE, rows=rows)


if __name__ == "__main__":
    main()
