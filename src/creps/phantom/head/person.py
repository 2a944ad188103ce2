"""The proportions that make one phantom differ from the next."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from creps.phantom.draws import evenly

__all__ = ["Person"]


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

    def widened(self, rng: np.random.Generator) -> Person:
        """The same person with other layers, cavities and spaces: evenly from what patients have."""
        return replace(self, **evenly(rng, WIDE))


WIDE = {
    "skull_mm": (4.0, 9.0),
    "table_mm": (1.2, 2.3),
    "scalp_mm": (2.8, 10.5),
    "fat_mm": (1.0, 8.0),
    "muscle_fat": (0.0, 1.0),
    "atrophy_mm": (0.3, 4.0),
    "ventricles": (0.7, 1.9),
    "frontal_sinus": (0.2, 1.4),
    "maxillary_sinus": (0.7, 1.2),
    "mastoid_air": (0.0, 1.0),
    "neck": (0.85, 1.3),
    "mouth_gap_mm": (0.0, 6.0),
}
"""Range of the proportions that decide what lies beside what. Two CTs and a labelled MR of real heads have median
scalps of 5.0, 6.0 and 9.5 mm, and skulls of 7.3, 6.3 and 6.1 mm."""
