r"""Is the exact single pass as accurate as the median of overlapping patches? Against the truth of phantoms.

::

    python -m benchmarks.accuracy.cohort W/head --region head --seed 4
    python -m benchmarks.accuracy.train W/head W/work --arms anatomy --seeds 0 1 --steps 500
    python -m benchmarks.speed.single_pass W/head/test demo=src/creps/shipped/head --rounds 3 --bf16 8
    python -m benchmarks.speed.single_pass W/head/test --prepared W/work/prepared/unpaired \
        zeros=W/work/runs/anatomy-seed0,W/work/runs/anatomy-seed1

A single pass shows the network what no training patch did: tissue where every patch has padding within its sight.
Each arm (``NAME=RUN,RUN,…``) predicts the patients on its own grid; the same predictions are fused in every way.
Scored in the body against the noise-free CT: MAE, bias, Dice of bone, and each way against the median on the same
patients, a patient's mean over the arm's runs being one value. ``--prepared`` (the training's cohort) adds both with
batch norm's statistics counted again on whole bodies, ``--bf16`` bfloat16 for so many patients (emulated
by rounding where the machine has no units for it), ``--rounds`` the seconds. Arms are added to
``results/single_pass.json``. Its arms with another padding of the convolutions date from when there was that setting:
it was no gain and is gone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.timing import medians
from benchmarks.speed.results import HERE, save
from benchmarks.speed.single_pass_ways import (
    REFERENCE,
    SINGLE,
    Prediction,
    Predictor,
    Subject,
    bf16,
    in_hu,
    recounted,
    subject,
    ways,
)
from creps import load
from creps.api import Model
from creps.inference.executor import Executor
from creps.inference.prediction import predict
from creps.metrics.image import mean_absolute_error_hu, mean_error_hu
from creps.metrics.segmentation import bone_dice
from creps.metrics.statistics import paired_comparison
from creps.metrics.tissues import error_by_class, tissue_classes
from creps.patches import PatchLocation
from creps.volume import Array

RECOUNTED = "{}, statistics of bodies"
"""Batch norm's, see `recounted`."""
EDGES = {"patch edge": (0, 1, 2, 4, 6, 8, 12), "volume edge": (0, 4, 8, 16, 24, 31)}
"""Lower bounds of the bins of distances in voxels."""


def measures(who: Subject, sct: Array) -> dict[str, float]:
    classes, names = tissue_classes(who.truth)
    tissues = error_by_class(who.truth, sct, who.body, classes, names)
    return {
        "mae_hu": mean_absolute_error_hu(who.truth, sct, who.body),
        "bias_hu": mean_error_hu(who.truth, sct, who.body),
        "bone_dice": bone_dice(who.truth, sct, who.body),
        **{f"mae_hu {name}": error.mae_hu for name, error in tissues.items() if error.mae_hu is not None},
    }


def to_edge(place: PatchLocation, shape: Iterable[int]) -> Array:
    """Voxels from each voxel of a patch to the nearest of its faces within the volume: 0 on the face."""
    along = []
    for axis, (first, size, length) in enumerate(zip(place.index, place.size, shape, strict=True)):
        n = np.arange(size, dtype=np.float32)
        before = n if first > 0 else np.inf
        after = n[::-1] if first + size < length else np.inf
        along.append(
            np.broadcast_to(np.minimum(before, after), size).reshape([-1 if a == axis else 1 for a in range(3)])
        )
    return np.minimum(np.minimum(along[0], along[1]), along[2])


