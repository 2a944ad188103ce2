"""Where a file's voxels lie: checked against nibabel, against ITK, and against the formulas of the standard by hand."""

import gzip
import logging
import struct

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from creps.errors import InputError
from creps.io.image import ImageSource
from creps.io.itk import read_header, read_volume, write_volume
from creps.volume import Volume

SHAPE = (6, 5, 4)
SIZES = np.array([0.8, 1.2, 2.5])


def rigid(rng, degrees=180.0, shift=80.0, flip=False):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("zyx", rng.uniform(-degrees, degrees, 3), degrees=True).as_matrix()
    affine[:3, :3] *= SIZES * ([-1, 1, 1] if flip else [1, 1, 1])
    affine[:3, 3] = rng.uniform(-shift, shift, 3)
    return affine


def nifti(path, qform=None, qcode=0, sform=None, scode=0, *, kind=nibabel.Nifti1Image, shape=SHAPE, **fields):
    """A file with these transforms and codes; `fields` are header fields that are set last, unchecked."""
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    image = kind(array, None)
    image.header.set_zooms(SIZES.tolist() + [1.0] * (len(shape) - 3))
    if qform is not None:
        image.set_qform(qform, qcode)
    if sform is not None:
        image.set_sform(sform, scode, update_affine=False)
    image.header["vox_offset"] = 352 if kind is nibabel.Nifti1Image else 544
    for name, value in fields.items():
        image.header[name] = value
    path.write_bytes(image.header.binaryblock + b"\0" * 4 + array.tobytes(order="F"))
    return path


def place(volume):
    """RAS affine of (i, j, k) from a Volume's attributes alone."""
    affine = np.eye(4)
    flip = np.diag([-1.0, -1.0, 1.0])
    affine[:3, :3] = flip @ (volume.direction * volume.spacing_mm)[:, ::-1]
    affine[:3, 3] = flip @ volume.origin_mm
    return affine


def fsl(path):
    """FSL's rule (newimage: sform if its code is set, else qform), with the quaternion of nifti1.h by hand."""
    data = path.read_bytes()
    data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    qcode, scode = struct.unpack_from("<2h", data, 252)
    if scode > 0:
        return np.vstack([np.reshape(struct.unpack_from("<12f", data, 280), (3, 4)), [0, 0, 0, 1]])
    assert qcode > 0
    b, c, d, *offset = struct.unpack_from("<6f", data, 256)
    qfac, *sizes = struct.unpack_from("<4f", data, 76)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_quat([b, c, d, np.sqrt(max(0, 1 - b * b - c * c - d * d))]).as_matrix() * sizes
    affine[:3, 2] *= qfac
    affine[:3, 3] = offset
    return affine


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_random_transforms_lie_where_nibabel_puts_them(tmp_path, seed, kind):
    rng = np.random.default_rng(seed)
    qcode, scode = [(1, 0), (0, 1), (1, 1), (1, 2), (2, 4), (0, 3)][seed % 6]
    qform, sform = rigid(rng, flip=seed % 2 == 0), rigid(rng, flip=seed % 4 < 2)
    path = nifti(tmp_path / "v.nii", qform, qcode, sform, scode, kind=kind)
    seen = nibabel.load(path)
    volume = read_volume(path)
    np.testing.assert_allclose(place(volume), seen.affine, atol=2e-4)
    np.testing.assert_array_equal(volume.array, seen.get_fdata().T)
    assert read_header(path)[0] == volume.shape
    np.testing.assert_allclose(read_header(path)[1], volume.spacing_mm, rtol=1e-5)
    write_volume(volume, tmp_path / "w.nii.gz")
    back = nibabel.load(tmp_path / "w.nii.gz")
    np.testing.assert_allclose(back.affine, seen.affine, atol=5e-4)
    np.testing.assert_allclose(back.get_qform(), back.get_sform(), atol=5e-4)
    assert (back.header["qform_code"], back.header["sform_code"]) == (1, 1)
    np.testing.assert_allclose(fsl(tmp_path / "w.nii.gz"), seen.affine, atol=5e-4)
    itk = Volume.from_sitk(sitk.ReadImage(str(tmp_path / "w.nii.gz")))
    np.testing.assert_allclose(place(itk), seen.affine, atol=5e-4)


