"""The uncertainty of an sCT in HU: half widths of intervals, and the MAE that they let expect."""

from __future__ import annotations

from typing import Any

import numpy as np

from creps.errors import SettingsError
from creps.model import Model
from creps.networks.ensemble import Ensemble
from creps.preprocessing.preparation import Prepared
from creps.preprocessing.target_grid import bring_onto
from creps.qa.uncertainty.slices import errors_by_slice
from creps.settings import InferenceSettings
from creps.synthesis.options import SynthesisOptions
from creps.volume import Array, Volume

__all__ = ["check_calibrated", "uncertainty_on"]

MEASURED_WITH = ("extent", "patch_overlap", "min_coverage", "fusion", "flips")
"""Inference settings that change the spread: a calibration holds for those of the plan."""


def check_calibrated(model: Model, settings: InferenceSettings, options: SynthesisOptions) -> None:
    """Refuse an uncertainty that nobody has measured, before anything is computed; do nothing if none is requested.

    Raises:
        SettingsError: the model yields no spread, has no calibration, or its calibration is of other settings.
    """
    usual = model.plan.inference
    if not options.uncertainty:
        return
    if settings.fusion == "single" and not model.generator.yields_spread:
        raise SettingsError(
            "This model predicts one value for each voxel and no spread, so it has no uncertainty.",
            "Leave --uncertainty (uncertainty=True) out, or use a model with generator.classes.",
        )
    if isinstance(model.generator, Ensemble) and model.calibration is None:
        raise SettingsError(
            "An ensemble has no calibration on the command line.",
            "Leave --uncertainty or --ensemble out; in Python call calibrate() of the loaded ensemble first.",
        )
    if model.calibration is None:
        raise SettingsError(
            "The spread of this model is not calibrated, so its uncertainty in HU is unknown.",
            "Run 'creps calibrate' with the model first.",
        )
    changed = next((name for name in MEASURED_WITH if getattr(settings, name) != getattr(usual, name)), None)
    if changed is not None:
        raise SettingsError(
            f"The model was calibrated with inference.{changed} = {getattr(usual, changed)}, not"
            f" {getattr(settings, changed)}.",
            f"Leave inference.{changed} as it is in the model, or the uncertainty out.",
        )


def uncertainty_on(
    target: Volume, model: Model, prepared: Prepared, sct_hu: Array, spread_hu: Array
) -> tuple[Volume, dict[str, Any]]:
    """Half width of the interval on the sCT's grid, and what the record says.

    Args:
        target: Grid of the sCT.
        model: With a calibration.
        prepared: The MR on the model's grid, with the body.
        sct_hu: (D, H, W) of the model's grid.
        spread_hu: (D, H, W) of the model's grid; 0 where nothing was predicted.

    Returns:
        Half width in HU, 0 where nothing was predicted; and the predicted MAE of the body and of each slice.
    """
    calibration = model.calibration
    if calibration is None:
        raise ValueError("the model has no calibration")
    predicted = spread_hu > 0
    width, error = (np.zeros_like(sct_hu) for _ in range(2))
    width[predicted], error[predicted] = calibration.read(sct_hu[predicted], spread_hu[predicted])
    body = prepared.body.astype(bool)
    record = {
        **calibration.summary(),
        "mean_half_width_hu": round(float(width[body].mean()), 1),
        "predicted_mae_hu": round(float(error[body].mean()), 1),
        "predicted_mae_of_slices_hu": errors_by_slice(error, body, prepared.grid, target),
    }
    return bring_onto(prepared.grid.with_array(width), target, 0.0), record
