"""One MR → one synthetic CT, on the MR's own grid unless another is asked for: the recipe from end to end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from creps import hu
from creps.inference.executor import Executor
from creps.inference.prediction import MARGIN_MM, Layout, lay_out, predict
from creps.intake.gate import Gate, examine
from creps.io.dicom.read.acquisition import Acquisition
from creps.io.itk import read_volume
from creps.machine import emulated_bf16, resolve_device
from creps.model import Model
from creps.preprocessing.intensity import network_to_hu
from creps.preprocessing.preparation import Prepared, prepare_mr, without_padding
from creps.preprocessing.target_grid import TargetGrid, bring_onto, obliquity_degrees, planning_grid
from creps.provenance import provenance
from creps.settings import InferenceSettings
from creps.synthesis.options import SynthesisOptions
from creps.synthesis.result import Synthesis
from creps.volume import Array, Volume

__all__ = ["Synthesis", "synthesize"]

log = logging.getLogger(__name__)


def synthesize(
    model: Model,
    mr: Volume,
    settings: InferenceSettings | None = None,
    options: SynthesisOptions | None = None,
    *,
    name: str = "the MR",
    acquisition: Acquisition | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Synthesis:
    """Make the synthetic CT of an MR (Hémon et al. 2023, section 2.2, Inference).

    Args:
        model: The trained model.
        mr: The MR in scanner units, on any grid, in any orientation.
        settings: Overlap, fusion, device, precision; default: the plan's.
        options: Grid, mask, and whether to continue against a refusal; default: the MR's grid.
        name: What messages call the MR.
        acquisition: The MR's DICOM attributes; they are checked against the model, and decide the orientation of the
            planning grid.
        progress: Called with (patches done, patches in all).

    Returns:
        The sCT in HU, clipped to [-1024, 3000].

    Raises:
        InputError: the MR is empty, looks like a CT, has no body in it, or is refused by the gate; or the mask cannot
            be used.
        ModelError: the network returns values that are not finite, or does not fit into memory.
        SettingsError: no such device or grid, an overlap that cannot cover every voxel, or a fusion that the network
            does not allow.
    """
    plan, settings = model.plan, settings or model.plan.inference
    options = (options or SynthesisOptions()).with_grid(dicom=False)
    started = time.perf_counter()
    prepared = prepare_mr(mr, plan.preparation, name, _mask(options))
    gate = examine(mr, prepared, plan.preparation, plan.intake, acquisition, plan.recipe)
    gate.refuse(name, forced=options.force)
    target = _target(mr, prepared.grid, options, acquisition)
    prepared = without_padding(prepared)
    _warn(name, gate, mr, options.grid)
    executor = Executor(model.generator, resolve_device(settings.device), settings.precision)
    if slow := emulated_bf16(settings.precision, executor.device):
        log.warning("%s (--inference.precision)", slow)
    layout = _layout(model, executor, prepared, settings, spread=options.spread)
    predicted, spread = _predicted(executor, prepared, layout, settings, progress, spread=options.spread)
    sct_hu = _in_hu(model, prepared, predicted)
    sct = bring_onto(prepared.grid.with_array(sct_hu), target, hu.AIR)  # outside a crop: air, not its edge extended
    record = {
        **_record(model, settings, mr, executor, layout, prepared, sct.array),
        "grid": _grid_record(options.grid, mr, sct),
        "gate": gate.record(forced=options.force),
        "acquisition": None if acquisition is None else acquisition.record(),
        "seconds": round(time.perf_counter() - started, 3),
    }
    body = prepared.grid.with_array(prepared.body)
    return Synthesis(sct, record, gate, body, mr, spread=_spread_on(target, model, prepared, spread))


def _mask(options: SynthesisOptions) -> Volume | None:
    if isinstance(options.mask, (Path, str)):
        return read_volume(Path(options.mask))
    return options.mask


def _warn(name: str, gate: Gate, mr: Volume, grid: TargetGrid | None) -> None:
    """Log what the user should know before looking at the result."""
    for finding in gate.refusals:
        log.warning("%s: --force overrides: %s", name, finding.message)
    for finding in gate.warnings:
        log.warning("%s: %s", name, finding)
    oblique = obliquity_degrees(mr)
    if grid == "planning" and oblique > 0:
        log.warning(
            "%s is oblique by %.3g degrees: the sCT is written on axial slices, with air outside the MR's field of view.",
            name,
            oblique,
        )


def _layout(
    model: Model, executor: Executor, prepared: Prepared, settings: InferenceSettings, *, spread: bool
) -> Layout:
    margin_mm = 0.0 if model.plan.preparation.remove_outside else MARGIN_MM
    layout = lay_out(
        prepared.grid.shape,
        prepared.grid.spacing_mm,
        prepared.body,
        model.plan.patch_size,
        executor,
        settings,
        margin_mm=margin_mm,
        spread=spread,
        lattice_index=prepared.lattice_index,
        signal=prepared.array,
    )
    log.info(
        "%d patches or tiles, batch size %d, %s on %s: about %.2g GB of memory",
        len(layout.pieces),
        layout.batch_size,
        executor.precision,
        executor.device,
        layout.total_bytes / 1e9,
    )
    return layout


def _predicted(
    executor: Executor,
    prepared: Prepared,
    layout: Layout,
    settings: InferenceSettings,
    progress: Callable[[int, int], None] | None,
    *,
    spread: bool,
) -> tuple[Array, Array | None]:
    """Value and, if it is wanted, spread of every voxel, in network units."""
    if spread:
        return predict(executor, prepared.array, layout, settings, progress, spread=True)
    return predict(executor, prepared.array, layout, settings, progress), None


def _spread_on(target: Volume, model: Model, prepared: Prepared, spread: Array | None) -> Volume | None:
    """The spread in HU on the grid of the sCT; 0 where nothing was predicted, and where the sCT is air by rule."""
    if spread is None:
        return None
    shown = ~np.isnan(spread) & (prepared.body | (not model.plan.preparation.remove_outside))
    spread_hu = np.where(shown, spread, np.float32(0)) * np.float32(hu.PER_NETWORK_UNIT)
    on_target = bring_onto(prepared.grid.with_array(spread_hu), target, 0.0)
    return on_target.with_array(np.maximum(on_target.array, 0))  # cubic B-splines undershoot


def _in_hu(model: Model, prepared: Prepared, sct: Array) -> Array:
    """(D, H, W) network units → HU; air where nothing was predicted, and where the model removes the background."""
    missing = np.isnan(sct)
    if (missing & prepared.body).any():
        raise ValueError("a voxel of the body has no prediction")
    air = missing | ~prepared.body if model.plan.preparation.remove_outside else missing
    return np.where(air, np.float32(hu.AIR), np.clip(network_to_hu(sct), *hu.SCT_RANGE))


def _target(mr: Volume, model_grid: Volume, options: SynthesisOptions, acquisition: Acquisition | None) -> Volume:
    """The grid that was asked for."""
    if options.grid == "planning":
        position = (acquisition.patient_position if acquisition is not None else None) or ""
        return planning_grid(mr, options.spacing_mm, prone=position.endswith("P"))
    return mr if options.grid == "mr" else model_grid


def _grid_record(grid: TargetGrid | None, mr: Volume, sct: Volume) -> dict[str, Any]:
    return {
        "kind": grid,
        "shape": list(sct.shape),
        "spacing_mm": [round(s, 6) for s in sct.spacing_mm],
        "mr_oblique_degrees": round(obliquity_degrees(mr), 3),
    }


def _record(
    model: Model,
    settings: InferenceSettings,
    mr: Volume,
    executor: Executor,
    layout: Layout,
    prepared: Prepared,
    sct_hu: Array,
) -> dict[str, Any]:
    plan, covered = model.plan, layout.coverage(prepared.body)
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
