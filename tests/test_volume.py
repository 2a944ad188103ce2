import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from creps.errors import CrepsError
from creps.io.itk import read_volume
from creps.volume import AXIAL, GeometryError, Volume

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


@given(shapes, spacings, angles, st.booleans())
def test_each_voxel_is_the_nearest_to_places_within_it_and_the_edge_to_those_outside(shape, spacing, angle, flip):
    volume = a_volume(shape, spacing, angle, flip)
    index = np.random.default_rng(1).integers(0, shape)
    within = volume.to_patient_mm(index + np.array([0.4, -0.4, 0.3]))
    assert volume.nearest_voxel(within) == tuple(index)
    np.testing.assert_allclose(volume.to_index(within), index + np.array([0.4, -0.4, 0.3]), atol=1e-6)
    assert volume.nearest_voxel(volume.to_patient_mm([-9, 1, 99])) == (0, 1, shape[2] - 1)


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
        {"array": np.zeros((2, 2, 2)), "spacing_mm": 1.0},
        {"array": np.zeros((2, 2, 2)), "spacing_mm": (1.0, 1.0)},
        {"array": "text"},
    ],
)
def test_what_is_no_volume_is_refused(wrong):
    with pytest.raises(CrepsError, match=r"axes|spacing|direction|numeric"):
        Volume(**wrong)
    with pytest.raises(ValueError, match=r"axes|spacing|direction|numeric"):
        Volume(**wrong)


def test_another_shape_does_not_fit():
    with pytest.raises(ValueError, match="does not fit"):
        Volume(np.zeros((2, 2, 2))).with_array(np.zeros((2, 2, 3)))


@given(shapes, spacings, angles, st.booleans())
def test_there_and_back_through_simpleitk(shape, spacing, angle, flip):
    volume = a_volume(shape, spacing, angle, flip)
    image = volume.to_sitk()
    index = [n - 1 for n in shape]
    place = image.TransformIndexToPhysicalPoint(index[::-1])  # ITK's (x, y, z) is DICOM's
    np.testing.assert_allclose(place, volume.to_patient_mm(index), atol=1e-6)
    back = Volume.from_sitk(image)
    np.testing.assert_array_equal(back.array, volume.array)
    assert back.same_grid_as(volume, tolerance_mm=1e-6)


@given(shapes, spacings, angles, st.booleans())
def test_the_affine_is_that_of_nibabel(tmp_path_factory, shape, spacing, angle, flip):
    volume = a_volume(shape, spacing, angle, flip)
    corner = [n - 1 for n in shape]
    x, y, z = volume.to_patient_mm(corner)
    np.testing.assert_allclose(volume.affine @ [*corner, 1], [-x, -y, z, 1], atol=1e-9)
    image = nibabel.Nifti1Image(volume.array.T, volume.affine[:, [2, 1, 0, 3]])  # (i, j, k) = (w, h, d)
    back = Volume.from_nibabel(image)
    np.testing.assert_array_equal(back.array, volume.array)
    assert back.same_grid_as(volume, tolerance_mm=1e-4)
    path = tmp_path_factory.mktemp("n") / "v.nii"
    nibabel.save(image, path)
    assert read_volume(path).same_grid_as(volume, tolerance_mm=1e-3)


def test_images_that_make_no_volume_are_refused():
    sheared = np.array([[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    for image in (
        nibabel.Nifti1Image(np.zeros((2, 2, 2), np.float32), sheared),
        nibabel.Nifti1Image(np.zeros((2, 2, 2, 2), np.float32), np.eye(4)),
        "a path",
    ):
        with pytest.raises(GeometryError):
            Volume.from_nibabel(image)
    for image in (
        sitk.Image(4, 4, sitk.sitkUInt8),
        sitk.Image([4, 4, 4], sitk.sitkVectorUInt8, 3),
        np.zeros((2, 2, 2)),
    ):
        with pytest.raises(GeometryError):
            Volume.from_sitk(image)


def test_corners_lie_at_centres_or_edges():
    volume = Volume(np.zeros((2, 3, 4)), (3, 2, 1), (10, 20, 30))
    np.testing.assert_allclose(np.ptp(volume.corners_mm(), axis=0), [3, 4, 3])
    np.testing.assert_allclose(np.ptp(volume.corners_mm(edges=True), axis=0), [4, 6, 6])
    np.testing.assert_allclose(volume.corners_mm(edges=True).min(axis=0), [9.5, 19, 28.5])
