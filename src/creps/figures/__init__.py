"""Figures as arrays of pixels; `creps.io.picture` writes them."""

from __future__ import annotations

from creps.figures.curves import curves_figure
from creps.figures.picture import Picture
from creps.figures.planes import (
    BONE_WINDOW_HU,
    SOFT_WINDOW_HU,
    Panel,
    comparison_figure,
    mr_window,
    patch_row,
    synthesis_figure,
)

__all__ = [
    "BONE_WINDOW_HU",
    "SOFT_WINDOW_HU",
    "Panel",
    "Picture",
    "comparison_figure",
    "curves_figure",
    "mr_window",
    "patch_row",
    "synthesis_figure",
]
