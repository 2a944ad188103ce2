"""Known errors give what physics predicts, summed by hand along the beam's central line."""

import functools

import numpy as np
import pytest

from creps.dose.density import DEFAULT_TABLE
from creps.dose.engine import Engine
from creps.dose.memory import matrix_bytes
from creps.dose.proton_range import range_error
from tests.dose import phantoms
from tests.dose.phantoms import BODY, FRONT, SPACING_MM, TARGET, one_beam, scene, water, with_bone

pytestmark = [pytest.mark.needs("pyRadPlan"), pytest.mark.slow]

CENTRE_ROW = (TARGET[1].start + TARGET[1].stop - 1) / 2

COUCH_HU = 100.0


def water_for_bone():
    return with_bone(), water()


def body_smaller():
    """2 mm less at the front, where the beam enters."""
    sct = water()
    sct[:, FRONT] = -1000.0
    return water(), sct


def denser():
    """+15 HU everywhere in the body, bone included."""
    return with_bone(), np.where(with_bone() > -500, with_bone() + 15, with_bone())


def couch_left_in():
    """A plate between beam and patient, in the sCT alone; the beam comes through it."""
    sct = water()
    sct[BODY[0], 2:4, BODY[2]] = COUCH_HU
    return water(), sct


CASES = {
    "water for bone": (water_for_bone, "air"),
    "body 2 mm smaller": (body_smaller, "air"),
    "+15 HU": (denser, "air"),
    "couch left in": (couch_left_in, "image"),
}


def path_mm(array, until=None):
    """Water-equivalent path along the central line, in mm: densities by the table, summed by hand."""
    line = array[SPACING_LINE][: None if until is None else int(until)]
    return SPACING_MM * float(np.interp(line, DEFAULT_TABLE.hu, DEFAULT_TABLE.density).sum())


