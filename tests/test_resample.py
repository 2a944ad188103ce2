import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from creps.preprocessing.resample import model_grid, resample, resample_onto
from creps.volume import Volume


def smooth_volume(shape=(32, 38, 36), spacing=(2.5, 1.1, 1.3), seed=0):
    rng = np.random.default_rng(seed)
    return Volume(rng.normal(0, 300, shape).cumsum(axis=0), spacing, (5, -7, 11))


def test_equals_simpleitks_cubic_b_spline():
    volume = smooth_volume()
    ours = resample(volume, (1.7, 0.9, 2.0))
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing(volume.spacing_mm[::-1])
    image.SetOrigin(volume.origin_mm)
    theirs = sitk.Resample(
        image,
        ours.shape[::-1],
        sitk.Transform(),
        sitk.sitkBSpline3,
        ours.origin_mm,
        ours.spacing_mm[::-1],
        image.GetDirection(),
        -99999.0,
    )
    theirs = sitk.GetArrayFromImage(theirs)
    # the two differ in what they take to lie beyond the edge, which fades within a few voxels
    inner = tuple(
        slice(round(10 * a / b) + 1, -round(10 * a / b) - 1)
        for a, b in zip(volume.spacing_mm, ours.spacing_mm, strict=True)
    )
    assert theirs[inner].size > 1000
    expected = np.clip(theirs[inner], volume.array.min(), volume.array.max())
    assert np.abs(ours.array[inner] - expected).max() < 0.1


@given(st.tuples(*[st.integers(2, 9)] * 3), st.tuples(*[st.floats(0.5, 4)] * 3), st.integers(0, 99))
@settings(max_examples=50)
def test_grid_covers_the_extent_and_values_stay_in_range(shape, spacing, seed):
    volume = Volume(np.random.default_rng(seed).normal(size=shape), (1.5, 1.0, 2.0), (1, 2, 3))
    result = resample(volume, spacing)
    for new, old, step in zip(result.extent_mm, volume.extent_mm, spacing, strict=True):
        assert old - 0.01 * step <= new or new == 2 * step
        assert new < old + 2.01 * step or new == 2 * step
    own, wanted = volume.corners_mm(edges=True), result.corners_mm(edges=True)
    assert (wanted.min(axis=0) < own.min(axis=0) + 0.01 * np.array(spacing)[::-1]).all()
    assert (wanted.max(axis=0) > own.max(axis=0) - 0.01 * np.array(spacing)[::-1]).all()
    assert result.array.min() >= volume.array.min()
    assert result.array.max() <= volume.array.max()


def test_equals_scipys_spline_up_to_the_edge():
    volume = smooth_volume()
    ours = resample(volume, (1.7, 0.9, 2.0))
    index = np.stack(np.meshgrid(*map(np.arange, ours.shape), indexing="ij"), axis=-1)
    own = (ours.to_patient_mm(index) - np.array(volume.origin_mm)) @ volume.direction / np.array(volume.spacing_mm)
    own = np.clip(own, 0, np.array(volume.shape) - 1)
    theirs = ndimage.map_coordinates(volume.array, np.moveaxis(own, -1, 0), order=3, mode="mirror")
    assert np.abs(ours.array - theirs.clip(volume.array.min(), volume.array.max())).max() < 0.05


def test_a_linear_ramp_stays_one():
    ramp = Volume(np.arange(20.0)[:, None, None] * np.ones((20, 4, 4)), (1, 1, 1))
    result = resample(ramp, (0.5, 1, 1))
    position = np.arange(-1, 40) * 0.5  # every second one is a voxel of the ramp
    assert result.origin_mm[2] == -0.5  # its cell reaches half of one into the volume
    np.testing.assert_allclose(result.array[12:-12, 2, 2], position[12:-12], atol=1e-3)


def test_there_and_back_restores_the_grid():
    volume = smooth_volume()
    back = resample_onto(resample(volume, (2.0, 1.0, 1.0)), volume)
    assert back.same_grid_as(volume)


def test_the_same_grid_is_left_alone():
    volume = smooth_volume(spacing=(1, 1, 1))
    np.testing.assert_array_equal(resample(volume, (1, 1, 1)).array, volume.array)


def test_rotated_grids_are_refused():
    volume = smooth_volume()
    turned = Volume(volume.array, volume.spacing_mm, volume.origin_mm, volume.direction[:, [1, 0, 2]])
    with pytest.raises(ValueError, match="parallel"):
        resample_onto(volume, turned)


def test_beyond_the_edge_the_outermost_value_goes_on():
    volume = Volume(np.full((3, 3, 3), 7.0))
    grid = Volume(np.zeros((9, 3, 3)), (1, 1, 1), (0, 0, -3))
    assert (resample_onto(volume, grid).array == 7).all()
    assert model_grid(volume, (1, 1, 1)).same_grid_as(volume)
