"""The record of an sCT: everything that its JSON file says, put together in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from creps.inference.executor import Executor
from creps.inference.prediction import Layout
from creps.intake.gate import IntakeResult
from creps.io.dicom.read.acquisition import Acquisition
from creps.io.image import ImageSource
from creps.model import Plan
from creps.preprocessing.preparation import Prepared
from creps.preprocessing.target_grid import TargetGrid, obliquity_degrees
from creps.provenance import provenance, sha256_file
from creps.settings import InferenceSettings
from creps.synthesis.options import SynthesisOptions
from creps.volume import Volume

__all__ = ["synthesis_record"]


def synthesis_record(
    plan: Plan,
    settings: InferenceSettings,
    options: SynthesisOptions,
    *,
    mr: Volume,
    source: ImageSource | None,
    acquisition: Acquisition | None,
    prepared: Prepared,
    intake: IntakeResult,
    executor: Executor,
    layout: Layout,
    sct: Volume,
    seconds: float,
) -> dict[str, Any]:
    """The whole record, as plain JSON values.

    Args:
        plan: Of the model.
        settings: Inference settings of this synthesis.
        options: Grid, mask, and whether a refusal was overridden.
        mr: The MR as it was given.
        source: Its file or series; None for a volume in memory.
        acquisition: Its DICOM attributes; None without any.
        prepared: The MR, prepared for the model.
        intake: Findings of the intake checks.
        executor: Device and precision.
        layout: Patches or tiles.
        sct: The result in HU.
        seconds: How long the synthesis took.
    """
    return {
        **provenance(),
        "model": {
            "weights_sha256": plan.weights_sha256,
            "region": plan.preparation.region,
            "recipe": plan.recipe,
            "training": plan.training,
        },
        "settings": settings.model_dump(mode="json"),
        "mr": _mr(mr, prepared),
        "patches": _patches(layout, executor, prepared),
        "sct_hu": {"min": float(sct.array.min()), "max": float(sct.array.max()), "mean": float(sct.array.mean())},
        "grid": _grid(options.grid, mr, sct),
        "gate": intake.record(forced=options.force),
        "acquisition": None if acquisition is None else acquisition.record(),
        "seconds": round(seconds, 3),
        "input": {"given": "in memory"} if source is None else source.record(),
        "mask": _mask(options.mask),
    }


def _mask(mask: Volume | Path | str | None) -> dict[str, str] | None:
    if mask is None:
        return None
    return {"given": "in memory"} if isinstance(mask, Volume) else {"sha256": sha256_file(Path(mask))}


def _mr(mr: Volume, prepared: Prepared) -> dict[str, Any]:
    return {
        "shape": list(mr.shape),
        "spacing_mm": list(mr.spacing_mm),
        "range": [float(mr.array.min()), float(mr.array.max())],
        "divisor": prepared.mr_divisor,
        "body_share": round(float(prepared.body.mean()), 4),
        "left_out_ml": prepared.left_out_ml,
        "notes": list(prepared.notes),
    }


def _patches(layout: Layout, executor: Executor, prepared: Prepared) -> dict[str, Any]:
    fewest, most = layout.coverage(prepared.body)
    return {
        **layout.record(),
        "coverage_min": fewest,
        "coverage_max": most,
        "precision": executor.precision,
        "device": executor.device.type,
    }


def _grid(kind: TargetGrid | None, mr: Volume, sct: Volume) -> dict[str, Any]:
    return {
        "kind": kind,
        "shape": list(sct.shape),
        "spacing_mm": [round(s, 6) for s in sct.spacing_mm],
        "mr_oblique_degrees": round(obliquity_degrees(mr), 3),
    }