SPACING_LINE = (phantoms.SHAPE[0] // 2, slice(None), phantoms.SHAPE[2] // 2)


def difference_to_isocentre_mm(ct, sct):
    """Path on the sCT minus path on the CT up to the isocentre, which lies between two rows."""
    return path_mm(sct, CENTRE_ROW + 1) - path_mm(ct, CENTRE_ROW + 1)


@functools.cache
def compared(name, radiation):
    make, outside = CASES[name]
    ct, sct = make()
    built = scene(ct, sct, radiation, outside)
    return ct, sct, built, Engine(built, one_beam(radiation))


def predicted_range_shift_mm(ct, sct, r80_mm):
    """Where the sCT's path equals the CT's path at R80, minus R80; both as depth below the image's first edge.

    Args:
        r80_mm: Depth of R80 on the CT along the central line.
    """
    edges = np.arange(phantoms.SHAPE[1] + 1) * SPACING_MM
    paths = [
        np.concatenate([[0.0], np.cumsum(np.interp(one[SPACING_LINE], DEFAULT_TABLE.hu, DEFAULT_TABLE.density))])
        * SPACING_MM
        for one in (ct, sct)
    ]
    wanted = np.interp(r80_mm, edges, paths[0])
    return float(np.interp(wanted, paths[1], edges)) - r80_mm


def range_shift_mm(name: str) -> tuple[float, float]:
    """Shift of R80 on the central ray: by hand, and by the engine."""
    ct, sct, built, engine = compared(name, "protons")
    beam = engine.beams[0]
    on_ct, on_sct = (engine.deepest_spots(side.density)[0] for side in (built.ct, built.sct))
    error, ranges = range_error(beam, built.grid, on_ct, on_sct)
    assert error.lost == 0
    central = min(range(len(beam.rays)), key=lambda number: np.linalg.norm(_aside(beam.rays[number])))
    depth_mm = beam.rays[central].source_mm[1] + ranges[central] + SPACING_MM / 2  # below the image's first edge
    return predicted_range_shift_mm(ct, sct, depth_mm), error.errors_mm[central]


@pytest.mark.parametrize("name", CASES)
def test_proton_r80_shifts_by_the_path_difference(name):
    expected, measured = range_shift_mm(name)
    assert abs(expected) > 0.4, "the case tests nothing"
    assert measured == pytest.approx(expected, abs=0.5)


def _aside(ray):
    """Distance of a ray from the beam's axis in the isocentre's plane, (x, z)."""
    return np.asarray(ray.through_mm)[[0, 2]] - np.asarray(ray.source_mm)[[0, 2]]


def isocentre_change_percent(name: str) -> tuple[float, float]:
    """Change of the dose at the isocentre: by the engine's own depth dose, and by the engine.

    The depth dose is that of the same beam in water, moved so that the isocentre lies deeper or less deep.
    """
    ct, sct, built, engine = compared(name, "photons")
    ones = np.ones(engine.beams[0].beamlets)
    doses = [_at_isocentre(built, engine.recalculated(side.density, ones)) for side in (built.ct, built.sct)]
    depths, curve = depth_dose()
    reference, apart = path_mm(ct, CENTRE_ROW + 1), difference_to_isocentre_mm(ct, sct)
    assert abs(apart) > 0.3, "the case tests nothing"
    expected = np.interp(reference + apart, depths, curve) / np.interp(reference, depths, curve) - 1
    return 100 * float(expected), 100 * (doses[1] / doses[0] - 1)


@pytest.mark.parametrize("name", CASES)
def test_photon_isocentre_follows_the_engines_depth_dose(name):
    expected, measured = isocentre_change_percent(name)
    assert measured == pytest.approx(expected, abs=0.5)


@functools.cache
def depth_dose():
    """Dose at the isocentre of water with its surface at several depths, by the engine: (depths in mm, doses)."""
    depths, doses = [], []
    for removed in (-3, -1, 1, 3):
        array = np.full(phantoms.SHAPE, -1000.0, np.float32)
        array[BODY[0], FRONT + removed : BODY[1].stop, BODY[2]] = 0.0
        built = scene(water(), array, "photons")
        engine = Engine(built, one_beam("photons"))
        doses.append(_at_isocentre(built, engine.recalculated(built.sct.density, np.ones(engine.beams[0].beamlets))))
        depths.append(path_mm(array, CENTRE_ROW + 1))
    order = np.argsort(depths)
    return np.asarray(depths)[order], np.asarray(doses)[order]


def _at_isocentre(built, dose):
    index = (np.asarray(built.isocentre_mm) - np.asarray(built.grid.origin_mm)) @ built.grid.direction / 2.0
    low = np.floor(index + 1e-6).astype(int)
    corner = tuple(slice(int(i), int(i) + 2) for i in low)
    return float(dose.total_gy[corner].mean())


def test_the_same_image_has_the_same_dose():
    _ct, _sct, built, engine = compared("water for bone", "photons")
    weights, planned = engine.optimised()
    again = engine.recalculated(built.ct.density, weights)
    np.testing.assert_allclose(again.total_gy, planned.total_gy, atol=1e-5)
    assert np.median(planned.total_gy[built.target_mask]) == pytest.approx(2.0, abs=1e-4)


def test_a_couch_is_removed_unless_it_is_asked_for():
    ct, sct = couch_left_in()
    without, with_couch = (scene(ct, sct, "photons", outside) for outside in ("air", "image"))
    np.testing.assert_array_equal(without.ct.density, without.sct.density)
    in_front = without.grid.to_patient_mm([[0, row, 0] for row in range(without.grid.shape[1])])[:, 1] < couch_end_mm()
    gain = float((with_couch.sct.density - without.sct.density)[:, in_front].sum())
    couch_voxels = (
        2 * (BODY[0].stop - BODY[0].start + phantoms.SHAPE[0]) * (BODY[2].stop - BODY[2].start + phantoms.SHAPE[2])
    )
    assert gain == pytest.approx(couch_voxels * float(DEFAULT_TABLE.density_of(COUCH_HU)), rel=0.03)


def couch_end_mm():
    """Between the couch and the body."""
    return SPACING_MM * (4 + FRONT) / 2


def test_the_memory_estimate_bounds_the_matrix():
    """12 bytes a value: the estimate is at least that, and less than six times as much."""
    _ct, _sct, built, engine = compared("water for bone", "protons")
    matrix = engine.deepest_spots(built.ct.density)[0]
    plan = one_beam("protons")
    grown = matrix_bytes(built, plan, matrix.shape[1]) - matrix_bytes(built, plan, 0)
    assert 12 * matrix.nnz < grown < 72 * matrix.nnz
