"""Synthesis: the loop against the bare forwards, a single pass against the median, and the fixed seconds of a case.

::

    python -m benchmarks.speed.synthesis [--preset brain|pelvis] [--width 8] [--patch 48 96 96] [--rounds 3]

**Bare forwards** are the forward passes of the executor over patches that have been cut out before: nothing is read,
fused or copied between. **Loop** is everything from the prepared MR to the fused volume. **Fixed seconds** are those
of ``creps synthesize`` that no network takes part in, from a file to a file. Writes ``results/synthesis-PRESET.json``,
or with ``--name`` another file.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common.timing import medians
from benchmarks.speed.models import generator, model, settings
from benchmarks.speed.results import HERE, save
from benchmarks.speed.volumes import mr_volume
from creps.inference.executor import Executor
from creps.inference.prediction import Layout, lay_out, predict
from creps.io.itk import write_volume
from creps.patches import read_patch
from creps.preprocessing.preparation import Prepared, prepare_mr
from creps.settings import Settings


def cases(preset: str, width: int, patch: list[int]) -> dict[str, Settings]:
    return {
        "median, whole volume": settings(preset, width, patch, fusion="upper_median", extent="volume"),
        "median, body": settings(preset, width, patch, fusion="upper_median", extent="body"),
        "single, whole volume": settings(preset, width, patch, fusion="single", extent="volume"),
        "single, body": settings(preset, width, patch, fusion="single", extent="body"),
    }


def laid_out(executor: Executor, prepared: Prepared, chosen: Settings) -> Layout:
    grid, patch = prepared.grid, chosen.sampling.patch_size
    return lay_out(grid.shape, grid.spacing_mm, prepared.body, patch, executor, chosen.inference)


def bare(executor: Executor, mr: np.ndarray, layout: Layout) -> Callable[[], None]:
    """The forwards of a layout: their inputs cut out beforehand, their outputs dropped."""
    sizes = [piece.size for piece in layout.pieces]
    if len(set(sizes)) > 1 or layout.batch_size == 1:
        batches = [read_patch(mr, piece, fill=0.0)[None] for piece in layout.pieces]
    else:
        whole = np.stack([read_patch(mr, piece, fill=0.0) for piece in layout.pieces])
        batches = [whole[i : i + layout.batch_size] for i in range(0, len(whole), layout.batch_size)]

    def run() -> None:
        for batch in batches:
            executor.start(batch).result()

    return run


def plain(width: int, mr: np.ndarray, layout: Layout) -> Callable[[], None]:
    """An eighth of the forwards as one first writes them: float32, PyTorch's default layout, norms as layers."""
    network = generator(width)
    patches = [torch.from_numpy(read_patch(mr, piece, fill=0.0))[None, None] for piece in layout.pieces[::8]]

    @torch.inference_mode()
    def run() -> None:
        for patch in patches:
            network(patch)

    return run


def loops(preset: str, width: int, patch: list[int], rounds: int) -> dict[str, Any]:
    chosen = cases(preset, width, patch)
    plan = chosen["median, whole volume"].preparation
    prepared = prepare_mr(mr_volume(preset), plan, preset)
    executor = Executor(generator(width))
    layouts = {name: laid_out(executor, prepared, own) for name, own in chosen.items()}
    runs: dict[str, Callable[[], object]] = {
        name: lambda own=own, name=name: predict(executor, prepared.array, layouts[name], own.inference)
        for name, own in chosen.items()
    }
    whole = layouts["median, whole volume"]
    runs["bare forwards"] = bare(executor, prepared.array, whole)
    runs["an eighth, plain float32"] = plain(width, prepared.array, whole)
    runs["single, body"]()  # warms up
    rows = medians(runs, rounds, reference="bare forwards", warm_up=False)
    eighth = len(whole.pieces) / len(whole.pieces[::8])
    for name, layout in layouts.items():
        record = layout.record()
        rows[name] |= {key: record[key] for key in ("count", "voxels", "voxels_per_voxel", "batch_size")}
    for name, row in rows.items():
        print(f"  {name:32s} {row['seconds']:8.2f} s  {row['times_reference']:6.3f} x bare  {row.get('count', '')}")
    seconds = {name: row["seconds"] for name, row in rows.items()}
    ratios = {
        "plain float32 forwards over bare forwards": round(
            rows["an eighth, plain float32"]["times_reference"] * eighth, 2
        ),
        "loop over bare forwards": rows["median, whole volume"]["times_reference"],
        "median over single, whole volume": round(seconds["median, whole volume"] / seconds["single, whole volume"], 2),
        "median over single, body": round(seconds["median, body"] / seconds["single, body"], 2),
        "whole volume over body": round(seconds["median, whole volume"] / seconds["median, body"], 2),
    }
    return {"precision": executor.precision, "rows": rows, "ratios": ratios}


def fixed(preset: str, width: int, patch: list[int], rounds: int) -> dict[str, Any]:
    """Part of ``creps synthesize`` → seconds, medians over processes; the prediction is listed too, but not fixed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model(settings(preset, width, patch, fusion="single", extent="body"), folder / "model")
        write_volume(mr_volume(preset), folder / "mr.nii.gz")
        found = []
        for number in range(rounds + 1):
            names = ("model", "mr.nii.gz", f"sct{number}.nii.gz")
            command = [sys.executable, "-m", "benchmarks.speed.case_clock", *(str(folder / name) for name in names)]
            started = time.perf_counter()
            output = subprocess.run(command, check=True, capture_output=True, text=True, cwd=HERE.parents[1]).stdout
            total = time.perf_counter() - started
            parts = json.loads(output.splitlines()[-1])
            found.append({**parts, "the rest": total - sum(parts.values()), "whole": total})
    parts = {part: round(statistics.median(one.get(part, 0.0) for one in found[1:]), 2) for part in found[0]}
    parts["fixed"] = round(statistics.median(one["whole"] - one["predict"] for one in found[1:]), 2)
    for part, seconds in parts.items():
        print(f"  {part:24s} {seconds:6.2f} s")
    return parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=["brain", "pelvis"], default="brain")
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--patch", nargs=3, type=int, default=[48, 96, 96], metavar=("D", "H", "W"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--name", help="Of the results, instead of synthesis-PRESET.")
    chosen = parser.parse_args()
    print(f"Loops, {chosen.preset}, width {chosen.width}, patches {chosen.patch}")
    found = loops(chosen.preset, chosen.width, chosen.patch, chosen.rounds)
    print("From a file to a file, single pass over the body")
    parts = fixed(chosen.preset, chosen.width, chosen.patch, chosen.rounds)
    given = {"preset": chosen.preset, "width": chosen.width, "patch": chosen.patch}
    save(chosen.name or f"synthesis-{chosen.preset}", **given, **found, case=parts)


if __name__ == "__main__":
    main()
