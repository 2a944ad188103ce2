"""Whether something in the brain is brighter than brain: vessels after gadolinium, a bleeding, inflow, an artefact."""

from __future__ import annotations

import numpy as np

from creps.intake.features import Coarse
from creps.intake.findings import Finding
from creps.regions import part_of_body

__all__ = ["SPOTS_WARNING", "bright_spots", "check_bright_spots"]

SPOTS_WARNING = 1.25
"""99.9th over 95th percentile deep in the upper head. Measured: four T1 heads without gadolinium 1.01 to 1.19, 12 heads
of the unseen family 1.09 to 1.23, phantoms 1.04 to 1.14, a T1 with gadolinium 1.32."""

TOP_MM, DEPTH_MM = 80.0, 20.0
"""Above orbits and skull base, below the scalp and the skull."""

SMALLEST = 2000
"""Voxels of about 4 mm; with fewer, there is no check."""


def bright_spots(coarse: Coarse) -> float | None:
    """How much brighter the brightest spots deep in the upper head are than its bright tissue; None if little is there.

    Args:
        coarse: The prepared MR, upright.
    """
    top = int(np.flatnonzero(coarse.inside.any(axis=(1, 2)))[-1])
    upper = slice(max(0, top - round(TOP_MM / coarse.spacing_mm[0])), None)
    deep = coarse.signal[upper][coarse.depth_mm[upper] > DEPTH_MM]
    if deep.size < SMALLEST:
        return None
    bright, brightest = np.percentile(deep, (95, 99.9))
    return float(brightest / max(bright, 1e-3))


def check_bright_spots(coarse: Coarse, region: str) -> list[Finding]:
    """Warn of spots that phantoms and most patients do not have: the sCT may make bone or fat of them.

    Args:
        coarse: The prepared MR, upright.
        region: Of the model; other regions than heads have bright fat and bowel at any depth.
    """
    ratio = bright_spots(coarse) if part_of_body(region) == "head" else None
    if ratio is None or ratio < SPOTS_WARNING:
        return []
    message = (
        f"Deep in the head are spots {ratio:.1f} times as bright as bright brain tissue: vessels after gadolinium,"
        " a bleeding or an artefact."
    )
    return [Finding("bright spots", "warning", message, "Prefer a series before contrast; look at the sCT there.")]
