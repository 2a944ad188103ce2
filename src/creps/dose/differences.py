"""How far the doses on the CT and on the sCT are apart: target, structures, and flags against a bulk-density CT."""

from __future__ import annotations

import logging
from dataclasses import asdict

import numpy as np
from scipy import ndimage

from creps.dose.beams import PlannedDose
from creps.dose.document import StructureDose, TargetDose
from creps.dose.dvh import DvhValues, conformity, dvh_values
from creps.dose.plan import DosePlan
from creps.dose.scene import Scene

__all__ = ["FLAG_PERCENT", "bulk_flags", "structure_dose", "structure_values", "target_dose"]

FLAG_PERCENT = 2.0
"""Difference against the bulk-density CT that is flagged: Korsholm's criterion (Radiat Oncol 2014;9:16)."""

HIGH_DOSE = 0.9
"""SynthRAD2023: the target dose error counts voxels with this share of the prescription on the CT."""

log = logging.getLogger(__name__)


def target_dose(scene: Scene, plan: DosePlan, ct: PlannedDose, sct: PlannedDose) -> TargetDose:
    """Dose error of the target.

    Args:
        scene: Target and grid.
        plan: Its prescription is used.
        ct: Dose on the CT.
        sct: Dose on the sCT.
    """
    share, prescription = scene.structures[scene.target], plan.prescription_gy
    high = ct.total_gy >= HIGH_DOSE * prescription
    apart = np.abs(ct.total_gy.astype(np.float64) - sct.total_gy)[high]
    means = [dvh_values(dose.total_gy, share).mean_gy for dose in (ct, sct)]
    centre = [_at(dose, scene) for dose in (ct, sct)]
    return TargetDose(
        name=scene.target,
        prescription_gy=prescription,
        error_percent=100 * float(apart.mean()) / prescription,
        voxels=int(high.sum()),
        mean_difference_percent=100 * (means[1] - means[0]) / prescription,
        isocentre_difference_percent=100 * (centre[1] / centre[0] - 1),
        conformity_ct=conformity(ct.total_gy, share, prescription),
        conformity_sct=conformity(sct.total_gy, share, prescription),
    )


def structure_values(scene: Scene, ct: PlannedDose, sct: PlannedDose) -> dict[str, tuple[DvhValues, DvhValues]]:
    """Name → DVH values on the CT and on the sCT."""
    return {
        name: (dvh_values(ct.total_gy, share), dvh_values(sct.total_gy, share))
        for name, share in scene.structures.items()
    }


def structure_dose(scene: Scene, name: str, ct: DvhValues, sct: DvhValues) -> StructureDose:
    """DVH values of one structure with their differences."""
    volume = float(scene.structures[name].sum()) * float(np.prod(scene.grid.spacing_mm)) / 1000
    return StructureDose(volume_ml=volume, ct=asdict(ct), sct=asdict(sct), difference=ct.difference(sct))


def bulk_flags(target: TargetDose, values: tuple[DvhValues, DvhValues], plan: DosePlan) -> tuple[str, ...]:
    """Sentences about the target figures that differ from the bulk-density CT's by more than `FLAG_PERCENT`; logged.

    Args:
        target: Dose error of the target.
        values: DVH values of the target on the bulk-density CT and on the sCT.
        plan: Its prescription is used.
    """
    ct, sct = values
    d98 = 100 * (sct.d98_gy - ct.d98_gy) / plan.prescription_gy
    found = {
        "mean dose of the target": target.mean_difference_percent,
        "dose at the isocentre": target.isocentre_difference_percent,
        "D98 of the target": d98,
    }
    flags = tuple(
        f"The {what} differs by {value:+.1f} % from that on the bulk-density CT, more than {FLAG_PERCENT:g} %."
        for what, value in found.items()
        if abs(value) > FLAG_PERCENT
    )
    for flag in flags:
        log.warning("%s", flag)
    return flags


def _at(dose: PlannedDose, scene: Scene) -> float:
    """Dose at the isocentre, linear between voxels."""
    index = scene.grid.to_index(scene.isocentre_mm)
    return float(ndimage.map_coordinates(dose.total_gy, index[:, None], order=1)[0])
