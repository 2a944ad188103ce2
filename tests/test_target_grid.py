"""The grids that an sCT can be wanted on: a point keeps its place, whatever the MR's orientation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from creps.errors import SettingsError
from creps.preprocessing.crop import outside_extent
from creps.preprocessing.resample import resample_turned
from creps.preprocessing.target_grid import (
    PRONE,
    bring_onto,
    check_target_grid,
    obliquity_degrees,
    planning_grid,
)
from creps.volume import AXIAL, Volume
from tests.test_dicom import rotation

angles = st.tuples(*[st.floats(-3.1, 3.1)] * 3)
spacings = st.tuples(*[st.floats(0.5, 4)] * 3)
flips = st.tuples(*[st.sampled_from([-1, 1])] * 3)


def ramp(shape, spacing, direction, slopes=(1.0, -2.0, 0.5), origin=(5.0, -7.0, 11.0)):
    """A volume whose value is a linear function of the patient coordinates."""
    empty = Volume(np.zeros(shape), spacing, origin, direction)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return empty.with_array(empty.to_patient_mm(index) @ np.asarray(slopes))


def corners(volume, edge=0.5):
    ends = [(-edge, n - 1 + edge) for n in volume.shape]
    return volume.to_patient_mm(np.array(np.meshgrid(*ends)).reshape(3, -1).T)


@given(angles, spacings, flips, st.permutations(range(3)))
def test_the_planning_grid_is_axial_square_and_holds_the_whole_mr(turn, spacing, signs, order):
    mr = ramp((7, 9, 8), spacing, rotation(*turn)[:, order] * np.array(signs))
    grid = planning_grid(mr)
    np.testing.assert_array_equal(grid.direction, AXIAL)
    assert abs(grid.spacing_mm[1] - grid.spacing_mm[2]) < 1e-3
    inside = corners(grid)
    assert (corners(mr).min(axis=0) >= inside.min(axis=0) - 0.01 * max(spacing)).all()
    assert (corners(mr).max(axis=0) <= inside.max(axis=0) + 0.01 * max(spacing)).all()
    room = (inside.max(axis=0) - inside.min(axis=0)) - (corners(mr).max(axis=0) - corners(mr).min(axis=0))
    assert (room <= np.array(grid.spacing_mm)[::-1] + 0.01).all()  # and no slice more than it takes


@given(angles, spacings, flips, st.permutations(range(3)))
def test_a_point_keeps_its_value_on_a_turned_grid(turn, spacing, signs, order):
    mr = ramp((12, 13, 14), spacing, rotation(*turn)[:, order] * np.array(signs))
    grid = planning_grid(mr, (1.7, 1.3, 1.3))
    brought = bring_onto(mr, grid, -9999.0)
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    points = grid.to_patient_mm(index)
    own = (points - np.asarray(mr.origin_mm)) @ mr.direction / np.asarray(mr.spacing_mm)
    size = np.asarray(mr.shape)
    deep = ((own > 4) & (own < size - 5)).all(axis=-1)  # mirrored edges bend a ramp
    expected = points @ np.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(brought.array[deep], expected[deep], atol=0.02)
    outside = ((own < -0.51) | (own > size - 0.49)).any(axis=-1)
    assert (brought.array[outside] == -9999).all()
    assert (brought.array[((own > -0.49) & (own < size - 0.51)).all(axis=-1)] != -9999).all()
    np.testing.assert_array_equal(outside_extent(grid, mr), brought.array == -9999)


@given(st.permutations(range(3)), flips, st.floats(0.5, 3), st.floats(0.5, 3))
def test_an_mr_along_the_axes_keeps_its_voxels(order, signs, inplane, between):
    straight = ramp((4, 5, 6), (between, inplane, inplane), AXIAL)
    mr = straight.reoriented(np.eye(3)[:, order] * np.array(signs))
    grid = planning_grid(mr)
    assert grid.same_grid_as(straight, 1e-6)
    np.testing.assert_array_equal(bring_onto(mr, grid, 0).array, straight.array)
    assert obliquity_degrees(mr) == 0


def test_prone_patients_are_written_as_scanners_do():
    mr = ramp((4, 5, 6), (3.0, 1.0, 1.0), AXIAL)
    grid = planning_grid(mr, prone=True)
    np.testing.assert_array_equal(grid.direction, PRONE)
    assert np.linalg.det(grid.direction) == np.linalg.det(AXIAL)  # turned, not mirrored
    np.testing.assert_array_equal(bring_onto(mr, grid, 0).array, mr.array[:, ::-1, ::-1])


def test_pixels_become_square_and_a_spacing_is_kept():
    mr = ramp((10, 20, 5), (1.0, 0.9, 4.0), AXIAL)  # sagittal slices of 4 mm
    assert planning_grid(mr).spacing_mm == (1.0, 0.9, 0.9)
    grid = planning_grid(mr, (3.0, 1.0, 1.0))
    assert grid.spacing_mm == (3.0, 1.0, 1.0)
    assert grid.shape == (4, 18, 20)
    np.testing.assert_allclose(corners(grid).mean(axis=0), corners(mr).mean(axis=0))


def test_obliquity():
    assert obliquity_degrees(ramp((4, 5, 6), (1, 1, 1), rotation(0.2, 0, 0)[:, [2, 1, 0]])) == pytest.approx(
        11.459, 1e-3
    )
    hair = rotation(1e-6, 0, 0)[:, [2, 1, 0]]  # rounding in a header
    assert obliquity_degrees(ramp((4, 5, 6), (1, 1, 1), hair)) == 0


@pytest.mark.parametrize(
    ("kind", "spacing", "message"),
    [("axial", None, "grid 'axial'"), ("mr", (1, 1, 1), "has its own"), ("planning", (0, 1, 1), "along each axis")],
)
def test_grids_that_do_not_exist(kind, spacing, message):
    with pytest.raises(SettingsError, match=message):
        check_target_grid(kind, spacing)


@pytest.mark.parametrize("tilt", [2e-5, 5e-5, 9e-5, 1.1e-4, 1e-3])
def test_a_hair_of_tilt_over_a_large_field_moves_nothing(tilt):
    """Far from the middle a small angle is a large distance."""
    direction = rotation(0, 0, tilt)[:, [2, 1, 0]]
    mr = ramp((4, 450, 450), (3.0, 1.0, 1.0), direction, slopes=(1.0, 0.0, 0.0))
    grid = planning_grid(mr)
    brought = bring_onto(mr, grid, -9999.0)
    points = grid.to_patient_mm(np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1))
    inner = (slice(1, -1), slice(5, -5), slice(5, -5))
    np.testing.assert_allclose(brought.array[inner], points[..., 0][inner], atol=0.01)


def test_a_grid_that_nobody_could_use_is_refused():
    with pytest.raises(SettingsError, match=r"3000 x 3000 x 3000 voxels\. Choose a coarser"):
        planning_grid(ramp((3, 3, 3), (100.0, 100.0, 100.0), AXIAL), (0.1, 0.1, 0.1))


@pytest.mark.parametrize(
    "turn", [(0.2, 0.0, 0.0), (0.0, -0.15, 0.0), (0.0, 0.0, 0.1), (0.1, 0.2, -0.1), (1e-7, 0.2, 0.0)]
)
def test_turned_about_one_axis_or_several_equals_scipys_spline(turn):
    volume = Volume(
        np.random.default_rng(1).normal(0, 500, (11, 14, 12)),
        (2.0, 1.1, 1.3),
        (3.0, -4.0, 5.0),
        rotation(*turn) @ AXIAL,
    )
    grid = planning_grid(volume, (1.5, 1.0, 1.0)).reoriented(volume.direction)
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    own = (grid.to_patient_mm(index) - volume.origin_mm) @ volume.direction / volume.spacing_mm
    theirs = ndimage.map_coordinates(volume.array.astype(np.float64), np.moveaxis(own, -1, 0), order=3, mode="mirror")
    theirs = theirs.clip(volume.array.min(), volume.array.max())
    inside = ~outside_extent(grid, volume)
    assert inside.sum() > 500
    assert np.abs(resample_turned(volume, grid).array - theirs)[inside].max() < 0.1
