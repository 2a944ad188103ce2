"""The proportions that make one phantom's pelvis differ from the next, and how it lies."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from creps.phantom.draws import evenly, vary

__all__ = ["PelvisPerson", "PelvisPosture", "draw_pelvis_person", "draw_pelvis_posture"]


@dataclass(frozen=True)
class PelvisPerson:
    """One adult's proportions; the defaults are an average man.

    Attributes:
        female: Sex.
        scale: Size along x, y, z against the atlas.
        wing_flare: How far the iliac wings lean outwards against the atlas.
        head_mm: Radius of the femoral heads.
        cortex: Thickness of cortical bone against the atlas.
        density: Share of bone in the trabecular bone against the average; the rest is fatty marrow.
        fat_mm: Mean thickness of the subcutaneous fat.
        belly_mm: How far the abdominal wall stands out.
        muscle: Bulk of the muscles against the average.
        muscle_fat: Fat between and within the muscles, 0 to about 1.
        neck_shaft_mm: How far the greater trochanter stands out against the atlas.
        prostate: Size of the prostate (men).
        uterus: Size of the uterus (women).
        uterus_tilt_mm: How far its fundus leans forward.
        bowel_gas: Share of gas in the bowel's loops.
    """

    female: bool = False
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    wing_flare: float = 1.0
    head_mm: float = 24.5
    cortex: float = 1.0
    density: float = 1.0
    fat_mm: float = 17.0
    belly_mm: float = 0.0
    muscle: float = 1.0
    muscle_fat: float = 0.4
    neck_shaft_mm: float = 0.0
    prostate: float = 1.1
    uterus: float = 1.0
    uterus_tilt_mm: float = 12.0
    bowel_gas: float = 0.3

    def as_dict(self) -> dict[str, Any]:
        """For a record, without the organs of the other sex."""
        others = ("prostate",) if self.female else ("uterus", "uterus_tilt_mm")
        return {key: value for key, value in asdict(self).items() if key not in others}

    def widened(self, rng: np.random.Generator) -> PelvisPerson:
        """The same person with other layers and another bone: evenly from what patients have."""
        return replace(self, **evenly(rng, WIDE))


WIDE = {
    "cortex": (0.7, 1.4),
    "density": (0.3, 1.7),
    "fat_mm": (6.0, 45.0),
    "belly_mm": (-8.0, 25.0),
    "muscle": (0.85, 1.12),
    "muscle_fat": (0.05, 0.95),
    "bowel_gas": (0.05, 0.6),
}
"""Range of the proportions that decide what lies beside what."""


@dataclass(frozen=True)
class PelvisPosture:
    """How the pelvis lies.

    Attributes:
        rotation_deg: Turns about x (pelvic tilt), y (one hip higher) and z (roll).
        shift_mm: Displacement (x, y, z).
        hips_deg: Turn of the right and the left thigh about its axis, positive with the foot outwards.
    """

    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    hips_deg: tuple[float, float] = (5.0, 5.0)

    def as_dict(self) -> dict[str, Any]:
        """For a record."""
        return asdict(self)


def draw_pelvis_person(rng: np.random.Generator) -> PelvisPerson:
    """Random proportions of one adult."""
    female = bool(rng.random() < 0.5)
    size = vary(rng, 0.975 if female else 1.01, 0.025)
    fat = 17.0 * float(np.exp(vary(rng, 0.18 if female else -0.08, 0.30)))
    return PelvisPerson(
        female=female,
        scale=(
            size * vary(rng, 1.03 if female else 1.0, 0.02),
            size * vary(rng, 1.0, 0.025),
            size * vary(rng, 0.97 if female else 1.0, 0.02),
        ),
        wing_flare=vary(rng, 1.04 if female else 1.0, 0.05),
        head_mm=vary(rng, 22.6 if female else 24.8, 0.8),
        cortex=vary(rng, 1.0, 0.12),
        density=vary(rng, 1.0, 0.25),
        fat_mm=fat,
        belly_mm=0.6 * (fat - 17.0) + vary(rng, 2.0, 8.0),
        muscle=vary(rng, 0.94 if female else 1.04, 0.06),
        muscle_fat=vary(rng, 0.45, 0.18),
        neck_shaft_mm=vary(rng, 0.0, 2.0),
        prostate=vary(rng, 1.12, 0.10),
        uterus=vary(rng, 1.05, 0.10),
        uterus_tilt_mm=vary(rng, 18.0, 8.0),
        bowel_gas=vary(rng, 0.3, 0.1),
    )


def draw_pelvis_posture(rng: np.random.Generator) -> PelvisPosture:
    """Random posture: on the back, legs in a support, on a flat table top for MR and CT alike."""
    values = np.clip(rng.standard_normal(8), -2, 2)
    return PelvisPosture(
        rotation_deg=(3.0 * float(values[0]), 0.8 * float(values[1]), 1.2 * float(values[2])),
        shift_mm=(3.0 * float(values[3]), 2.0 * float(values[4]), 5.0 * float(values[5])),
        hips_deg=(5.0 + 5.0 * float(values[6]), 5.0 + 5.0 * float(values[7])),
    )
