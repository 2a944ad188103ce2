"""Rigid registration: what was moved is found again."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from creps.errors import InputError
from creps.preprocessing.registration import RigidRegistration, register_rigid
from creps.preprocessing.resample import resample_onto
from creps.volume import AXIAL, Volume
from tests.once import head_phantom

ANGLES, SHIFTS = st.tuples(*[st.floats(-8, 8)] * 3), st.tuples(*[st.floats(-12, 12)] * 3)


@pytest.fixture(scope="module")
def head():
    return head_phantom(3, 4.0)


def middle(volume):
    return volume.to_patient_mm([(n - 1) / 2 for n in volume.shape])


def rigid(angles_deg, shift_mm, about):
    """The rigid transform x -> R (x - about) + about + shift as a matrix and a function."""
    matrix = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    return matrix, lambda points: (np.asarray(points) - about) @ matrix.T + about + np.asarray(shift_mm)


def carried(volume, matrix, move):
    """The same voxels elsewhere in the patient: moved without interpolation."""
    return Volume(volume.array, volume.spacing_mm, tuple(move(volume.origin_mm)), matrix @ volume.direction)


def body_points(head):
    return head.mr.to_patient_mm(np.argwhere(head.mask.array > 0)[::50])


def assert_found(result, matrix, move, points, degrees=0.5, mm=0.5):
    off = Rotation.from_matrix(matrix.T @ result.rotation).magnitude()
    assert np.degrees(off) < degrees
    assert np.linalg.norm(result.to_moving_mm(points) - move(points), axis=1).mean() < mm


@given(ANGLES, SHIFTS, st.booleans())
@settings(max_examples=3, derandomize=True)
def test_a_known_movement_between_mr_and_ct_is_found(head, angles, shift, mr_is_fixed):
    fixed, other = (head.mr, head.ct) if mr_is_fixed else (head.ct, head.mr)
    matrix, move = rigid(angles, shift, middle(fixed))
    result = register_rigid(fixed, carried(other, matrix, move))
    assert_found(result, matrix, move, body_points(head))


def test_an_image_that_lies_right_stays():
    head = head_phantom(4, 4.0)
    result = register_rigid(head.mr, head.ct, fixed_mask=head.mask)
    assert_found(result, np.eye(3), lambda points: points, body_points(head))


def test_a_pair_with_one_modality_is_found_to_a_tenth_of_a_millimetre(head):
    matrix, move = rigid((3, -4, 5), (6, -5, 4), middle(head.ct))
    result = register_rigid(head.ct, carried(head.ct, matrix, move), fixed_mask=head.mask)
    assert_found(result, matrix, move, body_points(head), degrees=0.1, mm=0.1)
    assert result.metric_after < result.metric_before - 0.5


def test_the_same_pair_gives_the_same_transform(head):
    matrix, move = rigid((2, 1, -3), (4, 5, -6), middle(head.mr))
    moving = carried(head.ct, matrix, move)
    once, again = (register_rigid(head.mr, moving) for _ in range(2))
    assert (once.translation_mm, once.metric_after) == (again.translation_mm, again.metric_after)
    assert once.record() == again.record()


def test_moved_brings_the_image_back_onto_the_grid(head):
    matrix, move = rigid((4, -3, 6), (8, -6, 5), middle(head.ct))
    moving = carried(head.ct, matrix, move)
    back = register_rigid(head.ct, moving).moved(moving, head.ct, fill=-1000.0)
    assert back.same_grid_as(head.ct)
    inside = head.mask.array > 0
    unaligned = RigidRegistration(np.eye(3), (0, 0, 0), (0, 0, 0), 0, 0).moved(moving, head.ct, fill=-1000.0)
    error, before = (np.abs(image.array - head.ct.array)[inside].mean() for image in (back, unaligned))
    assert error < 10 < 100 < before


@given(ANGLES, SHIFTS)
@settings(max_examples=10)
def test_moved_samples_where_the_definition_says(angles, shift):
    rng = np.random.default_rng(0)
    volume = Volume(rng.normal(0, 300, (12, 14, 13)), (3, 2, 2.5), (5, -7, 11), AXIAL)
    onto = Volume(np.zeros((8, 9, 7)), (3.5, 3, 2), (8, -3, 14))
    matrix, move = rigid(angles, shift, (10, 5, 20))
    result = RigidRegistration(matrix, shift, (10, 5, 20), 0, 0)
    index = np.stack(np.meshgrid(*map(np.arange, onto.shape), indexing="ij"), axis=-1)
    there = move(onto.to_patient_mm(index))
    own = (there - np.asarray(volume.origin_mm)) @ volume.direction / np.asarray(volume.spacing_mm)
    inside = ((own > 0.01) & (own < np.asarray(volume.shape) - 1.01)).all(axis=-1)
    expected = ndimage.map_coordinates(volume.array, np.moveaxis(own, -1, 0), order=1, mode="nearest")
    sampled = result.moved(volume, onto, fill=-5000.0, interpolation="linear").array
    np.testing.assert_allclose(sampled[inside], expected[inside], atol=0.1)
    outside = ((own < -0.51) | (own > np.asarray(volume.shape) - 0.49)).any(axis=-1)
    assert (sampled[outside] == -5000).all()


def test_moved_by_nothing_is_resampling():
    volume = Volume(np.random.default_rng(0).normal(0, 300, (32, 38, 36)).cumsum(axis=0), (2.5, 1.1, 1.3), (5, -7, 11))
    onto = Volume(np.zeros((20, 12, 12)), (2, 1, 1), (15, 5, 30))
    still = RigidRegistration(np.eye(3), (0, 0, 0), (0, 0, 0), 0, 0)
    np.testing.assert_allclose(still.moved(volume, onto, 0.0).array, resample_onto(volume, onto).array, atol=0.5)
    mask = volume.with_array(volume.array > 0)
    assert set(np.unique(still.moved(mask, onto, 0.0, "nearest").array)) == {0.0, 1.0}
    beyond = Volume(np.zeros((4, 4, 4)), origin_mm=(500, 0, 0))
    assert (still.moved(volume, beyond, -1000.0).array == -1000).all()


def test_the_record_is_json_with_the_angles_put_in(head):
    matrix = Rotation.from_euler("z", 7, degrees=True).as_matrix()
    record = RigidRegistration(matrix, (1, 2, 3), (4, 5, 6), -0.25, -0.5).record()
    np.testing.assert_allclose(record["rotation_deg"], (0, 0, 7), atol=1e-3)
    assert record["translation_mm"] == [1, 2, 3]
    assert (record["metric_before"], record["metric_after"]) == (-0.25, -0.5)
    assert "mutual information" in record["method"]


def test_images_in_different_frames_need_their_centres_brought_together(head):
    matrix, move = rigid((2, -3, 4), (900, 30, -20), middle(head.mr))
    far = carried(head.ct, matrix, move)
    with pytest.raises(InputError, match=r"hardly overlap: 0%.*start from their centres"):
        register_rigid(head.mr, far)
    assert_found(register_rigid(head.mr, far, start="centres"), matrix, move, body_points(head))


def test_what_cannot_be_registered_is_said(head):
    with pytest.raises(InputError, match="mask is on a different grid from the fixed image"):
        register_rigid(head.mr, head.ct, fixed_mask=replace(head.mask, spacing_mm=(5, 5, 5)))
    with pytest.raises(InputError, match="mask of the fixed image is empty"):
        register_rigid(head.mr, head.ct, fixed_mask=head.mask.with_array(np.zeros(head.mask.shape)))
    with pytest.raises(InputError, match="cannot be registered"):
        register_rigid(head.mr, head.ct.with_array(np.full(head.ct.shape, -1000.0)))


@pytest.mark.parametrize("which", ["fixed", "moving"])
def test_too_few_slices_are_refused_with_their_own_words(head, which):
    images = {"fixed": head.mr, "moving": head.ct}
    one = images[which]
    images[which] = Volume(one.array[20:23], one.spacing_mm, one.origin_mm, one.direction)
    with pytest.raises(InputError, match=f"The {which} image has 3 x .* voxels, and registration needs at least 4"):
        register_rigid(**images)
