"""Small bodies for which physics says what must come out."""

import numpy as np

from creps.dose.density import DEFAULT_TABLE
from creps.dose.images import CtImage
from creps.dose.plan import DosePlan, default_plan
from creps.dose.scene import Scene, build_scene
from creps.volume import Volume

SPACING_MM = 2.0
SHAPE = (30, 72, 30)
"""60 × 144 × 60 mm; the beam enters from the front (low rows)."""

FRONT = 8
"""First row of the body."""

BODY = (slice(3, -3), slice(FRONT, -4), slice(3, -3))

TARGET = (slice(11, 19), slice(34, 44), slice(11, 19))
"""Its centre is the isocentre."""

BONE_HU = 700.0


def volume(array) -> Volume:
    return Volume(np.asarray(array, np.float32), (SPACING_MM,) * 3)


def water() -> np.ndarray:
    array = np.full(SHAPE, -1000.0, np.float32)
    array[BODY] = 0.0
    return array


def with_bone() -> np.ndarray:
    """Water with 10 mm of bone in front of the target, across the whole body."""
    array = water()
    array[BODY[0], FRONT + 6 : FRONT + 11, BODY[2]] = BONE_HU
    return array


def target() -> Volume:
    array = np.zeros(SHAPE)
    array[TARGET] = 1
    return volume(array)


def image(array, name: str, frame: str | None = None) -> CtImage:
    """An image that is no plausible CT of a patient, past the checks of what is read."""
    return CtImage(volume(array), name, frame, {})


def one_beam(radiation: str, **changes: object) -> DosePlan:
    own = {"gantry_degrees": (0.0,), "dose_grid_mm": 2.0, "spot_mm": 8.0, "iterations": 20}
    return default_plan("brain", radiation).model_copy(update={**own, **changes})


def scene(ct, sct, radiation: str, outside: str = "air", **changes: object) -> Scene:
    return build_scene(
        image(ct, "the CT"),
        image(sct, "the sCT"),
        {"PTV": target()},
        one_beam(radiation, **changes),
        DEFAULT_TABLE,
        outside=outside,
    )
