"""Known errors give what physics predicts, summed by hand along the beam's central line."""

import numpy as np
import pytest
from benchmarks.dose.bodies import BODY, FRONT, SHAPE, SPACING_MM, one_beam, scene
from benchmarks.dose.known_errors import COUCH_HU, KNOWN_ERRORS, compared, couch_left_in, isocentre_change, range_shift

from creps.dose.density import DEFAULT_TABLE
from creps.dose.memory import matrix_bytes

pytestmark = [pytest.mark.needs("pyRadPlan"), pytest.mark.slow]


@pytest.mark.parametrize("name", KNOWN_ERRORS)
def test_proton_r80_shifts_by_the_path_difference(name):
    shift = range_shift(name)
    assert abs(shift.predicted) > 0.4, "the case tests nothing"
    assert shift.measured == pytest.approx(shift.predicted, abs=0.5)


@pytest.mark.parametrize("name", KNOWN_ERRORS)
def test_photon_isocentre_follows_the_engines_depth_dose(name):
    change = isocentre_change(name)
    assert abs(change.path_mm) > 0.3, "the case tests nothing"
    assert change.measured == pytest.approx(change.predicted, abs=0.5)


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
    couch_voxels = 2 * (BODY[0].stop - BODY[0].start + SHAPE[0]) * (BODY[2].stop - BODY[2].start + SHAPE[2])
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
