"""Known errors of an sCT: what physics predicts, summed by hand along the beam's central line, and what creps finds."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.dose.bodies import BODY, FRONT, SHAPE, SPACING_MM, TARGET, one_beam, scene, water, with_bone
from creps import hu
from creps.dose.beams import PlannedDose, Ray
from creps.dose.density import DEFAULT_TABLE
from creps.dose.engine import Engine
from creps.dose.proton_range import range_error
from creps.dose.scene import Outside, Scene
from creps.volume import Array

__all__ = ["COUCH_HU", "KNOWN_ERRORS", "Expected", "compared", "couch_left_in", "isocentre_change", "range_shift"]

COUCH_HU = 100.0

COUCH = slice(2, 4)
"""Rows of the couch, in front of the body."""

CENTRE_ROW = (TARGET[1].start + TARGET[1].stop - 1) / 2

CENTRAL_LINE = (SHAPE[0] // 2, slice(None), SHAPE[2] // 2)

SURFACE_ROWS = (-3, -1, 1, 3)
"""Rows that the surface of water is moved by to sample the depth dose."""

Pair = tuple[Array, Array]


class Expected(NamedTuple):
    """What physics predicts, what creps finds, and the water-equivalent path difference in mm that causes it."""

    predicted: float
    measured: float
    path_mm: float


def water_for_bone() -> Pair:
    """Water in place of 10 mm of bone."""
    return with_bone(), water()


def body_smaller() -> Pair:
    """2 mm less at the front, where the beam enters."""
    sct = water()
    sct[:, FRONT] = hu.AIR
    return water(), sct


def denser() -> Pair:
    """+15 HU everywhere in the body, bone included."""
    return with_bone(), np.where(with_bone() > -500, with_bone() + 15, with_bone())


def couch_left_in() -> Pair:
    """A plate between beam and patient, in the sCT alone; the beam comes through it."""
    sct = water()
    sct[BODY[0], COUCH, BODY[2]] = COUCH_HU
    return water(), sct


KNOWN_ERRORS: dict[str, tuple[Callable[[], Pair], Outside]] = {
    "water for bone": (water_for_bone, "air"),
    "body 2 mm smaller": (body_smaller, "air"),
    "+15 HU": (denser, "air"),
    "couch left in": (couch_left_in, "image"),
}
"""Name → CT and sCT, and what surrounds the body."""


@functools.cache
def compared(name: str, radiation: str) -> tuple[Array, Array, Scene, Engine]:
    """CT, sCT, both on the dose grid, and the engine of a known error."""
    make, outside = KNOWN_ERRORS[name]
    ct, sct = make()
    built = scene(ct, sct, radiation, outside)
    return ct, sct, built, Engine(built, one_beam(radiation))


def range_shift(name: str) -> Expected:
    """Shift of R80 on the central ray in mm: where the sCT's path equals the CT's path at R80, minus R80."""
    ct, sct, built, engine = compared(name, "protons")
    beam = engine.beams[0]
    on_ct, on_sct = (engine.deepest_spots(side.density)[0] for side in (built.ct, built.sct))
    error, ranges = range_error(beam, built.grid, on_ct, on_sct)
    central = min(range(len(beam.rays)), key=lambda number: _aside(beam.rays[number]))
    r80 = ranges[central]
    if error.lost or r80 is None:
        raise ValueError(f"{name}: a ray has no range")
    depth_mm = beam.rays[central].source_mm[1] + r80 + SPACING_MM / 2  # below the image's first edge
    edges = np.arange(SHAPE[1] + 1) * SPACING_MM
    paths = [np.concatenate([[0.0], np.cumsum(_densities(one))]) * SPACING_MM for one in (ct, sct)]
    wanted = np.interp(depth_mm, edges, paths[0])
    predicted = float(np.interp(wanted, paths[1], edges)) - depth_mm
    return Expected(predicted, error.errors_mm[central], difference_to_isocentre_mm(ct, sct))


def isocentre_change(name: str) -> Expected:
    """Change of the dose at the isocentre in percent: by the engine's own depth dose, and by the engine.

    The depth dose is that of the same beam in water, moved so that the isocentre lies deeper or less deep.
    """
    ct, sct, built, engine = compared(name, "photons")
    ones = np.ones(engine.beams[0].beamlets)
    doses = [_at_isocentre(built, engine.recalculated(side.density, ones)) for side in (built.ct, built.sct)]
    depths, curve = depth_dose()
    reference, apart = path_to_isocentre_mm(ct), difference_to_isocentre_mm(ct, sct)
    expected = np.interp(reference + apart, depths, curve) / np.interp(reference, depths, curve) - 1
    return Expected(100 * float(expected), 100 * (doses[1] / doses[0] - 1), apart)


def path_to_isocentre_mm(array: Array) -> float:
    """Water-equivalent path along the central line, in mm: densities by the table, summed by hand."""
    return SPACING_MM * float(_densities(array)[: int(CENTRE_ROW + 1)].sum())


def difference_to_isocentre_mm(ct: Array, sct: Array) -> float:
    """Path on the sCT minus path on the CT up to the isocentre, which lies between two rows."""
    return path_to_isocentre_mm(sct) - path_to_isocentre_mm(ct)


@functools.cache
def depth_dose() -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Dose at the isocentre of water with its surface at several depths, by the engine: (depths in mm, doses)."""
    depths, doses = [], []
    for removed in SURFACE_ROWS:
        array = np.full(SHAPE, hu.AIR, np.float32)
        array[BODY[0], FRONT + removed : BODY[1].stop, BODY[2]] = 0.0
        built = scene(water(), array, "photons")
        engine = Engine(built, one_beam("photons"))
        doses.append(_at_isocentre(built, engine.recalculated(built.sct.density, np.ones(engine.beams[0].beamlets))))
        depths.append(path_to_isocentre_mm(array))
    order = np.argsort(depths)
    return np.asarray(depths)[order], np.asarray(doses)[order]


def _densities(array: Array) -> npt.NDArray[np.float64]:
    """Of the central line; numpy's interpolation, not the table's own."""
    return np.interp(array[CENTRAL_LINE], DEFAULT_TABLE.hu, DEFAULT_TABLE.density)


def _aside(ray: Ray) -> float:
    """Distance of a ray from the beam's axis in the isocentre's plane."""
    return float(np.linalg.norm(np.asarray(ray.through_mm)[[0, 2]] - np.asarray(ray.source_mm)[[0, 2]]))


def _at_isocentre(built: Scene, dose: PlannedDose) -> float:
    index = (np.asarray(built.isocentre_mm) - np.asarray(built.grid.origin_mm)) @ built.grid.direction / SPACING_MM
    z, y, x = (slice(int(low), int(low) + 2) for low in np.floor(index + 1e-6))
    return float(dose.total_gy[z, y, x].mean())
