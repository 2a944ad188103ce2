"""Which fusion of overlapping patches is best, and how far the upper median is off, by the number of predictions.

    python -m benchmarks.accuracy.fusion COHORT WORK --seeds 0

The same predictions are fused in every way and scored on the model's own grid, inside the body, against the truth
brought to that grid; the single pass, which has one prediction per voxel, stands beside them. WORK/fusion.json gets a
row for each arm and fusion, means over the test patients.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from benchmarks.accuracy.options import parser, plan_of
from benchmarks.accuracy.score import truth
from creps import Volume, hu, load, read_volume
from creps.inference.aggregation import fused_slabs
from creps.inference.executor import Executor
from creps.inference.prediction import Layout, lay_out, predict
from creps.inference.sliding_window import predict_patches
from creps.io.atomic import write_json
from creps.metrics.image import mean_absolute_error_hu, mean_error_hu
from creps.metrics.segmentation import bone_dice
from creps.preprocessing.intensity import network_to_hu
from creps.preprocessing.preparation import prepare_mr
from creps.preprocessing.resample import resample_onto
from creps.provenance import provenance
from creps.settings import InferenceSettings
from creps.settings.choices import Fusion

FUSIONS: tuple[Fusion, ...] = get_args(Fusion)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments.add_argument("--patients", type=int, default=4)
    chosen = arguments.parse_args()
    torch.set_num_threads(1)
    plan = plan_of(chosen)
    runs = [(arm, seed, plan.run(arm, seed)) for arm in plan.arms(chosen.arms) for seed in chosen.seeds]
    rows = []
    for arm, seed, run in runs:
        if not (run / "model" / "plan.json").is_file():
            continue
        cases = [fused_case(run, case) for case in plan.cases("test")[: chosen.patients]]
        rows += [{"arm": arm, "seed": seed, **mean_row(fusion, cases)} for fusion in FUSIONS]
        for row in rows[-len(FUSIONS) :]:
            print(
                f"{arm:<14}{row['fusion']:<14}{row['mae_hu']:8.1f}{row['bias_hu']:+8.1f}{row['bone_dice']:7.3f}",
                flush=True,
            )
    write_json(plan.work / "fusion.json", {**provenance(), "patients": chosen.patients, "rows": rows})


def fused_case(run: Path, case: Path) -> dict[str, dict[str, Any]]:
    """Fusion → figures of one patient."""
    model = load(run)
    plan, mr = model.plan, read_volume(case / "mr.nii.gz")
    prepared = prepare_mr(mr, plan.preparation, case.name)
    executor = Executor(model.generator, precision="fp32")
    clean = resample_onto(truth(case), prepared.grid).array

    def laid_out(fusion: Fusion) -> tuple[Layout, InferenceSettings]:
        settings = model.inference_settings(fusion=fusion, extent="volume")
        mr = prepared.grid
        return lay_out(mr.shape, mr.spacing_mm, prepared.body, plan.patch_size, executor, settings), settings

    layout, _ = laid_out("mean")
    predictions = list(predict_patches(executor, prepared.array, layout.pieces, batch_size=layout.batch_size))
    if layout.grid is None:
        raise ValueError("the layout has no grid: its fusion is no mean")
    figures: dict[str, dict[str, Any]] = {}
    for fusion in FUSIONS:
        if fusion == "single":
            fused, _ = predict(executor, prepared.array, *laid_out(fusion))
        else:
            pairs = zip(layout.grid.locations, predictions, strict=True)
            fused = np.concatenate([slab.values for slab in fused_slabs(layout.grid, pairs, fusion)])
        sct = np.clip(network_to_hu(fused), *hu.SCT_RANGE)
        figures[fusion] = measure(Volume(sct), clean, prepared.body, layout.grid.coverage_map)
    return figures


def measure(sct: Volume, clean: np.ndarray, body: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    by_coverage = {
        int(count): [
            mean_error_hu(clean, sct.array, body & (predicted == count)),
            int((body & (predicted == count)).sum()),
        ]
        for count in np.unique(predicted[body])
    }
    return {
        "mae_hu": mean_absolute_error_hu(clean, sct.array, body),
        "bias_hu": mean_error_hu(clean, sct.array, body),
        "bone_dice": bone_dice(clean, sct.array, body) if (body & (clean > hu.BONE_ABOVE)).any() else None,
        "bias_by_coverage": by_coverage,
    }


def mean_row(fusion: str, cases: list[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Means over patients; over voxels of all patients for the bias by coverage."""
    figures = [case[fusion] for case in cases]
    counts = sorted({count for one in figures for count in one["bias_by_coverage"]})
    pairs = {
        count: [one["bias_by_coverage"][count] for one in figures if count in one["bias_by_coverage"]]
        for count in counts
    }
    return {
        "fusion": fusion,
        **{name: known_mean([one[name] for one in figures]) for name in ("mae_hu", "bias_hu", "bone_dice")},
        "bias_by_coverage": {
            count: {
                "bias_hu": float(np.average([bias for bias, _ in values], weights=[n for _, n in values])),
                "voxels": sum(n for _, n in values),
            }
            for count, values in pairs.items()
        },
    }


def known_mean(values: list[float | None]) -> float | None:
    """The mean of the values that there are."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


if __name__ == "__main__":
    main()