def test_a_conflict_is_said_with_its_size(tmp_path, caplog):
    rng = np.random.default_rng(0)
    qform = rigid(rng, 5)
    sform = qform.copy()
    sform[:3, 3] += [3, 4, 0]
    volume = read_volume(nifti(tmp_path / "v.nii", qform, 1, sform, 2))
    (message,) = (record.getMessage() for record in caplog.records)
    assert "v.nii has a qform (code 1, scanner) that differs by up to 5.0 mm" in message
    assert "sform (code 2, aligned to another image); the sform is used" in message
    np.testing.assert_allclose(place(volume), sform, atol=1e-4)


def test_a_conflict_is_in_the_record(tmp_path):
    path = nifti(tmp_path / "v.nii", np.diag([*SIZES, 1.0]), 1, np.diag([*SIZES[:2], 3.0, 1.0]), 2)
    record = ImageSource.find(path).record()
    assert record["file"] == "v.nii"
    (sentence,) = record["geometry"]
    assert sentence.startswith("It has a qform (code 1, scanner) that differs by up to 1.5 mm")
    same = nifti(tmp_path / "w.nii", np.eye(4), 1)
    assert ImageSource.find(same).record().keys() == {"file", "sha256"}


def test_transforms_that_agree_are_read_without_a_word(tmp_path, caplog):
    affine = rigid(np.random.default_rng(1))
    read_volume(nifti(tmp_path / "v.nii", affine, 1, affine, 4))
    assert not caplog.records


def test_without_codes_it_lies_where_nibabel_puts_it_and_this_is_said(tmp_path, caplog):
    path = nifti(tmp_path / "v.nii")
    assert nibabel.load(path).header["sform_code"] == nibabel.load(path).header["qform_code"] == 0
    np.testing.assert_allclose(place(read_volume(path)), nibabel.load(path).affine, atol=1e-5)
    assert "states no position: its sform and qform codes are 0" in caplog.text


@pytest.mark.parametrize(("unit", "name", "factor"), [(1, "metres", 1000), (3, "micrometres", 0.001)])
def test_units_are_converted_and_said(tmp_path, caplog, unit, name, factor):
    affine = np.diag([*SIZES / factor, 1.0])
    affine[:3, 3] = np.array([10, 20, 30]) / factor
    path = nifti(tmp_path / "v.nii", sform=affine, scode=1, xyzt_units=unit, pixdim=[1, *SIZES / factor, 1, 1, 1, 1])
    volume = read_volume(path)
    np.testing.assert_allclose(volume.spacing_mm, SIZES[::-1], rtol=1e-5)
    np.testing.assert_allclose(volume.origin_mm, [-10, -20, 30], rtol=1e-5)
    assert name in caplog.text
    np.testing.assert_allclose(volume.spacing_mm, sitk.ReadImage(str(path)).GetSpacing()[::-1], rtol=1e-4)


SAID = {
    "negative voxel sizes": ({"pixdim": [1, -0.8, 1.2, 2.5, 1, 1, 1, 1]}, "negative voxel sizes"),
    "a qform code that there is not": ({"qform_code": 77}, "qform code of 77"),
    "a unit that there is not": ({"xyzt_units": 7}, "unit that NIfTI does not have"),
    "a quaternion that is none": ({"quatern_b": 3.0}, "qform that is no rotation"),
    "a qfac that is none": ({"pixdim": [5, 0.8, 1.2, 2.5, 1, 1, 1, 1]}, "qfac"),
    "a qform that is NaN": ({"qoffset_x": np.nan}, "qform that is no rotation"),
}


@pytest.mark.parametrize(("fields", "sentence"), SAID.values(), ids=SAID.keys())
def test_the_sform_counts_whatever_the_rest_says(tmp_path, caplog, fields, sentence):
    affine = rigid(np.random.default_rng(2))
    volume = read_volume(nifti(tmp_path / "v.nii", affine, 1, affine, 1, **fields))
    np.testing.assert_allclose(place(volume), affine, atol=1e-4)
    assert sentence in caplog.text


def test_voxel_sizes_that_differ_from_the_sform_are_said(tmp_path, caplog):
    affine = np.diag([4.0, 4, 4, 1])
    assert read_volume(nifti(tmp_path / "v.nii", sform=affine, scode=1)).spacing_mm == (4, 4, 4)
    assert "voxel sizes of 0.8 x 1.2 x 2.5 mm, its sform has 4 x 4 x 4 mm" in caplog.text


