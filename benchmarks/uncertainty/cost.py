"""What options cost and gain: the uncertainty itself, and averaging with the mirror image or with other models."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.uncertainty.cases import measured
from benchmarks.uncertainty.coverage import by_tissue
from creps import load, read_volume
from creps.api.model import Model
from creps.inference.calibration import Calibration
from creps.qa.uncertainty.fit import fit_classes, sample_of

__all__ = ["gain_of_flips", "time_of_uncertainty"]


def time_of_uncertainty(region: str, person: Path, rounds: int) -> dict[str, Any]:
    """Medians of interleaved rounds: a synthesis without, and with its uncertainty."""
    model, mr = load(region), read_volume(person / "mr.nii.gz")
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(rounds):
        for wanted, taken in seconds.items():
            started = time.process_time()
            model.synthesize(mr, uncertainty=wanted, force=True)
            taken.append(time.process_time() - started)
    plain, told = median(seconds[False]), median(seconds[True])
    return {
        "rounds": rounds,
        "cpu_seconds": round(plain, 2),
        "with_uncertainty": round(told, 2),
        "ratio": round(told / plain, 3),
    }


def gain_of_flips(region: str, people: Sequence[Path], work: Path) -> dict[str, Any]:
    """MAE and sharpness with and without the mirror image.

    The calibration of either is fitted on every other case and scored on the rest: widths at equal coverage compare.
    """
    plain = load(region)
    plan = plain.plan.model_copy(update={"inference": plain.inference_settings(flips=True)})
    rows: dict[str, Any] = {}
    for name, model in (("as it is", plain), ("flips", Model(plan, plain.generator, plain.calibration))):
        kept = work / (f"{region} own seeds" if name == "as it is" else f"{region}, flips own seeds")
        cases = [measured(model, person, kept) for person in people]
        samples = [
            sample_of(case.sct, case.spread, case.truth, np.ones(case.sct.shape, bool), [number])
            for number, case in enumerate(cases[::2])
        ]
        fitted = Calibration(confidence=0.9, weights_sha256="", classes=fit_classes(samples))
        tissues = by_tissue(fitted, cases[1::2])
        total = sum(row["voxels"] for row in tissues.values())
        rows[name] = {
            "cases": len(cases),
            "mae_hu": round(float(np.mean([case.error.mean() for case in cases])), 2),
            "mean_half_width_hu": round(
                sum(row["mean_half_width_hu"] * row["voxels"] for row in tissues.values()) / total, 1
            ),
            "coverage": round(sum(row["coverage"] * row["voxels"] for row in tissues.values()) / total, 3),
        }
    return rows
