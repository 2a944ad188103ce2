"""Checks of the volume itself: how coarse it is, and whether the patient is cut off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from creps.intake.findings import Finding, Level
from creps.preprocessing.crop import cropped
from creps.preprocessing.mask import body_mask_mr
from creps.preprocessing.padding import mr_without_padding, mr_without_undershoot
from creps.preprocessing.preparation import Prepared
from creps.preprocessing.resample import resample_imaged, resample_onto
from creps.volume import Mask, Volume

__all__ = [
    "COARSE_RATIO",
    "COARSE_REFUSAL_MM",
    "COARSE_WARNING_MM",
    "CONTACT_MM",
    "CUT_BOTH_REFUSAL",
    "CUT_GRID_MM",
    "CUT_WARNING",
    "DEEP_CONTACT_MM",
    "DEEP_SHARE",
    "HALF_SHARE",
    "LEFT_OUT_NOTE_ML",
    "LEFT_OUT_WARNING_ML",
    "Cuts",
    "check_body",
    "check_field_of_view",
    "check_spacing",
    "cut_slices",
    "measure_cuts",
]

COARSE_RATIO = 2.5
"""Voxels this many times as long as the model's: what the model draws between them is not in the MR."""

COARSE_WARNING_MM = 5.0
"""... and at least this long give a warning: dose planning uses slices of 1 to 3 mm, diagnosis 3 to 5 mm."""

COARSE_REFUSAL_MM = 10.0
"""... and at least this long, as in localizers, are refused: a skull or a cortex is missed between two slices."""

CONTACT_MM = 60.0
"""A body that meets a side of the volume over this length of a slice is cut. A nose (30 mm), an ear (40 mm) or a head
that just touches (55 mm of a circle 4 mm deep) is not."""

DEEP_CONTACT_MM = 100.0
"""... and cut deeply if the contacts lie this far apart: 1 cm of a head or a pelvis is missing on that side."""

DEEP_SHARE = 0.9
"""... or over this share of the side, where that is less."""

EDGE_MM = 3.0
"""The side of the volume is this thick: the outermost rows of many MRs are empty."""

CUT_GRID_MM = 3.0
"""Cuts are measured on a grid of this spacing, so that the figures are the MR's and not the model's."""

HALF_SHARE = 0.93
"""A cut is this much of the widest line through the slice beside it: of an ellipse a third is missing."""

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
            f"{prepared.left_out_ml:.3g} ml of bright signal lies outside the body mask and may be air in the sCT.",
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


@dataclass(frozen=True)
class Cuts:
    """In which of its axial slices a body is cut off by the sides of the field of view.

    Attributes:
        body: (D,) slices with body.
        some: (D,) those that are cut on any side.
        both: (D,) those that are cut deeply on two opposite sides.
        half: (D,) those of which a third or more is missing on one side.
    """

    body: npt.NDArray[np.bool_]
    some: npt.NDArray[np.bool_]
    both: npt.NDArray[np.bool_]
    half: npt.NDArray[np.bool_]

    def share(self, which: npt.NDArray[np.bool_]) -> float:
        """Share of the slices with body."""
        return float(which[self.body].mean()) if self.body.any() else 0.0

    def counted(self, which: npt.NDArray[np.bool_]) -> str:
        """For a sentence."""
        count, total = int((which & self.body).sum()), int(self.body.sum())
        share = 100 * self.share(which)
        return f"{count} of {total} axial slices of {CUT_GRID_MM:g} mm ({share:.0f} %)"


def measure_cuts(mr: Volume, prepared: Prepared, *, masked: bool = False) -> Cuts:
    """Where an MR cuts the body off, on a grid that does not depend on the model's.

    Args:
        mr: The MR as it was given.
        prepared: The same, prepared.
        masked: Whether its body mask was given, and not found in the image.
    """
    upright = mr_without_undershoot(mr_without_padding(mr)[0]).reoriented()
    # Without padding: zeros beside a cut would hide it.
    grid = cropped(*resample_imaged(upright, (CUT_GRID_MM, CUT_GRID_MM, CUT_GRID_MM)))
    given = prepared.grid.with_array(prepared.body)
    body = resample_onto(given, grid).array > 0.5 if masked else body_mask_mr(grid)
    return cut_slices(body, grid.spacing_mm)


def check_field_of_view(cuts: Cuts, *, trained_on_cuts: bool = False) -> list[Finding]:
    """Whether the patient is cut off at the sides; the ends, where every scan stops, are not checked.

    Args:
        cuts: Of the MR.
        trained_on_cuts: Whether the training MRs were cut off too; a refusal is then a warning.
    """
    remedy = "Use a larger field of view; dose there and the way of beams through it are wrong."
    for which, what in (
        (cuts.both, "The body is cut off on two opposite sides of the field of view"),
        (cuts.half, "A third of the body or more is cut off at a side of the field of view"),
    ):
        if cuts.share(which) >= CUT_BOTH_REFUSAL:
            message = f"{what} in {cuts.counted(which)}."
            return [Finding("field of view", "warning" if trained_on_cuts else "refusal", message, remedy)]
    if cuts.share(cuts.some) >= CUT_WARNING:
        message = f"The body is cut off at a side of the field of view in {cuts.counted(cuts.some)}."
        return [Finding("field of view", "warning", message, remedy)]
    return []


def cut_slices(body: Mask, spacing_mm: Sequence[float]) -> Cuts:
    """In which of its axial slices a body is cut off.

    Args:
        body: (D, H, W) body mask, upright, over the whole field of view.
        spacing_mm: Along D, H, W.
    """
    some, both, half = (np.zeros(len(body), dtype=bool) for _ in range(3))
    for axis in (1, 2):
        along, thick = spacing_mm[3 - axis], max(1, round(EDGE_MM / spacing_mm[axis]))
        planes = np.moveaxis(body, axis, 0)
        ends = [np.asarray(end.any(axis=0)) for end in (planes[:thick], planes[-thick:])]
        met = [end.sum(axis=1) * along for end in ends]
        spans = [_span(end) * along for end in ends]
        widest = np.max([_span(plane) * along for plane in planes], axis=0)
        some |= np.maximum(*met) >= CONTACT_MM
        both |= np.minimum(*spans) >= min(DEEP_CONTACT_MM, DEEP_SHARE * along * body.shape[3 - axis])
        half |= (np.maximum(*spans) >= HALF_SHARE * widest) & (np.maximum(*met) >= DEEP_CONTACT_MM)
    return Cuts(np.asarray(body.any(axis=(1, 2))), some, both, half)


def _span(met: Mask) -> npt.NDArray[np.int64]:
    """(slices,) voxels from the first to the last of (slices, along): dark tissue between them is not air."""
    span = met.shape[1] - met.argmax(axis=1) - met[:, ::-1].argmax(axis=1)
    return np.asarray(np.where(met.any(axis=1), span, 0))
