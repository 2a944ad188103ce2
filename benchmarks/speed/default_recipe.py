"""The default recipe beside MONAI's loop around the same network: seconds, and the error against the truth.

::

    python -m benchmarks.speed.default_recipe [--people 3] [--spacing 1.0] [--rounds 5]

For the environment of `requirements.txt`. The shipped model of heads predicts phantoms whose truth is known. creps runs
as it does by default, the body in one pass. MONAI's sliding window runs over the whole volume, at its own defaults
(overlap .25, equal weights, float32, PyTorch's default layout) and at the precision and the memory format of creps,
with its default and with half overlap and Gaussian weights; and over the body's box, the voxels that creps predicts.

Seconds are medians over interleaved rounds on the first person, ``mae_hu`` and ``bone_dice`` means over all of them,
inside the body on the MR's grid. Writes ``results/default-recipe-PRECISION.json``.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import creps
from benchmarks.common.timing import medians
from benchmarks.speed.peers import FORMATS, Counted, monai
from benchmarks.speed.results import save
from creps import hu
from creps.demo.patients import Order, Patient, grow_all, read_patients, score
from creps.inference.executor import Executor
from creps.inference.prediction import MARGIN_MM, lay_out, predict
from creps.machine import resolve_precision
from creps.model import Model
from creps.preprocessing.crop import Slices, crop_box
from creps.preprocessing.intensity import AIR_NETWORK, network_to_hu
from creps.preprocessing.preparation import Prepared, prepare_mr
from creps.preprocessing.target_grid import bring_onto
from creps.shipped.names import find_model
from creps.volume import Array

SEED = 777301
"""No phantom of a training, demo or score has it."""

BASE = "creps"
MONAI: dict[str, dict[str, Any]] = {
    "MONAI, defaults, batch 1": {"batch": 1, "kind": "defaults", "overlap": 0.25},
    "MONAI, defaults, batch 4": {"batch": 4, "kind": "defaults", "overlap": 0.25},
    "MONAI, precision and layout of creps": {"batch": 1, "kind": "same", "overlap": 0.25},
    "MONAI, the same, half overlap, Gaussian": {"batch": 1, "kind": "same", "overlap": 0.5, "mode": "gaussian"},
}
"""Row → how MONAI's loop runs, in which of `peers.FORMATS`."""


def loops(folder: Path, prepared: Prepared) -> dict[str, Callable[[], Array]]:
    """Row → loop from the prepared MR to the fused volume, (D, H, W) in network units, air beyond what it predicts."""
    model = Model.load(folder)
    plan, mr, spacing_mm = model.plan, prepared.array, prepared.grid.spacing_mm
    executor = Executor(model.generator)
    layout = lay_out(
        mr.shape, spacing_mm, prepared.body, plan.patch_size, executor, plan.inference,
        lattice_index=prepared.lattice_index, signal=mr,
    )  # fmt: skip
    box = crop_box(prepared.body, spacing_mm, MARGIN_MM)

    def ours() -> Array:
        return np.nan_to_num(predict(executor, mr, layout, plan.inference)[0], nan=AIR_NETWORK)

    def theirs(network: Counted, way: dict[str, Any], where: Slices) -> Array:
        found = np.full_like(mr, AIR_NETWORK)
        found[where] = monai(network, np.ascontiguousarray(mr[where]), list(plan.patch_size), **way)
        return found

    everything = tuple(slice(0, n) for n in mr.shape)
    runs: dict[str, Callable[[], Array]] = {BASE: ours}
    for name, given in MONAI.items():
        way = dict(given)
        kind = way.pop("kind")
        bf16 = kind == "same" and executor.precision == "bf16"
        generator = Model.load(folder).generator.eval().to(memory_format=FORMATS[kind])
        network = Counted(generator, bf16=bf16, layout=FORMATS[kind])
        runs[f"{name}; whole volume"] = partial(theirs, network, way, everything)
        runs[f"{name}; body"] = partial(theirs, network, way, box)
    return runs


def scored(person: Patient, prepared: Prepared, predicted: Array) -> dict[str, float]:
    """MAE in HU and bone Dice on the MR's grid."""
    sct_hu = np.clip(network_to_hu(predicted), *hu.SCT_RANGE)
    return score(person, bring_onto(prepared.grid.with_array(sct_hu), person.mr, hu.AIR).array)


def main() -> None:
    """Measure, print and keep."""
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=3)
    parser.add_argument("--spacing", type=float, default=1.0, help="of the MRs in mm")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    folder, precision = find_model("head"), resolve_precision("auto", torch.device("cpu"))
    preparation = creps.load("head").plan.preparation
    with tempfile.TemporaryDirectory() as work:
        orders = [Order(f"p{i}", "head", (SEED, i), chosen.spacing, i) for i in range(chosen.people)]
        people = read_patients(grow_all([(Path(work), order) for order in orders]))
    rows: dict[str, dict[str, Any]] = {}
    found: dict[str, list[dict[str, float]]] = {}
    for number, person in enumerate(people):
        prepared = prepare_mr(person.mr, preparation, person.name)
        runs = loops(folder, prepared)
        for name, run in runs.items():
            found.setdefault(name, []).append(scored(person, prepared, run()))
        if number == 0:
            rows = medians(runs, chosen.rounds, reference=BASE, warm_up=False)
            shape = list(prepared.array.shape)
    for name, scores in found.items():
        rows[name] |= {key: round(float(np.mean([row[key] for row in scores])), 4) for key in ("mae_hu", "bone_dice")}
        row = rows[name]
        times = f"{row['seconds']:7.2f} s {row['times_reference']:6.2f} x"
        print(f"{name:58s}{times} {row['mae_hu']:7.1f} HU {row['bone_dice']:.3f}")
    about = {"precision": precision, "people": chosen.people, "spacing_mm": chosen.spacing, "shape": shape}
    save(f"default-recipe-{precision}", **about, rows=rows)


if __name__ == "__main__":
    main()
