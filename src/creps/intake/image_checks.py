"""Checks of the volume itself: how coarse it is, and whether the patient is cut off."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from creps.intake.findings import Finding, Level
from creps.preprocessing.preparation import Prepared
from creps.preprocessing.resample import model_grid
from creps.volume import Mask, Volume

__all__ = [
    "COARSE_RATIO",
    "COARSE_REFUSAL_MM",
    "COARSE_WARNING_MM",
    "CONTACT_MM",
    "CUT_BOTH_REFUSAL",
    "CUT_WARNING",
    "DEEP_CONTACT_MM",
    "DEEP_SHARE",
    "LEFT_OUT_NOTE_ML",
    "LEFT_OUT_WARNING_ML",
    "check_body",
    "check_field_of_view",
    "check_spacing",
    "cut_shares",
]

COARSE_RATIO = 2.5
"""Voxels this many times as long as the model's: what the model draws between them is not in the MR."""

COARSE_WARNING_MM = 5.0
"""... and at least this long: dose planning wants slices of 1 to 3 mm, diagnostic ones have 3 to 5."""

COARSE_REFUSAL_MM = 10.0
"""... and this long: a skull or a cortex is missed between two slices. Localizers have such."""

CONTACT_MM = 60.0
"""A body that meets a side of the volume over this length of a slice is cut. A nose (30 mm), an ear (40 mm) or a head
that just touches (55 mm of a circle 4 mm deep) is not."""

DEEP_CONTACT_MM = 100.0
"""... and cut deeply if the contacts lie this far apart: 1 cm of a head or a pelvis is missing on that side."""

DEEP_SHARE = 0.9
"""... or over this share of the side, where that is less."""

EDGE_MM = 3.0
"""The side of the volume is this thick: the outermost rows of many MRs are empty."""

CUT_WARNING = 0.1
"""Share of the body's axial slices that are cut on some side."""

CUT_BOTH_REFUSAL = 0.5
"""Share of them that are cut deeply on two opposite sides: no body outline, no dose."""


LEFT_OUT_NOTE_ML, LEFT_OUT_WARNING_ML = 1.0, 5.0
"""Bright signal outside the body: markers and cables come to a few ml, a part of the patient to more."""


def check_body(prepared: Prepared) -> list[Finding]:
    """Whether there is signal that the body mask leaves out.

    Args:
        prepared: The prepared MR.
    """
    if prepared.left_out_ml < LEFT_OUT_NOTE_ML:
        return []
    level: Level = "warning" if prepared.left_out_ml >= LEFT_OUT_WARNING_ML else "note"
    return [
        Finding(
            "body mask",
            level,
            f"{prepared.left_out_ml:.3g} ml of bright signal outside the body was not predicted.",
            "If it is part of the patient, give a body mask (--mask).",
        )
    ]


def check_spacing(mr: Volume, spacing_mm: tuple[float, float, float], thickness_mm: float | None) -> list[Finding]:
    """Whether the MR is much coarser than the model's grid.

    Args:
        mr: The MR as it was given; its first axis runs across the slices.
        spacing_mm: The model's, along D, H, W.
        thickness_mm: Thickness of a slice, if known.
    """
    own = (max(mr.spacing_mm[0], thickness_mm or 0.0), mr.spacing_mm[1], mr.spacing_mm[2])
    upright = Volume(np.zeros((2, 2, 2), np.float32), own, direction=mr.direction).reoriented()
    steps = list(zip(upright.spacing_mm, spacing_mm, strict=True))
    coarse = [(step, model) for step, model in steps if step >= max(COARSE_RATIO * model, COARSE_WARNING_MM)]
    if not coarse:
        return []
    step, model = max(coarse)
    message = f"Its voxels (or slices) are {step:.3g} mm long where the model's are {model:.3g} mm"
    if step >= COARSE_REFUSAL_MM:
        return [
            Finding(
                "spacing", "refusal", f"{message}: bone between slices is missed.", "Give a series with thinner slices."
            )
        ]
    return [
        Finding("spacing", "warning", f"{message}: structures between slices are interpolated.", "Prefer thinner ones.")
    ]


def check_field_of_view(mr: Volume, prepared: Prepared, *, used_to_cuts: bool = False) -> list[Finding]:
    """Whether the patient is cut off at the sides; at the ends, where every scan stops, nothing is said.

    Args:
        mr: The MR as it was given.
        prepared: The same, prepared.
        used_to_cuts: Whether the training MRs were cut off too, which makes a warning of a refusal.
    """
    some, both = cut_shares(prepared.body, prepared.grid.spacing_mm, _sides_of(mr, prepared.grid))
    remedy = "Use a larger field of view; dose there and the way of beams through it are wrong."
    if both >= CUT_BOTH_REFUSAL:
        message = f"The body is cut off on two opposite sides in {100 * both:.0f} % of its slices."
        return [Finding("field of view", "warning" if used_to_cuts else "refusal", message, remedy)]
    if some >= CUT_WARNING:
        message = f"The body is cut off at a side of the field of view in {100 * some:.0f} % of its slices."
        return [Finding("field of view", "warning", message, remedy)]
    return []


def cut_shares(
    body: Mask,
    spacing_mm: tuple[float, float, float],
    sides: tuple[tuple[bool, bool], tuple[bool, bool]] = ((True, True), (True, True)),
) -> tuple[float, float]:
    """In how many of its axial slices a body is cut off.

    Args:
        body: (D, H, W) body mask, upright.
        spacing_mm: Along D, H, W.
        sides: Whether the first and the last plane along H, and along W, are where the scan ends.

    Returns:
        Share of the slices with body that are cut on any side, and deeply on two opposite ones.
    """
    slices: Mask = np.asarray(body.any(axis=(1, 2)))
    if not slices.any():
        return 0.0, 0.0
    some: Mask = np.zeros(len(body), dtype=bool)
    both: Mask = some
    for axis, open_ends in zip((1, 2), sides, strict=True):
        along, thick = spacing_mm[3 - axis], max(1, round(EDGE_MM / spacing_mm[axis]))
        planes = np.moveaxis(body, axis, 0)
        ends = [
            np.asarray(end.any(axis=0)) & is_open
            for end, is_open in zip((planes[:thick], planes[-thick:]), open_ends, strict=True)
        ]
        some = some | (np.maximum(*(end.sum(axis=1) for end in ends)) * along >= CONTACT_MM)
        deep_mm = min(DEEP_CONTACT_MM, DEEP_SHARE * along * body.shape[3 - axis])
        both = both | (np.minimum(*(_span(end) for end in ends)) * along >= deep_mm)
    return float(some[slices].mean()), float(both[slices].mean())


def _span(met: Mask) -> npt.NDArray[np.int64]:
    """(slices,) voxels from the first to the last of (slices, along): dark tissue between them is not air."""
    span = met.shape[1] - met.argmax(axis=1) - met[:, ::-1].argmax(axis=1)
    return np.asarray(np.where(met.any(axis=1), span, 0))


def _sides_of(mr: Volume, grid: Volume) -> tuple[tuple[bool, bool], tuple[bool, bool]]:
    """Where a grid, cropped or not, reaches as far as the scan."""
    whole = model_grid(mr.reoriented(), grid.spacing_mm)
    offset = whole.direction.T @ (np.asarray(grid.origin_mm) - np.asarray(whole.origin_mm))
    sides = []
    for axis in (1, 2):
        before = round(float(offset[axis]) / grid.spacing_mm[axis])
        sides.append((before <= 0, before + grid.shape[axis] >= whole.shape[axis]))
    return sides[0], sides[1]