FLAT = np.diag([1.0, 1, 0, 1])
IMPOSSIBLE = {
    "a sform of zeros": ({"sform": np.diag([0.0, 0, 0, 1]), "scode": 1}, "flattens"),
    "a flat sform": ({"sform": FLAT, "scode": 1}, "flattens"),
    "a sform that is NaN": ({"sform": np.diag([np.nan, 1, 1, 1]), "scode": 1}, "sform that is not finite"),
    "no voxel size": ({"sform": np.eye(4), "scode": 1, "pixdim": [1, 0, 1, 1, 1, 1, 1, 1]}, "spacing of 0 x 1 x 1"),
    "a voxel size that is NaN": (
        {"qform": np.eye(4), "qcode": 1, "pixdim": [1, np.nan, 1, 1, 1, 1, 1, 1]},
        "spacing of nan x 1 x 1",
    ),
    "a qfac of 5": ({"qform": np.eye(4), "qcode": 1, "pixdim": [5, 1, 1, 1, 1, 1, 1, 1]}, "qfac"),
    "no rotation": ({"qform": np.eye(4), "qcode": 1, "quatern_c": 1.5}, "no rotation"),
    "an intercept that is NaN": (
        {"qform": np.eye(4), "qcode": 1, "scl_slope": 2, "scl_inter": np.nan},
        "intercept nan",
    ),
    "several frames": ({"qform": np.eye(4), "qcode": 1, "shape": (4, 4, 4, 3)}, "4 dimensions"),
    "a separate voxel file": ({"qform": np.eye(4), "qcode": 1, "magic": b"ni1"}, r"separate \.img"),
    "no magic number": ({"qform": np.eye(4), "qcode": 1, "magic": b""}, "Analyze"),
}


@pytest.mark.parametrize(("given", "sentence"), IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_impossible_headers_are_refused(tmp_path, given, sentence):
    path = nifti(tmp_path / "v.nii", **given)
    with pytest.raises(InputError, match=sentence) as caught:
        read_volume(path)
    assert str(path) in caught.value.what


@pytest.mark.parametrize("scale", [(0, 5), (np.nan, 3), (np.inf, 3), (2, -10), (0.5, 0), (-1, 0)])
def test_values_are_nibabels(tmp_path, scale):
    path = nifti(tmp_path / "v.nii", np.eye(4), 1, scl_slope=scale[0], scl_inter=scale[1])
    np.testing.assert_array_equal(read_volume(path).array, nibabel.load(path).get_fdata(dtype=np.float32).T)


def test_one_frame_of_four_dimensions_is_a_volume(tmp_path):
    assert read_volume(nifti(tmp_path / "v.nii", np.eye(4), 1, shape=(6, 5, 4, 1))).shape == (4, 5, 6)


def test_a_slight_shear_is_straightened_and_said(tmp_path, caplog):
    affine = np.diag([*SIZES, 1.0])
    affine[0, 1] = 0.1
    volume = read_volume(nifti(tmp_path / "v.nii", sform=affine, scode=2))
    np.testing.assert_allclose(volume.direction.T @ volume.direction, np.eye(3), atol=1e-12)
    assert "slightly sheared sform" in caplog.text
    index = np.array(np.meshgrid(*[range(n) for n in SHAPE], indexing="ij")).reshape(3, -1)
    moved = np.linalg.norm((place(volume) - affine)[:3, :3] @ index + (place(volume) - affine)[:3, 3:], axis=0).max()
    assert 0.1 < moved < 0.4
    assert f"moved by {moved:.2f} mm" in caplog.text


def test_a_big_endian_file_lies_at_the_same_place(tmp_path):
    affine = rigid(np.random.default_rng(3))
    header = nibabel.Nifti1Header(endianness=">")
    image = nibabel.Nifti1Image(np.arange(120, dtype=">i2").reshape(SHAPE), affine, header)
    nibabel.save(image, tmp_path / "v.nii.gz")
    volume = read_volume(tmp_path / "v.nii.gz")
    np.testing.assert_allclose(place(volume), affine, atol=1e-4)
    np.testing.assert_array_equal(volume.array.T.ravel(), np.arange(120))


@pytest.fixture(autouse=True)
def _warnings_are_seen(caplog):
    caplog.set_level(logging.WARNING, logger="creps")
