"""The proportions that make one phantom differ from the next."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

__all__ = ["Person", "vary"]


@dataclass(frozen=True)
class Person:
    """One adult's proportions; the defaults are the average head.

    Attributes:
        scale: Size along x, y, z against the atlas.
        face_height: Height of the face against the atlas.
        face_width: Width of the face.
        jaw_width: Width of the mandible and the dental arches.
        chin_mm: How far the chin stands out.
        skull_mm: Mean thickness of the calvarium.
        table_mm: Thickness of its outer and inner tables.
        scalp_mm: Thickness of the scalp.
        fat_mm: Thickness of the subcutaneous fat of face and neck.
        muscle_fat: Fat between and within the muscles, 0 to about 1.
        atrophy_mm: Gap between the dura and the brain.
        ventricles: Size of the ventricles.
        gyri_mm: Scale of the cortical folds.
        frontal_sinus: Size of the frontal sinus; below 0.4 there is none.
        maxillary_sinus: Size of the maxillary sinuses.
        mastoid_air: How far the mastoid is filled with air cells, 0 to 1.
        nose: Size of the nose.
        nose_asymmetry_mm: Deviation of the nasal septum.
        ears: Size of the ears.
        neck: Girth of the neck.
        mouth_gap_mm: Air between tongue and palate.
    """

    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    face_height: float = 1.0
    face_width: float = 1.0
    jaw_width: float = 1.0
    chin_mm: float = 0.0
    skull_mm: float = 6.3
    table_mm: float = 1.75
    scalp_mm: float = 5.2
    fat_mm: float = 3.2
    muscle_fat: float = 0.5
    atrophy_mm: float = 1.5
    ventricles: float = 1.15
    gyri_mm: float = 4.2
    frontal_sinus: float = 0.85
    maxillary_sinus: float = 1.0
    mastoid_air: float = 0.6
    nose: float = 1.0
    nose_asymmetry_mm: float = 0.0
    ears: float = 1.0
    neck: float = 1.0
    mouth_gap_mm: float = 0.5

    def as_dict(self) -> dict[str, Any]:
        """For a record."""
        return asdict(self)


def vary(rng: np.random.Generator, mean: float, sd: float, limit: float = 2.0) -> float:
    """A normal draw, kept within `limit` standard deviations."""
    return float(mean + sd * np.clip(rng.standard_normal(), -limit, limit))
