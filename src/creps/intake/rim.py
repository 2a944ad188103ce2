"""Whether the rim of the body is bright: bright and dark exchanged, or fat suppressed."""

from __future__ import annotations

import numpy as np

from creps.intake.findings import Finding
from creps.preprocessing.mask import depth_mm
from creps.preprocessing.preparation import Prepared

__all__ = ["RIM_WARNING", "check_rim", "rim_ratio"]

RIM_WARNING = 0.75
"""Median signal of the outermost voxels over that of `BELOW_MM`. Measured: eight T1 scans of heads and hips .18 to .53,
20 people of the unseen family .26 to .55; seven of the eight inverted .81 to 1.46."""

BELOW_MM = (2.5, 6.0)
"""Depth of fat under the skin. Half of the outermost voxel is air, so with bright fat it is darker."""

RECIPES = ("anatomy",)
"""Recipes that take bright fat for granted."""


def rim_ratio(prepared: Prepared) -> float | None:
    """How bright the outermost voxels are relative to fat under the skin; None if voxels are too coarse to tell.

    Args:
        prepared: The prepared MR.
    """
    spacing_mm = prepared.grid.spacing_mm
    if min(spacing_mm) >= BELOW_MM[0]:
        return None
    depth = depth_mm(prepared.body, spacing_mm)
    rim = prepared.array[(depth > 0) & (depth <= 1.01 * min(spacing_mm))]
    below = prepared.array[(depth > BELOW_MM[0]) & (depth <= BELOW_MM[1])]
    if not rim.size or not below.size:
        return None
    return float(np.median(rim)) / max(float(np.median(below)), 1e-3)


def check_rim(prepared: Prepared, recipe: str | None, *, masked: bool) -> list[Finding]:
    """Warn of a bright rim: where fat is bright, the outermost voxels, half of them air, are darker.

    Args:
        prepared: The prepared MR.
        recipe: Of the model.
        masked: Whether the body mask was given: it need not end at the skin.
    """
    ratio = rim_ratio(prepared) if recipe in RECIPES and not masked else None
    if ratio is None or ratio < RIM_WARNING:
        return []
    message = (
        f"The rim of the body is {ratio:.2f} times as bright as what lies {BELOW_MM[0]:g} to {BELOW_MM[1]:g} mm below"
        " the skin (usually .2 to .55 times): bright and dark are exchanged, or fat is suppressed."
    )
    return [Finding("bright rim", "warning", message, "Give an MR in which fat is bright and compact bone dark.")]
