"""``creps synthesize``: one MR → one synthetic CT, on the MR's own grid unless another is asked for."""

from __future__ import annotations

import logging
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
from creps.io.dicom.acquisition import Acquisition
from creps.preprocessing.intensity import AIR_HU, SCT_RANGE_HU, network_to_hu
from creps.preprocessing.mask import Mask
from creps.preprocessing.preparation import Prepared, prepare_mr
from creps.preprocessing.target_grid import (
    Spacing,
    TargetGrid,
    bring_onto,
    check_target_grid,
    obliquity_degrees,
    planning_grid,
)
from creps.provenance import provenance
from creps.qa.gate import Gate, examine
from creps.settings import InferenceSettings
from creps.volume import Array, Volume

__all__ = ["Synthesis", "synthesize"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Synthesis:
    """A synthetic CT and how it came about.

    Attributes:
        sct: In HU, on the grid that was asked for.
        record: Model, settings, gate, coverage, versions and times, as plain JSON values.
        gate: What was found before the synthesis.
        body: The patient as found in the MR, 1 inside and 0 outside, on the model's grid.
    """

    sct: Volume
    record: dict[str, Any]
    gate: Gate
    body: Volume

    def body_mask(self) -> Mask:
        """(D, H, W) of `sct`: the patient as found in the MR."""
        return np.asarray(bring_onto(self.body, self.sct, 0.0).array > 0.5)


def synthesize(
    plan: Plan,
    generator: nn.Module,
    mr: Volume,
    settings: InferenceSettings | None = None,
    *,
    name: str = "the MR",
    mask: Volume | None = None,
    acquisition: Acquisition | None = None,
    grid: TargetGrid = "mr",
    spacing_mm: Spacing | None = None,
    force: bool = False,
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
        acquisition: What DICOM headers say of the MR; it is checked against the model and decides the orientation
            of the planning grid.
        grid: Where the sCT is wanted: ``mr``, ``model`` (the network's own grid) or ``planning`` (axial, not oblique).
        spacing_mm: Of the planning grid, along D (superior), H, W; default: the MR's.
        force: Go on although the gate refuses; the record says so.
        progress: Called with (patches done, patches in all).

    Returns:
        The sCT in HU, clipped to [-1024, 3000].

    Raises:
        InputError: the MR is empty, looks like a CT, has no body in it, or is refused by the gate.
        ModelError: the network returns values that are not finite.
        SettingsError: no such device or grid, or an overlap that cannot cover every voxel.
    """
    settings = settings or plan.inference
    check_target_grid(grid, spacing_mm)
    started = time.perf_counter()
    prepared = prepare_mr(mr, plan.preparation, name, mask)
    gate = examine(mr, prepared, plan.preparation, plan.intake, acquisition, plan.recipe)
    gate.refuse(name, forced=force)
    target = _target(mr, prepared.grid, grid, spacing_mm, acquisition)
    _warn(name, gate, mr, grid)
    patches = _patches(plan, settings, prepared.grid.shape)
    sct_hu = _predicted_hu(plan, generator, prepared, patches, settings, progress)
    sct = bring_onto(prepared.grid.with_array(sct_hu), target, AIR_HU)  # beyond a crop is air, not the edge drawn out
    record = {
        **_record(plan, settings, mr, patches, prepared, sct.array),
        "grid": _grid_record(grid, mr, sct),
        "gate": gate.record(forced=force),
        "acquisition": None if acquisition is None else acquisition.record(),
        "seconds": round(time.perf_counter() - started, 3),
    }
    return Synthesis(sct, record, gate, prepared.grid.with_array(prepared.body))


def _warn(name: str, gate: Gate, mr: Volume, grid: TargetGrid) -> None:
    """Say what the user should know before the result is looked at."""
    for finding in gate.refusals:
        log.warning("%s: forced although: %s", name, finding.message)
    for finding in gate.warnings:
        log.warning("%s: %s", name, finding)
    oblique = obliquity_degrees(mr)
    if grid == "planning" and oblique > 0:
        log.warning(
            "%s is oblique by %.3g degrees: its sCT is on axial slices, and air beyond the MR's field of view.",
            name,
            oblique,
        )


def _predicted_hu(
    plan: Plan,
    generator: nn.Module,
    prepared: Prepared,
    patches: CoveringGrid,
    settings: InferenceSettings,
    progress: Callable[[int, int], None] | None,
) -> Array:
    """(D, H, W) in HU on the model's grid."""
    predictions = predict_patches(
        generator,
        prepared.array,
        patches,
        batch_size=settings.batch_size,
        precision=settings.precision,
        device=resolve_device(settings.device),
        progress=progress,
    )
    fused = np.empty(patches.padded_shape, dtype=np.float32)
    for first, slab in fused_slabs(patches, predictions, settings.fusion):
        fused[first : first + len(slab)] = slab
    sct_hu = np.clip(network_to_hu(fused[patches.original.slices]), *SCT_RANGE_HU)
    return np.where(prepared.body, sct_hu, np.float32(AIR_HU)) if plan.preparation.remove_outside else sct_hu


def _target(
    mr: Volume, model: Volume, grid: TargetGrid, spacing_mm: Spacing | None, acquisition: Acquisition | None
) -> Volume:
    """The grid that was asked for."""
    if grid == "planning":
        position = (acquisition.patient_position if acquisition is not None else None) or ""
        return planning_grid(mr, spacing_mm, prone=position.endswith("P"))
    return mr if grid == "mr" else model


def _grid_record(grid: TargetGrid, mr: Volume, sct: Volume) -> dict[str, Any]:
    return {
        "kind": grid,
        "shape": list(sct.shape),
        "spacing_mm": [round(s, 6) for s in sct.spacing_mm],
        "mr_oblique_degrees": round(obliquity_degrees(mr), 3),
    }


def _patches(plan: Plan, settings: InferenceSettings, shape: tuple[int, int, int]) -> CoveringGrid:
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
) -> dict[str, Any]:
    return {
        **provenance(),
        "model": {
            "weights_sha256": plan.weights_sha256,
            "region": plan.preparation.region,
            "recipe": plan.recipe,
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
    }
