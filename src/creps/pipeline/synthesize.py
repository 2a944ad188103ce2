"""``creps synthesize``: one MR → one synthetic CT on the MR's own grid."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from creps.checkpoint import Plan
from creps.data.patches import CoveringGrid, covering_grid
from creps.errors import SettingsError
from creps.inference.aggregation import fused_slabs, slab_bytes
from creps.inference.sliding_window import predict_patches, resolve_device
from creps.preprocessing.intensity import SCT_RANGE_HU, mr_divisor, mr_to_network, network_to_hu
from creps.preprocessing.mask import Mask, body_mask_mr
from creps.preprocessing.plausibility import check_mr
from creps.preprocessing.resample import resample, resample_onto
from creps.provenance import provenance
from creps.settings import InferenceSettings
from creps.volume import Array, Volume

__all__ = ["Synthesis", "synthesize"]


@dataclass(frozen=True)
class Synthesis:
    """A synthetic CT and how it came about.

    Attributes:
        sct: In HU on the grid of the MR.
        record: Model, settings, coverage, versions and times, as plain JSON values.
    """

    sct: Volume
    record: dict[str, Any]


def synthesize(
    plan: Plan,
    generator: nn.Module,
    mr: Volume,
    settings: InferenceSettings | None = None,
    *,
    name: str = "the MR",
    progress: Callable[[int, int], None] | None = None,
) -> Synthesis:
    """Make the synthetic CT of an MR (Hémon et al. 2023, section 2.2, Inference).

    Args:
        plan: The model's plan.
        generator: Its generator.
        mr: The MR in scanner units, on any grid, in any orientation.
        settings: Overlap, fusion, device, precision; default: the plan's.
        name: What messages call the MR.
        progress: Called with (patches done, patches in all).

    Returns:
        The sCT in HU, clipped to [-1024, 3000], on the grid of `mr`.

    Raises:
        InputError: the MR is empty, or looks like a CT.
        SettingsError: no such device, or an overlap that cannot cover every voxel.
    """
    settings = settings or plan.inference
    started = time.perf_counter()
    check_mr(mr, Path(name))
    upright = mr.reoriented()
    resampled = resample(upright, plan.preparation.spacing_mm)
    scaled, body, divisor = _scaled(resampled, plan)
    grid = _grid(plan, settings, resampled.shape)
    predictions = predict_patches(
        generator,
        scaled,
        grid,
        batch_size=settings.batch_size,
        precision=settings.precision,
        device=resolve_device(settings.device),
        progress=progress,
    )
    fused = np.concatenate([slab for _, slab in fused_slabs(grid, predictions, settings.fusion)])
    sct_hu = np.clip(network_to_hu(fused[grid.original.slices]), *SCT_RANGE_HU)
    if plan.preparation.remove_outside:
        sct_hu = np.where(body, sct_hu, np.float32(-1000))
    sct = resample_onto(resampled.with_array(sct_hu), upright).reoriented(mr.direction)
    record = _record(plan, settings, mr, grid, divisor, sct.array, time.perf_counter() - started)
    return Synthesis(mr.with_array(sct.array), record)


def _scaled(resampled: Volume, plan: Plan) -> tuple[Array, Mask, float]:
    """The MR in network units, its body mask, and what it was divided by."""
    body = body_mask_mr(resampled)
    preparation = plan.preparation
    divisor = mr_divisor(resampled.array, body, preparation.mr_scale, preparation.mr_percentile)
    scaled = mr_to_network(resampled.array, divisor)
    return (np.where(body, scaled, np.float32(0)) if preparation.remove_outside else scaled), body, divisor


def _grid(plan: Plan, settings: InferenceSettings, shape: tuple[int, int, int]) -> CoveringGrid:
    try:
        return covering_grid(shape, plan.patch_size, settings.patch_overlap, settings.min_coverage)
    except ValueError as error:
        raise SettingsError(f"{str(error).capitalize()}.", "Change inference.patch_overlap or min_coverage.") from error


def _record(
    plan: Plan,
    settings: InferenceSettings,
    mr: Volume,
    grid: CoveringGrid,
    divisor: float,
    sct_hu: Array,
    seconds: float,
) -> dict[str, Any]:
    return {
        **provenance(),
        "model": {
            "weights_sha256": plan.weights_sha256,
            "region": plan.preparation.region,
            "training": plan.training,
        },
        "settings": settings.model_dump(mode="json"),
        "mr": {
            "shape": list(mr.shape),
            "spacing_mm": list(mr.spacing_mm),
            "range": [float(mr.array.min()), float(mr.array.max())],
            "divisor": divisor,
        },
        "patches": {
            "size": list(grid.patch_size),
            "stride": list(grid.stride),
            "count": len(grid.locations),
            "coverage_min": grid.coverage[0],
            "coverage_max": grid.coverage[1],
            "slab_bytes": slab_bytes(grid),
        },
        "sct_hu": {"min": float(sct_hu.min()), "max": float(sct_hu.max()), "mean": float(sct_hu.mean())},
        "seconds": round(seconds, 3),
    }
