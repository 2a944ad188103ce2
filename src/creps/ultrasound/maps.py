"""Density and speed of sound of a head, from its sCT."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from creps import hu
from creps.errors import InputError
from creps.preprocessing.morphology import grow, voxel_ml
from creps.ultrasound.curves import AcousticCurves
from creps.ultrasound.skull import AIR_IN_HEAD_HU, intracranial, skull_mask
from creps.volume import Array, Mask, Volume

__all__ = ["LABELS", "AcousticMaps", "acoustic_maps"]

RIGHT_ANTERIOR_SUPERIOR: npt.NDArray[np.float64] = np.array([[0.0, 0.0, -1.0], [0.0, -1.0, 0.0], [1.0, 0.0, 0.0]])
"""Direction of voxels that run to the right, to anterior and to superior in the file (W, H, D here)."""

SKIN_MM = 2.0
"""Beyond this from the head air is exactly -1000 HU; nearer, voxels are partly skin."""

SMALLEST_SKULL_ML = 100.0
"""The bone of a head comes to several hundred ml; with less than this there is no skull to look through."""

LABELS = {"background": 0, "brain": 2, "skull": 4, "soft tissue": 5}
"""Numbers of the tissues as in SimNIBS charm: what the skull encloses counts as brain, other soft tissue as skin."""


@dataclass(frozen=True)
class AcousticMaps:
    """Maps of one head, on one grid: the sCT's, its voxels running to right, anterior and superior in a file.

    Attributes:
        hu: In HU, air -1000, nothing outside the patient.
        skull: 1 in the skull, 0 elsewhere.
        density: In kg/m³.
        speed: Speed of sound in m/s.
        tissues: Labels of `LABELS`.
        skull_ml: Volume of the skull.
        curves: What density and speed come from.
    """

    hu: Volume
    skull: Volume
    density: Volume
    speed: Volume
    tissues: Volume
    skull_ml: float
    curves: AcousticCurves


def acoustic_maps(sct: Volume, patient: Mask, curves: AcousticCurves, name: str = "the MR") -> AcousticMaps:
    """Make the maps of a head from its sCT.

    In the skull, density and speed of sound follow the curves. Soft tissue, air in the head and water outside it have
    one value each.

    Args:
        sct: In HU.
        patient: (D, H, W) of `sct`: what is not background. The rest becomes air, so no couch and no coil is left.
        curves: HU to density and speed.
        name: Of the MR, for messages.

    Raises:
        InputError: there is no skull in the sCT.
    """
    patient = sct.with_array(patient).reoriented(RIGHT_ANTERIOR_SUPERIOR).array > 0.5
    sct = sct.reoriented(RIGHT_ANTERIOR_SUPERIOR)
    clean = np.where(patient, np.maximum(sct.array, np.float32(hu.AIR)), np.float32(hu.AIR))
    skull = skull_mask(clean, patient, sct.spacing_mm, curves.skull_above_hu)
    skull_ml = float(np.count_nonzero(skull)) * voxel_ml(sct.spacing_mm)
    if skull_ml < SMALLEST_SKULL_ML:
        raise InputError(
            f"There is no skull in the sCT of {name}: {skull_ml:.0f} ml of bone above {curves.skull_above_hu:g} HU.",
            "Give an MR of the whole head and a model of the head, and look at the sCT.",
        )
    tissue = skull | (clean >= AIR_IN_HEAD_HU)
    head = _enclosed(tissue)
    clean[~grow(head, sct.spacing_mm, SKIN_MM)] = hu.AIR
    tissues = (tissue, head & ~tissue, skull)
    soft, gas, water = curves.soft_tissue, curves.air, curves.water
    density = _filled(tissues, water.density_kg_m3, soft.density_kg_m3, gas.density_kg_m3, curves.density(clean[skull]))
    speed = _filled(tissues, water.speed_m_s, soft.speed_m_s, gas.speed_m_s, curves.speed(clean[skull]))
    labels = np.zeros(sct.shape, np.float32)
    labels[tissue] = LABELS["soft tissue"]
    labels[intracranial(skull, tissue, sct.spacing_mm)] = LABELS["brain"]
    labels[skull] = LABELS["skull"]
    return AcousticMaps(
        hu=sct.with_array(clean),
        skull=sct.with_array(skull.astype(np.float32)),
        density=sct.with_array(density),
        speed=sct.with_array(speed),
        tissues=sct.with_array(labels),
        skull_ml=round(skull_ml, 1),
        curves=curves,
    )


def _filled(tissues: tuple[Mask, Mask, Mask], water: float, soft: float, air: float, skull: Array) -> Array:
    """One quantity of every voxel: of water, in tissue of soft tissue, in enclosed air and in the skull their own."""
    tissue, in_air, in_skull = tissues
    found = np.where(tissue, np.float32(soft), np.float32(water))
    found[in_air] = air
    found[in_skull] = skull
    return found


def _enclosed(tissue: Mask) -> Mask:
    """(D, H, W) the head with what it encloses within an axial slice: airways and sinuses."""
    return np.stack([ndimage.binary_fill_holes(plane) for plane in tissue])
