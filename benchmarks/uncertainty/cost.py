"""What options cost and gain: the uncertainty itself, and averaging with the mirror image or with other models."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.uncertainty.cases import Case, measured
from benchmarks.uncertainty.coverage import by_tissue
from creps import load, read_volume
from creps.api.model import Model
from creps.inference.calibration import Calibration
from creps.qa.uncertainty.fit import fit_classes, sample_of

__all__ = ["gains", "time_of_uncertainty"]


def time_of_uncertainty(region: str, person: Path, snapshot: Path | None, rounds: int) -> dict[str, Any]:
    """CPU time of a synthesis as it is and with each option, over that as it is: medians of interleaved rounds."""
    model, mr = load(region), read_volume(person / "mr.nii.gz")
    ways: dict[str, Callable[[], object]] = {
        "as it is": lambda: model.synthesize(mr, force=True),
        "uncertainty": lambda: model.synthesize(mr, uncertainty=True, force=True),
        "flips": lambda: model.synthesize(mr, flips=True, force=True),
    }
    if snapshot is not None:
        joined = load(region, ensemble=[str(snapshot)])
        ways["ensemble of two"] = lambda: joined.synthesize(mr, force=True)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, synthesize in ways.items():
            started = time.process_time()
            synthesize()
            seconds[name].append(time.process_time() - started)
    plain = median(seconds["as it is"])
    ratios = {name: round(median(taken) / plain, 3) for name, taken in seconds.items()}
    return {"rounds": rounds, "cpu_seconds": round(plain, 2), "ratios": ratios}


def gains(region: str, people: Sequence[Path], snapshot: Path | None, work: Path) -> dict[str, Any]:
    """MAE, sharpness and time with the mirror image and with a second model.

    Each way is calibrated anew on every other case and scored on the rest: widths at equal coverage compare.

    Args:
        region: Of the shipped model.
        people: Folders.
        snapshot: An earlier model of the same training, for an ensemble; None for none.
        work: Where voxels are kept.
    """
    plain = load(region)
    plan = plain.plan.model_copy(update={"inference": plain.inference_settings(flips=True)})
    ways = {"as it is": plain, "flips": Model(plan, plain.generator)}
    if snapshot is not None:
        ways[f"ensemble with {snapshot.name}"] = load(region, ensemble=[str(snapshot)])
    rows: dict[str, Any] = {}
    for name, model in ways.items():
        kept = work / (f"{region} own seeds" if name == "as it is" else f"{region}, {name} own seeds")
        rows[name] = _row([measured(model, person, kept) for person in people])
    return rows


def _row(cases: Sequence[Case]) -> dict[str, float]:
    samples = [
        sample_of(case.sct, case.spread, case.truth, np.ones(case.sct.shape, bool), [number])
        for number, case in enumerate(cases[::2])
    ]
    fitted = Calibration(confidence=0.9, weights_sha256="", classes=fit_classes(samples))
    tissues = by_tissue(fitted, cases[1::2]).values()
    voxels = sum(row["voxels"] for row in tissues)
    mean = {
        key: sum(row[key] * row["voxels"] for row in tissues) / voxels for key in ("mean_half_width_hu", "coverage")
    }
    return {
        "cases": len(cases),
        "mae_hu": round(float(np.mean([case.error.mean() for case in cases])), 2),
        "mean_half_width_hu": round(mean["mean_half_width_hu"], 1),
        "coverage": round(mean["coverage"], 3),
    }
