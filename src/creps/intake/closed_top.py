"""Whether the body ends at the top of the scan, as a head does and a trunk or a limb does not."""

from __future__ import annotations

import numpy as np

from creps.intake.findings import Finding
from creps.preprocessing.preparation import Prepared

__all__ = ["CLOSED_TOP", "check_top", "top_share"]

CLOSED_TOP = 0.5
"""Area near the top of the body over the largest one. Measured: heads .18 to .38, pelves, hips and thighs .75 to 1."""

BELOW_TOP_MM = 10.0

OPEN_REGIONS = ("pelvis",)
"""Regions in which the body continues above the scan."""


def top_share(prepared: Prepared) -> float:
    """Area of the body `BELOW_TOP_MM` below its top over that of its largest axial slice.

    Args:
        prepared: The prepared MR, upright.
    """
    areas = prepared.body.sum(axis=(1, 2), dtype=np.float64)
    top = int(np.flatnonzero(areas)[-1])
    below = max(0, top - round(BELOW_TOP_MM / prepared.grid.spacing_mm[0]))
    return float(areas[below] / areas.max())


def check_top(prepared: Prepared, region: str) -> list[Finding]:
    """Refuse a head where the model is of a trunk: outline and size of a head are much like those of a hip.

    Args:
        prepared: The prepared MR, upright.
        region: Of the model.
    """
    if region not in OPEN_REGIONS or (share := top_share(prepared)) >= CLOSED_TOP:
        return []
    message = (
        f"The body ends at the top of the scan: {BELOW_TOP_MM:g} mm below its top it has {100 * share:.0f} % of its"
        f" largest area. So does a head; a {region} continues above."
    )
    return [Finding("region", "refusal", message, f"Give an MR of the {region}, and check that it is not upside down.")]
