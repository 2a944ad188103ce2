"""``creps synthesize``: one MR → one synthetic CT, on the MR's own grid unless another is asked for."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from creps import hu
from creps.inference.executor import Executor
from creps.inference.prediction import MARGIN_MM, Layout, lay_out, predict
from creps.intake.gate import Gate, examine
from creps.io.dicom.read.acquisition import Acquisition
from creps.machine import emulated_bf16, resolve_device
from creps.model import Plan
from creps.preprocessing.intensity import network_to_hu
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
from creps.settings import InferenceSettings
from creps.volume import Array, Mask, Volume

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
        ModelError: the network returns values that are not finite, or does not fit into memory.
        SettingsError: no such device or grid, an overlap that cannot cover every voxel, or a fusion that the network
            does not allow.
    """
    settings = settings or plan.inference
    check_target_grid(grid, spacing_mm)
    started = time.perf_counter()
    prepared = prepare_mr(mr, plan.preparation, name, mask)
    gate = examine(mr, prepared, plan.preparation, plan.intake, acquisition, plan.recipe)
    gate.refuse(name, forced=force)
    target = _target(mr, prepared.grid, grid, spacing_mm, acquisition)
    _warn(name, gate, mr, grid)
    executor = Executor(generator, resolve_device(settings.device), settings.precision)
    if slow := emulated_bf16(settings.precision, executor.device):
        log.warning("%s (--inference.precision)", slow)
    layout = _layout(plan, executor, prepared, settings)
    sct_hu = _in_hu(plan, prepared, predict(executor, prepared.array, layout, settings, progress))
    sct = bring_onto(prepared.grid.with_array(sct_hu), target, hu.AIR)  # beyond a crop is air, not the edge drawn out
    record = {
        **_record(plan, settings, mr, executor, layout, prepared, sct.array),
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


def _layout(plan: Plan, executor: Executor, prepared: Prepared, settings: InferenceSettings) -> Layout:
    margin_mm = 0.0 if plan.preparation.remove_outside else MARGIN_MM
    layout = lay_out(
        prepared.grid.shape,
        prepared.grid.spacing_mm,
        prepared.body,
        plan.patch_size,
        executor,
        settings,
        margin_mm=margin_mm,
    )
    log.info(
        "%d pieces, %d at once, in %s on %s: about %.2g GB of memory.",
        len(layout.pieces),
        layout.batch_size,
        executor.precision,
        executor.device,
        layout.total_bytes / 1e9,
    )
    return layout


def _in_hu(plan: Plan, prepared: Prepared, sct: Array) -> Array:
    """(D, H, W) network units → HU; what was not predicted is air, as is what the model removes outside the body."""
    missing = np.isnan(sct)
    if (missing & prepared.body).any():
        raise ValueError("a voxel of the body has no prediction")
    air = missing | ~prepared.body if plan.preparation.remove_outside else missing
    return np.where(air, np.float32(hu.AIR), np.clip(network_to_hu(sct), *hu.SCT_RANGE))


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


def _record(
    plan: Plan,
    settings: InferenceSettings,
    mr: Volume,
    executor: Executor,
    layout: Layout,
    prepared: Prepared,
    sct_hu: Array,
) -> dict[str, Any]:
    covered = layout.coverage(prepared.body)
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
            **layout.record(),
            "coverage_min": covered[0],
            "coverage_max": covered[1],
            "precision": executor.precision,
            "device": executor.device.type,
        },
        "sct_hu": {"min": float(sct_hu.min()), "max": float(sct_hu.max()), "mean": float(sct_hu.mean())},
    }