def where(who: Subject, single: Prediction, median: Prediction) -> dict[str, tuple[Array, dict[str, Array]]]:
    """Name of a table → the key of each row, and columns: voxels of the body, or of all patches in it."""
    shape, truth = who.mr.shape, who.truth
    nearest = np.full(shape, np.inf, dtype=np.float32)
    rows: list[Array] = []
    for place, patch in zip(median.layout.pieces, median.patches, strict=True):
        box = place.inside(shape)
        own = tuple(slice(b.start - i, b.stop - i) for b, i in zip(box, place.index, strict=True))
        edge, body, sct = to_edge(place, shape)[own], who.body[box], in_hu(patch[own])
        nearest[box] = np.minimum(nearest[box], edge)
        columns = (edge, sct - truth[box], sct - single.sct[box], single.sct[box] - truth[box])
        rows.append(np.stack([column[body] for column in columns]))
    one = np.concatenate(rows, axis=1)
    inside = {
        "median_mae_hu": np.abs(median.sct - truth)[who.body],
        "single_mae_hu": np.abs(single.sct - truth)[who.body],
        "difference_hu": (single.sct - median.sct)[who.body],
        "absolute_difference_hu": np.abs(single.sct - median.sct)[who.body],
    }
    border = np.minimum.reduce(
        np.meshgrid(*(np.minimum(np.arange(n), np.arange(n)[::-1]) for n in shape), indexing="ij")
    )
    of_patch = {"patch_mae_hu": np.abs(one[1]), "patch_bias_hu": one[1], "single_mae_hu": np.abs(one[3])}
    return {
        "patch by its edge": (one[0], of_patch | {"absolute_difference_hu": np.abs(one[2])}),
        "nearest patch edge": (nearest[who.body], inside),
        "volume edge": (border[who.body], inside),
        "tissue": (tissue_classes(truth)[0][who.body], inside),
    }


def tabulated(name: str, parts: list[tuple[Array, dict[str, Array]]]) -> dict[str, dict[str, float]]:
    """Bin → voxels and means of the columns, over all patients."""
    keys = np.concatenate([key for key, _ in parts])
    columns = {column: np.concatenate([c[column] for _, c in parts]) for column in parts[0][1]}
    if name == "tissue":
        bins, labels = keys.astype(int), tissue_classes(np.zeros((1, 1, 1)))[1]
    else:
        bounds = EDGES["volume edge" if name == "volume edge" else "patch edge"]
        bins = np.digitize(keys, bounds) - 1
        labels = {number: f"{bound}+" for number, bound in enumerate(bounds)}
    return {
        labels[number]: {"voxels": int((bins == number).sum())}
        | {column: round(float(values[bins == number].mean(dtype=float)), 2) for column, values in columns.items()}
        for number in np.unique(bins).tolist()
    }


def scored_run(model: Model, cases: list[Path], prepared: Path | None, narrow: int) -> dict[str, Any]:
    """All figures of one run: way → measures of each patient, tables of where single and median differ, bfloat16."""
    executor = Executor(model.generator, precision="fp32")
    again = Executor(recounted(model.generator, prepared), precision="fp32") if prepared else None
    chosen = ways(model.plan.patch_size)
    found: dict[str, Any] = {"measures": {}, "where": {}, "voxels": {}, "bf16": {}}
    for number, folder in enumerate(cases):
        who = subject(model, folder)
        predictor = Predictor(model, executor, who)
        predicted = {name: predictor(way) for name, way in chosen.items()}
        scts = {name: one.sct for name, one in predicted.items()}
        if again is not None:
            of_bodies = Predictor(model, again, who)
            scts |= {RECOUNTED.format(name): of_bodies(chosen[name]).sct for name in (REFERENCE, SINGLE)}
        if number < narrow:
            rounded = Predictor(model, bf16(model.generator), who)
            for name in (REFERENCE, SINGLE):
                scts[f"{name}, bf16"] = rounded(chosen[name]).sct
                off = np.abs(scts[f"{name}, bf16"] - scts[name])[who.body]
                found["bf16"].setdefault(name, []).append(
                    {"mean": off.mean(), "99.9 %": np.quantile(off, 0.999), "max": off.max()}
                )
        for name, sct in scts.items():
            found["measures"].setdefault(name, []).append(measures(who, sct))
        for name, one in predicted.items():
            found["voxels"].setdefault(name, []).append(one.layout.record()["voxels"] / who.body.sum())
        for name, table in where(who, predicted[SINGLE], predicted[REFERENCE]).items():
            found["where"].setdefault(name, []).append(table)
    return found


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """An arm's figures: means over runs and patients, and each way against the median."""
    by_way: dict[str, Any] = {}
    for way in runs[0]["measures"]:
        own = [run["measures"][way] for run in runs]
        names = own[0][0].keys()
        values = {name: np.array([[one[name] for one in run] for run in own]) for name in names}
        row: dict[str, Any] = {name: round(float(value.mean()), 4) for name, value in values.items()}
        if way != REFERENCE:
            row["against median"] = {name: against(runs, way, name) for name in ("mae_hu", "bone_dice")}
        if way in runs[0]["voxels"]:
            row["voxels predicted per voxel of the body"] = round(
                float(np.mean([run["voxels"][way] for run in runs])), 2
            )
        by_way[way] = row
    tables = {name: tabulated(name, [part for run in runs for part in run["where"][name]]) for name in runs[0]["where"]}
    narrow = {
        name: {key: round(float(np.mean([one[key] for one in rows])), 3) for key in ("mean", "99.9 %")}
        | {"max": round(float(max(one["max"] for one in rows)), 3)}
        for name, rows in runs[0]["bf16"].items()
    }
    return {"patients": len(runs[0]["measures"][SINGLE]), "ways": by_way, "bf16_off_hu": narrow, "where": tables}


