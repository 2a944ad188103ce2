import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from creps.volume import AXIAL, Volume

angles = st.tuples(*[st.floats(-180, 180)] * 3)
shapes = st.tuples(*[st.integers(2, 5)] * 3)
spacings = st.tuples(*[st.floats(0.3, 5)] * 3)


def a_volume(shape, spacing, angle, flip, seed=0):
    direction = Rotation.from_euler("zyx", angle, degrees=True).as_matrix() @ AXIAL
    if flip:
        direction[:, 0] *= -1
    array = np.random.default_rng(seed).normal(size=shape)
    return Volume(array, spacing, (10.0, -20.0, 30.0), direction)


@given(shapes, spacings, angles, st.booleans())
def test_reorienting_moves_no_voxel(shape, spacing, angle, flip):
    volume = a_volume(shape, spacing, angle, flip)
    upright = volume.reoriented()
    # every voxel keeps its value and its place in the patient
    index = np.stack(np.meshgrid(*map(np.arange, upright.shape), indexing="ij"), axis=-1).reshape(-1, 3)
    places = upright.to_patient_mm(index)
    own = np.rint((places - np.array(volume.origin_mm)) @ volume.direction / np.array(volume.spacing_mm)).astype(int)
    np.testing.assert_allclose(volume.to_patient_mm(own), places, atol=1e-6)
    np.testing.assert_array_equal(upright.array.ravel(), volume.array[tuple(own.T)])
    # its axes now lie nearest to an axial stack's
    assert np.trace(AXIAL.T @ upright.direction) >= np.trace(AXIAL.T @ volume.direction) - 1e-9


@given(shapes, spacings, angles, st.booleans())
def test_reorienting_there_and_back_is_the_volume_itself(shape, spacing, angle, flip):
    volume = a_volume(shape, spacing, angle, flip)
    back = volume.reoriented().reoriented(volume.direction)
    np.testing.assert_array_equal(back.array, volume.array)
    assert back.same_grid_as(volume, tolerance_mm=1e-6)


def test_an_axial_stack_is_upright_already():
    volume = Volume(np.arange(24).reshape(2, 3, 4), (3, 2, 1))
    assert volume.reoriented().same_grid_as(volume)
    np.testing.assert_allclose(volume.to_patient_mm([1, 2, 3]), [3, 4, 3])  # x from W, y from H, z from D


@pytest.mark.parametrize(
    "wrong",
    [
        {"array": np.zeros((2, 2))},
        {"array": np.zeros((2, 2, 2)), "spacing_mm": (1, 0, 1)},
        {"array": np.zeros((2, 2, 2)), "direction": np.ones((3, 3))},
    ],
)
def test_what_is_no_volume_is_refused(wrong):
    with pytest.raises(ValueError, match=r"axes|spacing|direction"):
        Volume(**wrong)


def test_another_shape_does_not_fit():
    with pytest.raises(ValueError, match="does not fit"):
        Volume(np.zeros((2, 2, 2))).with_array(np.zeros((2, 2, 3)))
