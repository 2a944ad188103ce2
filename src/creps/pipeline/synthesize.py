"""``creps synthesize``: one MR → one synthetic CT on the MR's own grid."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from creps.checkpoint import Plan
from creps.data.patches import CoveringGrid, covering_grid
from creps.device import resolve_device
from creps.errors import SettingsError
from creps.inference.aggregation import fused_slabs, slab_bytes
from creps.inference.sliding_window import predict_patches
from creps.preprocessing.crop import beyond
from creps.preprocessing.intensity import AIR_HU, SCT_RANGE_HU, network_to_hu
from creps.preprocessing.preparation import Prepared, prepare_mr
from creps.preprocessing.resample import resample_onto
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
    mask: Volume | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Synthesis:
    """Make the synthetic CT of an MR (Hémon et al. 2023, section 2.2, Inference).

    Args:
        plan: The model's plan.
        generator: Its generator.
        mr: The MR in scanner units, on any grid, in any orientation.
        settings: Overlap, fusion, device, precision; default: the plan's.
        name: What messages call the MR.
        mask: A body mask on the grid of `mr`, to be used instead of the one found in it.
        progress: Called with (patches done, patches in all).

    Returns:
        The sCT in HU, clipped to [-1024, 3000], on the grid of `mr`.

    Raises:
        InputError: the MR is empty, looks like a CT, or has no body in it.
        ModelError: the network returns values that are not finite.
        SettingsError: no such device, or an overlap that cannot cover every voxel.
    """
    settings = settings or plan.inference
    started = time.perf_counter()
    prepared = prepare_mr(mr, plan.preparation, name, mask)
    grid = _grid(plan, settings, prepared.grid.shape)
    predictions = predict_patches(
        generator,
        prepared.array,
        grid,
        batch_size=settings.batch_size,
        precision=settings.precision,
        device=resolve_device(settings.device),
        progress=progress,
    )
    fused = np.empty(grid.padded_shape, dtype=np.float32)
    for first, slab in fused_slabs(grid, predictions, settings.fusion):
        fused[first : first + len(slab)] = slab
    sct_hu = np.clip(network_to_hu(fused[grid.original.slices]), *SCT_RANGE_HU)
    if plan.preparation.remove_outside:
        sct_hu = np.where(prepared.body, sct_hu, np.float32(AIR_HU))
    upright = resample_onto(prepared.grid.with_array(sct_hu), mr.reoriented())
    outside = beyond(upright, prepared.grid)  # what `crop_margin_mm` cut away is air, not the edge drawn out
    sct = upright.with_array(np.where(outside, np.float32(AIR_HU), upright.array)).reoriented(mr.direction)
    record = _record(plan, settings, mr, grid, prepared, sct.array, time.perf_counter() - started)
    return Synthesis(mr.with_array(sct.array), record)


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
    prepared: Prepared,
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
            "divisor": prepared.mr_divisor,
            "body_share": round(float(prepared.body.mean()), 4),
        },
        "patches": {
            "size": list(grid.patch_size),
            "stride": list(grid.stride),
            "count": len(grid.locations),
            "coverage_min": grid.coverage[0],
            "coverage_max": grid.coverage[1],
            "slot_bytes": slab_bytes(grid),
        },
        "sct_hu": {"min": float(sct_hu.min()), "max": float(sct_hu.max()), "mean": float(sct_hu.mean())},
        "seconds": round(seconds, 3),
    }
