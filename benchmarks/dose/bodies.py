"""Small bodies for which physics says what must come out: of the known errors here and of the tests."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from creps import hu
from creps.dose.density import DEFAULT_TABLE
from creps.dose.images import CtImage
from creps.dose.plan import DosePlan, default_plan
from creps.dose.scene import Outside, Scene, build_scene
from creps.volume import Array, Volume

__all__ = [
    "BODY",
    "BONE_HU",
    "FRONT",
    "SHAPE",
    "SPACING_MM",
    "TARGET",
    "image",
    "one_beam",
    "scene",
    "target",
    "volume",
    "water",
    "with_bone",
]

SPACING_MM = 2.0
SHAPE = (30, 72, 30)
"""60 × 144 × 60 mm; the beam enters from the front (low rows)."""

FRONT = 8
"""First row of the body."""

BODY = (slice(3, -3), slice(FRONT, -4), slice(3, -3))

TARGET = (slice(11, 19), slice(34, 44), slice(11, 19))
"""Its centre is the isocentre."""

BONE_HU = 700.0


def volume(array: npt.ArrayLike) -> Volume:
    """(D, H, W) as a volume of 2 mm."""
    return Volume(np.asarray(array, np.float32), (SPACING_MM,) * 3)


def water() -> Array:
    """(D, H, W) in HU: a block of water in air."""
    array = np.full(SHAPE, hu.AIR, np.float32)
    array[BODY] = 0.0
    return array


def with_bone() -> Array:
    """Water with 10 mm of bone in front of the target, across the whole body."""
    array = water()
    array[BODY[0], FRONT + 6 : FRONT + 11, BODY[2]] = BONE_HU
    return array


def target() -> Volume:
    """A box in the middle, of ones."""
    array = np.zeros(SHAPE)
    array[TARGET] = 1
    return volume(array)


def image(array: npt.ArrayLike, name: str, frame_uid: str | None = None) -> CtImage:
    """An image that is no plausible CT of a patient, past the checks of what is read."""
    return CtImage(volume(array), name, frame_uid, {})


def one_beam(radiation: str, **changes: object) -> DosePlan:
    """One beam from the front on a grid of 2 mm.

    Args:
        radiation: ``photons`` or ``protons``.
        changes: Fields of the plan.
    """
    own = {"gantry_degrees": (0.0,), "dose_grid_mm": 2.0, "spot_mm": 8.0, "iterations": 20}
    return default_plan("brain", radiation).model_copy(update={**own, **changes})


def scene(ct: npt.ArrayLike, sct: npt.ArrayLike, radiation: str, outside: Outside = "air", **changes: object) -> Scene:
    """Both bodies with the target, on the grid of `one_beam`."""
    images = image(ct, "the CT"), image(sct, "the sCT")
    plan = one_beam(radiation, **changes)
    return build_scene(*images, {"PTV": target()}, plan, DEFAULT_TABLE, outside=outside)
