import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from creps.errors import InputError
from creps.io.itk import SUFFIXES, read_volume, write_volume
from creps.volume import AXIAL, Volume


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("flip", [False, True])
def test_geometry_and_values_survive_a_file(tmp_path, suffix, flip):
    direction = Rotation.from_euler("zyx", [20, -10, 35], degrees=True).as_matrix() @ AXIAL
    if flip:
        direction = direction * [-1, 1, 1]
    volume = Volume(np.random.default_rng(0).normal(size=(5, 4, 3)), (2.5, 1.25, 0.7), (-12.5, 33.25, 7), direction)
    write_volume(volume, tmp_path / f"v{suffix}")
    back = read_volume(tmp_path / f"v{suffix}")
    np.testing.assert_array_equal(back.array, volume.array)
    assert back.same_grid_as(volume, tolerance_mm=1e-4)


def test_axis_order_is_itks(tmp_path):
    image = sitk.Image([4, 3, 2], sitk.sitkInt16)
    image[3, 2, 1] = 7
    image.SetSpacing((0.5, 1, 3))
    image.SetOrigin((1, 2, 3))
    sitk.WriteImage(image, str(tmp_path / "v.mha"))
    volume = read_volume(tmp_path / "v.mha")
    assert volume.shape == (2, 3, 4)
    assert volume.array[1, 2, 3] == 7
    np.testing.assert_allclose(volume.to_patient_mm([1, 2, 3]), image.TransformIndexToPhysicalPoint((3, 2, 1)))


def test_integers_are_rounded(tmp_path):
    write_volume(Volume(np.full((2, 2, 2), -1000.6)), tmp_path / "v.nii.gz", integer=True)
    assert (read_volume(tmp_path / "v.nii.gz").array == -1001).all()
    assert sitk.ReadImage(str(tmp_path / "v.nii.gz")).GetPixelID() == sitk.sitkInt16


def write_array(path, array, **changes):
    image = sitk.GetImageFromArray(array, isVector=changes.pop("vector", False))
    for name, value in changes.items():
        getattr(image, name)(value)
    sitk.WriteImage(image, str(path))
    return path


BAD = {
    "missing": (lambda p: p / "none.nii.gz", "does not exist"),
    "a folder": (lambda p: p, "is a folder"),
    "an unknown ending": (lambda p: _text(p / "notes.txt"), "unknown file extension"),
    "not an image": (lambda p: _text(p / "notes.nii.gz"), "no NIfTI header"),
    "2-D": (lambda p: write_array(p / "v.mha", np.zeros((4, 4), np.float32)), "2 dimensions"),
    "4-D": (lambda p: write_array(p / "v.nii.gz", np.zeros((2, 3, 4, 4), np.float32)), "4 dimensions"),
    "one slice": (lambda p: write_array(p / "v.mha", np.zeros((1, 4, 4), np.float32)), "single slice"),
    "colour": (lambda p: write_array(p / "v.mha", np.zeros((3, 4, 4, 3), np.float32), vector=True), "values per voxel"),
    "NaN": (lambda p: write_array(p / "v.mha", np.full((3, 4, 4), np.nan, np.float32)), "NaN"),
    "truncated .nii.gz": (lambda p: _truncated(p / "v.nii.gz"), "truncated"),
    "truncated .nii": (lambda p: _truncated(p / "v.nii"), "truncated"),
    "zero spacing in NIfTI": (lambda p: _zero_spacing(p), "spacing of 0 x 0 x 0"),
    "truncated .mha": (lambda p: _truncated(p / "v.mha"), "cannot be read as an image. It may be truncated"),
    "NaN in NIfTI with bytes behind": (lambda p: _trailing(p), "NaN"),
    "a header without its data": (lambda p: _headless(p), "data file, which is not there"),
    "truncated .nrrd": (lambda p: _truncated(p / "v.nrrd"), "cannot be read"),
    "zero spacing in MHA": (lambda p: _zero_spacing_mha(p), "spacing|cannot be read"),
}


def _text(path):
    path.write_text("not an image")
    return path


