"""Synthesize one CT from one MR, end to end; on the MR's grid unless the options request another."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from creps import hu
from creps.inference.executor import Executor
from creps.inference.prediction import MARGIN_MM, Layout, lay_out, predict
from creps.intake.gate import IntakeResult, examine
from creps.io.dicom.read.acquisition import Acquisition
from creps.io.image import ImageSource
from creps.io.itk import read_volume
from creps.machine import bf16_warning, resolve_device
from creps.model import Model
from creps.preprocessing.intensity import network_to_hu
from creps.preprocessing.plausibility import check_mr_scale
from creps.preprocessing.preparation import Prepared, crop_to_imaged, prepare_mr
from creps.preprocessing.target_grid import TargetGrid, bring_onto, obliquity_degrees, planning_grid
from creps.settings import InferenceSettings, PreparationSettings
from creps.synthesis.background import background, dense_ml
from creps.synthesis.options import SynthesisOptions
from creps.synthesis.overrides import overridden, resolve_overrides
from creps.synthesis.purpose import IN_MEMORY
from creps.synthesis.record import synthesis_record
from creps.synthesis.result import Synthesis
from creps.synthesis.uncertainty import check_calibrated, uncertainty_on
from creps.volume import Array, Volume

__all__ = ["synthesize", "synthesize_source"]

log = logging.getLogger(__name__)

LOGGED_ML = 1.0
"""Smallest cleared volume that is logged; the record always has it."""


def synthesize_source(
    model: Model,
    source: ImageSource,
    settings: InferenceSettings | None = None,
    options: SynthesisOptions | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Synthesis:
    """Read an MR and synthesize it, see `synthesize`; its DICOM attributes are checked against the model.

    Args:
        model: The trained model.
        source: A volume file or a DICOM series.
        settings: As in `synthesize`.
        options: As in `synthesize`; default: the planning grid for a DICOM series, the MR's for a file.
        progress: Called with (patches done, patches in all).

    Raises:
        InputError: the MR cannot be read; and as in `synthesize`.
        SettingsError: see `synthesize`.
        ModelError: see `synthesize`.
    """
    return synthesize(model, source.read(), settings, options, source=source, progress=progress)


def synthesize(
    model: Model,
    mr: Volume,
    settings: InferenceSettings | None = None,
    options: SynthesisOptions | None = None,
    *,
    source: ImageSource | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Synthesis:
    """Make the synthetic CT of an MR (Hémon et al. 2023, section 2.2, Inference).

    Args:
        model: The trained model.
        mr: The MR in scanner units, on any grid, in any orientation.
        settings: Overlap, fusion, device, precision; default: the plan's.
        options: Grid, mask, spread, uncertainty, and whether to override a refusal; default: the MR's grid.
        source: The file or series that `mr` was read from. The DICOM attributes of a series are checked against the
            model, and decide the orientation of the planning grid.
        progress: Called with (patches done, patches in all).

    Returns:
        The sCT in HU, clipped to [-1024, 3000].

    Raises:
        InputError: the MR is empty, looks like a CT, has no body in it, or is refused by the intake checks or by what
            is to be made of the sCT; or the mask or an override cannot be used.
        ModelError: the network returns values that are not finite, or does not fit into memory.
        SettingsError: no such device or grid, an overlap that cannot cover every voxel, a fusion that the network
            does not allow, or an uncertainty of a model without spread or calibration.
    """
    plan, settings, options = model.plan, settings or model.plan.inference, options or SynthesisOptions()
    check_calibrated(model, settings, options)
    name, acquisition = (IN_MEMORY, None) if source is None else (source.name, source.acquisition())
    options = replace(options, grid=options.grid_for(dicom=acquisition is not None))
    started = time.perf_counter()
    prepared = _prepared(mr, plan.preparation, name, options)
    masked = options.mask is not None
    intake = examine(mr, prepared, plan.preparation, plan.intake, acquisition, plan.recipe, masked=masked)
    intake.raise_if_refused(name, forced=options.force)
    target = _suitable_target(mr, prepared, options, acquisition, plan.preparation.region, name)
    overrides = resolve_overrides(options.overrides, mr, target, source)
    prepared = crop_to_imaged(prepared)
    _warn(name, intake, mr, options.grid)
    executor = _executor(model, settings, options)
    if slow := bf16_warning(settings.precision, executor.device):
        log.warning("%s (inference.precision)", slow)
    layout = _layout(model, executor, prepared, settings, spread=options.with_spread)
    predicted, spread = predict(executor, prepared.array, layout, settings, progress, spread=options.with_spread)
    cleared_ml = _clear_background(name, prepared, predicted, spread) if settings.extent == "body" else 0.0
    sct_hu = _in_hu(model, prepared, predicted)
    sct = bring_onto(prepared.grid.with_array(sct_hu), target, hu.AIR)  # outside a crop: air, not its edge extended
    predicted_sct = sct if overrides else None
    sct, known = overridden(sct, overrides)
    shown, uncertainty, expected = _spread_on(target, model, prepared, sct_hu, spread, options)
    if uncertainty is not None and known is not None:
        uncertainty = uncertainty.with_array(np.where(known, np.float32(0), uncertainty.array))
    record = synthesis_record(
        plan, settings, options, mr=mr, source=source, acquisition=acquisition, prepared=prepared, intake=intake,
        executor=executor, layout=layout, sct=sct, seconds=time.perf_counter() - started,
    )  # fmt: skip
    record |= {"cleared_ml": cleared_ml, "uncertainty": expected, "overrides": [one.record for one in overrides]}
    body = prepared.grid.with_array(prepared.body)
    return Synthesis(sct, record, intake, body, mr, source, shown, uncertainty, predicted_sct, known, options.derived)


def _prepared(mr: Volume, preparation: PreparationSettings, name: str, options: SynthesisOptions) -> Prepared:
    """The MR as the network takes it; whatever was changed in it is logged.

    Raises:
        InputError: it is no MR, or black, saturated or negative at the model's scale.
    """
    prepared = prepare_mr(mr, preparation, name, _mask(options))
    check_mr_scale(
        prepared.intensity,
        prepared.mr_divisor or 1.0,
        name,
        fixed=preparation.mr_scale != "auto",
        remedy="Rescale it to the units of the training MRs, or train a model with --preparation.mr_scale auto.",
    )
    for note in prepared.notes:
        log.warning("%s: %s", name, note)
    return prepared


def _mask(options: SynthesisOptions) -> Volume | None:
    if isinstance(options.mask, (Path, str)):
        return read_volume(Path(options.mask))
    return options.mask


def _warn(name: str, intake: IntakeResult, mr: Volume, grid: TargetGrid | None) -> None:
    """Log what the user should know before looking at the result."""
    for finding in intake.refusals:
        log.warning("%s: forced in spite of the check '%s': %s", name, finding.check, finding.message)
    for finding in intake.warnings:
        log.warning("%s: %s", name, finding)
    oblique = obliquity_degrees(mr)
    if grid == "planning" and oblique > 0:
        log.warning(
            "%s is oblique by %.3g degrees: the sCT has axial slices, with air outside the MR's field of view.",
            name,
            oblique,
        )


def _executor(model: Model, settings: InferenceSettings, options: SynthesisOptions) -> Executor:
    return Executor(
        model.generator,
        resolve_device(settings.device),
        settings.precision,
        spread=options.with_spread,
        flips=settings.flips,
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
        "%s, %s on %s: about %.2g GB of memory",
        _pieces(layout),
        executor.precision,
        executor.device,
        layout.total_bytes / 1e9,
    )
    return layout


def _pieces(layout: Layout) -> str:
    """What is predicted at once, in words."""
    count = len(layout.pieces)
    if layout.grid is not None:
        return f"{count} patches, {layout.batch_size} at once"
    return "the body in one piece" if count == 1 else f"{count} tiles"


def _clear_background(name: str, prepared: Prepared, predicted: Array, spread: Array | None) -> float:
    """Take back, in place, what was predicted apart from the body; return the volume in ml that was no air."""
    spacing_mm, sct_hu = prepared.grid.spacing_mm, network_to_hu(predicted)
    air = background(sct_hu, prepared.body, spacing_mm)
    cleared_ml = dense_ml(sct_hu, air, spacing_mm)
    if cleared_ml >= LOGGED_ML:
        log.info("%s: what the network made of signal beside the body (%.3g ml) became air", name, cleared_ml)
    for values in (predicted,) if spread is None else (predicted, spread):
        values[air] = np.nan
    return cleared_ml


def _spread_on(
    target: Volume, model: Model, prepared: Prepared, sct_hu: Array, spread: Array | None, options: SynthesisOptions
) -> tuple[Volume | None, Volume | None, dict[str, Any] | None]:
    """The spread and the uncertainty that were asked for, on the sCT's grid, and the record of the second.

    Both are in HU, and 0 where nothing was predicted or the background is removed.
    """
    if spread is None:
        return None, None, None
    predicted = ~np.isnan(spread) & (prepared.body | (not model.plan.preparation.remove_outside))
    spread_hu = np.where(predicted, spread, np.float32(0)) * np.float32(hu.PER_NETWORK_UNIT)
    shown, uncertainty, expected = None, None, None
    if options.spread:
        shown = bring_onto(prepared.grid.with_array(spread_hu), target, 0.0)
    if options.uncertainty:
        uncertainty, expected = uncertainty_on(target, model, prepared, sct_hu, spread_hu)
    return shown, uncertainty, expected


def _in_hu(model: Model, prepared: Prepared, sct: Array) -> Array:
    """(D, H, W) network units → HU; air where nothing was predicted, and where the model removes the background."""
    missing = np.isnan(sct)
    if (missing & prepared.body).any():
        raise ValueError("a voxel of the body has no prediction")
    air = missing | ~prepared.body if model.plan.preparation.remove_outside else missing
    return np.where(air, np.float32(hu.AIR), np.clip(network_to_hu(sct), *hu.SCT_RANGE))


def _suitable_target(
    mr: Volume, prepared: Prepared, options: SynthesisOptions, acquisition: Acquisition | None, region: str, name: str
) -> Volume:
    """Return the requested grid; what is to be made of the sCT may refuse it, or the MR."""
    target = _target(mr, prepared.grid, options, acquisition)
    body = prepared.grid.with_array(prepared.body)
    for one in options.derived:
        one.check(mr, body, target, region, name)
    return target


def _target(mr: Volume, model_grid: Volume, options: SynthesisOptions, acquisition: Acquisition | None) -> Volume:
    """Return the requested grid."""
    if options.grid == "planning":
        position = (acquisition.patient_position if acquisition is not None else None) or ""
        return planning_grid(mr, options.spacing_mm, prone=position.endswith("P"))
    return mr if options.grid == "mr" else model_grid
