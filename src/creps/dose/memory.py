"""How much memory the influence matrix needs, estimated before it is computed."""

from __future__ import annotations

import logging
import math

from creps.dose.plan import DosePlan
from creps.dose.scene import Scene
from creps.errors import InputError
from creps.machine import available_bytes

__all__ = ["check_memory", "matrix_bytes"]

REACH_MM = {"photons": 54.0, "protons": 16.0}
"""Radius around a beamlet in which the engine computes dose, on average."""

BYTES = 24
"""Of one value (4) and its index (8), twice while the matrix grows."""

WORKING_BYTES = 400
"""Per voxel of the dose grid: coordinates, depths, masks and doses."""

SHARE = 0.8
"""Of the free memory may be used."""

log = logging.getLogger(__name__)


def matrix_bytes(scene: Scene, plan: DosePlan, beamlets: int) -> int:
    """Upper estimate of the memory of an influence matrix, in bytes.

    Args:
        scene: Its grid and body.
        plan: Radiation.
        beamlets: Number of columns.
    """
    voxel_mm3 = plan.dose_grid_mm**3
    body = scene.ct.body | scene.sct.body
    widest = max(float(body.any(axis=tuple({0, 1, 2} - {a})).sum()) * plan.dose_grid_mm for a in (1, 2))
    reach = REACH_MM[plan.radiation]
    values = min(float(body.sum()), math.pi * reach**2 * widest / voxel_mm3)
    return int(beamlets * values * BYTES + body.size * WORKING_BYTES)


def check_memory(scene: Scene, plan: DosePlan, beamlets: int) -> None:
    """Log the estimate, and refuse a plan that does not fit.

    Raises:
        InputError: it needs more memory than is free.
    """
    need, free = matrix_bytes(scene, plan, beamlets), available_bytes()
    log.info("dose matrix of %d beamlets: at most %.1f GB; %.1f GB free", beamlets, need / 1e9, free / 1e9)
    if need > SHARE * free:
        raise InputError(
            f"The dose matrix of {beamlets} beamlets may need {need / 1e9:.1f} GB; {free / 1e9:.1f} GB are free.",
            "Set a larger spot_mm or dose_grid_mm in the plan file, or use fewer beams.",
        )