def _truncated(path):
    write_array(path, np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def _trailing(folder):
    path = write_array(folder / "v.nii", np.full((3, 4, 4), np.nan, np.float32))
    path.write_bytes(path.read_bytes() + b"x")
    return path


def _headless(folder):
    path = write_array(folder / "v.mhd", np.zeros((3, 4, 4), np.float32))
    next(folder.glob("v.*raw")).unlink()
    return path


def _zero_spacing(folder):
    path = write_array(folder / "v.nii", np.zeros((3, 4, 4), np.float32))
    data = bytearray(path.read_bytes())
    data[80:92] = np.zeros(3, np.float32).tobytes()  # pixdim[1..3]
    path.write_bytes(data)
    return path


def _zero_spacing_mha(folder):
    path = write_array(folder / "v.mha", np.zeros((3, 4, 4), np.float32))
    path.write_bytes(path.read_bytes().replace(b"ElementSpacing = 1 1 1", b"ElementSpacing = 0 1 1"))
    return path


@pytest.mark.parametrize(("make", "reason"), BAD.values(), ids=BAD.keys())
def test_bad_files_are_refused_in_one_sentence(tmp_path, capfd, make, reason):
    path = make(tmp_path)
    with pytest.raises(InputError, match=reason) as caught:
        read_volume(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""  # ITK's own chatter stays off the terminal


def test_trailing_single_dimensions_are_dropped(tmp_path):
    write_array(tmp_path / "v.nii.gz", np.zeros((1, 3, 4, 5), np.float32))
    assert read_volume(tmp_path / "v.nii.gz").shape == (3, 4, 5)


def test_a_truncated_gzip_of_a_good_header_leaves_nothing_behind(tmp_path):
    with gzip.open(tmp_path / "v.nii.gz", "wb") as stream:
        stream.write(b"\0" * 100)
    with pytest.raises(InputError):
        read_volume(tmp_path / "v.nii.gz")


def test_writing_to_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(InputError, match="unknown file extension"):
        write_volume(Volume(np.zeros((2, 2, 2))), tmp_path / "v.jpg")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_header_is_refused_or_read_never_a_traceback(tmp_path, seed):
    """A small seeded sample of random damage to headers."""
    rng = np.random.default_rng(seed)
    path = tmp_path / ("v.nii", "v.mha", "v.nrrd")[seed % 3]
    write_volume(Volume(rng.normal(size=(4, 5, 6))), path)
    data = bytearray(path.read_bytes())
    for place in rng.integers(0, min(348, len(data)), 6):
        data[place] = rng.integers(256)
    path.write_bytes(data)
    try:
        volume = read_volume(path)
    except InputError:
        return
    assert np.isfinite(volume.array).all()


def test_header_and_data_files_appear_together(tmp_path, monkeypatch):
    write_volume(Volume(np.ones((3, 3, 3))), tmp_path / "v.mhd")
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".mhd", ".zraw"]
    assert (read_volume(tmp_path / "v.mhd").array == 1).all()

    def fail(image, name, **options):
        raise RuntimeError("disk full")

    monkeypatch.setattr(sitk, "WriteImage", fail)
    with pytest.raises(InputError, match="disk full"):
        write_volume(Volume(np.zeros((3, 3, 3))), tmp_path / "v.mhd")
    monkeypatch.undo()
    assert (read_volume(tmp_path / "v.mhd").array == 1).all()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_nifti_cut_off_by_a_full_disk_is_an_error(tmp_path, monkeypatch):
    """ITK reports success; the file would be there, and short."""
    original = sitk.WriteImage

    def cut(image, name, **options):
        original(image, name, **options)
        with Path(name).open("r+b") as stream:
            stream.truncate(500)

    monkeypatch.setattr(sitk, "WriteImage", cut)
    for ending in (".nii", ".nii.gz"):
        with pytest.raises(InputError, match="cannot be written"):
            write_volume(Volume(np.random.default_rng(0).normal(size=(9, 9, 9))), tmp_path / f"v{ending}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("scale", [(1, 0), (0, 0), (0.0137, -3.3), (1, -1024), (0, 5), (np.nan, np.nan)])
def test_voxels_are_those_that_itk_reads(tmp_path, kind, scale):
    """NIfTI bodies are read here, geometry by ITK: both as if ITK had read the file."""
    array = np.random.default_rng(3).integers(0, 120, (5, 4, 3)).astype(kind)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("zyx", [20, -10, 35], degrees=True).as_matrix() * [0.7, 1.1, 2.5]
    for order in "<>":
        image = nibabel.Nifti1Image(array, affine, nibabel.Nifti1Header(endianness=order), dtype=array.dtype)
        path = tmp_path / f"v{'le' if order == '<' else 'be'}.nii"
        nibabel.save(image, path)
        data = bytearray(path.read_bytes())
        data[112:120] = np.array(scale, f"{order}f4").tobytes()
        path.write_bytes(data)
        other = Volume.from_sitk(sitk.ReadImage(str(path)))
        volume = read_volume(path)
        # ITK adds the intercept of a slope of 0; by the standard, and for nibabel, it does not count.
        expected = Volume.from_nibabel(nibabel.load(path)) if scale == (0, 5) else other
        np.testing.assert_array_equal(volume.array, expected.array)
        assert volume.same_grid_as(other, tolerance_mm=1e-4)


def test_what_is_not_one_number_per_voxel_is_left_to_itk(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.complex64), np.eye(4)), tmp_path / "c.nii")
    with pytest.raises(InputError, match="values per voxel"):
        read_volume(tmp_path / "c.nii")


def test_a_sheared_nifti_is_refused(tmp_path):
    affine = np.eye(4)
    affine[0, 1] = 0.4
    image = nibabel.Nifti1Image(np.zeros((9, 9, 9), np.float32), affine)
    image.set_qform(None, code=0)
    nibabel.save(image, tmp_path / "s.nii")
    with pytest.raises(InputError, match=r"sheared sform.*would move by 1\.\d mm"):
        read_volume(tmp_path / "s.nii")


def test_a_nifti_is_decompressed_once(tmp_path, monkeypatch):
    write_volume(Volume(np.ones((6, 6, 6))), tmp_path / "v.nii.gz")
    monkeypatch.setattr(sitk.ImageFileReader, "Execute", None)
    assert (read_volume(tmp_path / "v.nii.gz").array == 1).all()
