"""Name, unit, best value and definition of every metric of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from creps import hu
from creps.metrics.synthrad import RANGE_4024_HU, RANGE_4095_HU
from creps.metrics.tissues import TISSUE_WINDOWS_HU

__all__ = ["AIR_DEPTH_MM", "METRICS", "Best", "Metric", "definitions", "metric", "worst"]

AIR_DEPTH_MM = 5.0
"""Internal air is at least this deep below the skin."""

Best = Literal["low", "high", "zero", "one"]


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: Its name, with its unit as suffix.
        label: Its name in tables.
        unit: HU, dB, mm, or none.
        best: Which value is best.
        definition: One sentence.
    """

    name: str
    label: str
    unit: str
    best: Best
    definition: str


def _ranged(range_hu: tuple[float, float]) -> str:
    low, high = range_hu
    return f"[{low:g}, {high:g}] HU, L = {high - low:g}"


METRICS: tuple[Metric, ...] = (
    Metric("mae_hu", "MAE", "HU", "low", "mean |sCT - CT| over the mask, without clipping"),
    Metric("bias_hu", "bias", "HU", "zero", "mean of sCT - CT over the mask"),
    Metric("synthrad2023_mae_hu", "SynthRAD2023 MAE", "HU", "low", "as mae_hu"),
    Metric("synthrad2023_psnr_db", "SynthRAD2023 PSNR", "dB", "high",
           f"10 log10(L²/MSE) over the mask, clipped to {_ranged(RANGE_4024_HU)}"),
    Metric("synthrad2023_ssim", "SynthRAD2023 SSIM", "", "high",
           f"3-D SSIM, uniform 7³ window, {_ranged(RANGE_4024_HU)}, -1024 outside the mask, mean over the mask"
           " without the 3 outermost voxels of the image"),
    Metric("synthrad2025_mae_hu", "SynthRAD2025 MAE", "HU", "low", "as mae_hu"),
    Metric("synthrad2025_psnr_db", "SynthRAD2025 PSNR", "dB", "high",
           f"10 log10(L²/MSE) over the mask, clipped to {_ranged(RANGE_4095_HU)} (official container)"),
    Metric("synthrad2025_psnr_4024_db", "SynthRAD2025 PSNR, L 4024", "dB", "high",
           f"as synthrad2025_psnr_db with {_ranged(RANGE_4024_HU)} (another official repository)"),
    Metric("synthrad2025_ms_ssim", "SynthRAD2025 MS-SSIM", "", "high",
           f"five-level SSIM of the challenge, {_ranged(RANGE_4095_HU)}, luminance at every level"),
    Metric("synthrad2025_ms_ssim_4024", "SynthRAD2025 MS-SSIM, L 4024", "", "high",
           f"as synthrad2025_ms_ssim with {_ranged(RANGE_4024_HU)}"),
    Metric("bone_dice", "bone Dice", "", "high", f"Dice of the voxels above {hu.BONE_ABOVE:g} HU inside the mask"),
    Metric("bone_assd_mm", "bone surface distance", "mm", "low",
           "mean distance of the voxels of both bone surfaces to the other one"),
    Metric("bone_hd95_mm", "bone HD95", "mm", "low", "the larger of the two directed 95th percentiles of distance"),
    Metric("air_dice", "internal air Dice", "", "high",
           f"Dice of the voxels below {hu.AIR_BELOW:g} HU inside the mask and {AIR_DEPTH_MM:g} mm or more inside the"
           " true CT's body"),
    Metric("air_assd_mm", "internal air surface distance", "mm", "low", "as bone_assd_mm"),
    Metric("air_hd95_mm", "internal air HD95", "mm", "low", "as bone_hd95_mm"),
    Metric("body_dice", "body Dice", "", "high",
           f"Dice of the bodies found in each image (above {hu.SKIN:g} HU, without couch, filled), in the mask and out"
           " of it"),
    Metric("body_assd_mm", "body surface distance", "mm", "low", "as bone_assd_mm"),
    Metric("body_hd95_mm", "body HD95", "mm", "low", "as bone_hd95_mm"),
    Metric("edge_sharpness", "edge sharpness", "", "one",
           f"mean gradient magnitude of the sCT : that of the CT, at the CT's edges of bone (> {hu.BONE_ABOVE:g} HU)"
           f" and air (< {hu.AIR_BELOW:g} HU) inside the mask"),
    Metric("histogram_distance_hu", "histogram distance", "HU", "low",
           "1-D Wasserstein distance of the HU histograms inside the mask"),
)  # fmt: skip
"""Every metric except errors by tissue, in the order of tables."""

_BY_NAME = {one.name: one for one in METRICS}


def metric(name: str) -> Metric:
    """Return the metric of a name; errors by tissue are ``mae_<class>_hu`` and ``bias_<class>_hu``."""
    if name in _BY_NAME:
        return _BY_NAME[name]
    kind, _, rest = name.partition("_")
    tissue = rest.removesuffix("_hu")
    low, high = TISSUE_WINDOWS_HU.get(tissue, (None, None))
    where = f"the voxels of {tissue}" + ("" if low is None else f" (CT from {low:g} to {high:g} HU)")
    plain = tissue.replace("_", " ")
    if kind == "mae":
        return Metric(name, f"MAE, {plain}", "HU", "low", f"mean |sCT - CT| over {where} inside the mask")
    return Metric(name, f"bias, {plain}", "HU", "zero", f"mean of sCT - CT over {where} inside the mask")


def definitions(names: list[str]) -> dict[str, str]:
    """Return name → definition."""
    return {name: metric(name).definition for name in names}


def worst(name: str, values: dict[str, float]) -> str:
    """Return the case whose value is furthest from the best one.

    Args:
        name: Name of the metric.
        values: Case → value; at least one.
    """
    best = metric(name).best

    def badness(case: str) -> float:
        value = values[case]
        return {"low": value, "high": -value, "zero": abs(value), "one": abs(value - 1)}[best]

    return max(values, key=badness)