def against(runs: list[dict[str, Any]], way: str, name: str) -> dict[str, Any]:
    """A way minus the median: the mean, that of each run, and each patient's over the runs."""
    pairs = [[[one[name] for one in run["measures"][kind]] for kind in (way, REFERENCE)] for run in runs]
    pairs = [(own, median[: len(own)]) for own, median in pairs]
    own, median = np.mean([a for a, _ in pairs], axis=0), np.mean([b for _, b in pairs], axis=0)
    compared = paired_comparison(own, median)
    interval = compared.interval
    return {
        "mean": round(compared.mean_difference, 4),
        "interval": None if interval is None else [round(interval.low, 4), round(interval.high, 4)],
        "p": compared.p_value,
        "runs": [round(float(np.mean(np.subtract(a, b))), 4) for a, b in pairs],
        "patients": np.round(own - median, 4).tolist(),
    }


def speed(model: Model, folder: Path, rounds: int) -> dict[str, Any]:
    """Seconds of a patient's prediction in some ways; ratios to the median over the body."""
    who = subject(model, folder)
    predictor = Predictor(model, Executor(model.generator), who)
    runs: dict[str, Callable[[], object]] = {}
    for name, way in ways(model.plan.patch_size).items():
        if name.startswith((REFERENCE, SINGLE)) or name == "sparse median":
            layout, settings = predictor.layout(way), predictor.settings(way)
            runs[name] = lambda layout=layout, settings=settings: predict(predictor.executor, who.mr, layout, settings)
    return {"patient": who.name, "shape": list(who.mr.shape), **medians(runs, rounds, reference=REFERENCE)}


def show(arm: str, found: Mapping[str, Any]) -> None:
    for way, row in found["ways"].items():
        off = row.get("against median", {}).get("mae_hu", {"mean": 0.0, "interval": None})
        print(
            f"{arm:18s}{way:28s}{row['mae_hu']:8.2f}{row['bias_hu']:+8.2f}{row['bone_dice']:8.4f}"
            f"   {off['mean']:+7.2f} {off['interval'] or ''}",
            flush=True,
        )


def trained(model: Model) -> dict[str, Any]:
    plan, settings = model.plan, model.plan.training["settings"]
    return {
        "recipe": plan.recipe,
        "generator": plan.generator.model_dump(),
        "patch_size": list(plan.patch_size),
        "batch_size": settings["training"]["batch_size"],
        "steps": plan.training["steps"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patients", type=Path, help="folder of folders with mr and ct_noise_free")
    parser.add_argument("arms", nargs="+", metavar="NAME=RUN,RUN")
    parser.add_argument("--prepared", type=Path, help="cohort that the runs were trained on")
    parser.add_argument("--bf16", type=int, default=0, metavar="PATIENTS")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--name", default="single_pass")
    chosen = parser.parse_args()
    cases = sorted(path for path in chosen.patients.iterdir() if path.is_dir())
    file = HERE / "results" / f"{chosen.name}.json"
    before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    arms, seconds = before.get("arms", {}), before.get("seconds", {})
    for arm in chosen.arms:
        name, _, folders = arm.partition("=")
        models = [load(folder) for folder in folders.split(",")]
        runs = [scored_run(model, cases, chosen.prepared, chosen.bf16) for model in models]
        arms[name] = {"runs": len(models), **trained(models[0]), **summary(runs)}
        show(name, arms[name])
        if chosen.rounds:
            seconds[name] = speed(models[0], cases[0], chosen.rounds)
            print({way: row["times_reference"] for way, row in seconds[name].items() if isinstance(row, dict)})
        save(chosen.name, arms=arms, seconds=seconds)


if __name__ == "__main__":
    main()
