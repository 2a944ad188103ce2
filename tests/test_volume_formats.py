"""Files that are not what their names say, and MetaImage and NRRD headers that leave something out."""

import bz2
import gzip
import logging
import lzma
import zipfile

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from creps.errors import InputError
from creps.io.image import ImageSource
from creps.io.itk import read_header, read_volume, write_volume
from creps.synthesis.inputs import find_mr
from creps.volume import Volume

VOXELS = np.random.default_rng(0).integers(0, 1000, (4, 5, 6)).astype(np.float32)
TURN = np.array([[0.0, -1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
"""ITK's direction; its columns belong to (i, j, k)."""


def image():
    made = sitk.GetImageFromArray(VOXELS)
    made.SetSpacing((0.7, 1.1, 2.5))
    made.SetOrigin((1, 2, 3))
    made.SetDirection(TURN.ravel().tolist())
    return made


def by_hand(volume):
    """LPS place of voxel (i, j, k) = (5, 4, 3), from the Volume's attributes."""
    return volume.origin_mm + volume.direction @ (np.array(volume.spacing_mm) * [3, 4, 5])


def changed(path, *changes):
    """The file of `image` with parts of its header replaced."""
    sitk.WriteImage(image(), str(path), False)
    data = path.read_bytes()
    for old, new in changes:
        assert old.encode() in data
        data = data.replace(old.encode(), new.encode())
    path.write_bytes(data)
    return path


@pytest.fixture(autouse=True)
def _warnings_are_seen(caplog):
    caplog.set_level(logging.WARNING, logger="creps")


def plain():
    return nibabel.Nifti1Image(VOXELS.T, np.diag([-0.7, -1.1, 2.5, 1.0])).to_bytes()


READ = {
    "uncompressed, called .nii.gz": ("v.nii.gz", plain),
    "compressed, called .nii": ("v.nii", lambda: gzip.compress(plain())),
    "upper case": ("V.NII.GZ", lambda: gzip.compress(plain())),
    "gzip in two members": ("v.nii.gz", lambda: gzip.compress(plain()[:300]) + gzip.compress(plain()[300:])),
    "NIfTI-2": ("v.nii", lambda: nibabel.Nifti2Image(VOXELS.T, np.diag([-0.7, -1.1, 2.5, 1.0])).to_bytes()),
}


@pytest.mark.parametrize(("name", "make"), READ.values(), ids=READ.keys())
def test_the_content_decides_not_the_name(tmp_path, caplog, name, make):
    (tmp_path / name).write_bytes(make())
    volume = read_volume(tmp_path / name)
    np.testing.assert_array_equal(volume.array, VOXELS)
    np.testing.assert_allclose(volume.spacing_mm, (2.5, 1.1, 0.7), rtol=1e-6)
    assert read_header(tmp_path / name)[0] == (4, 5, 6)
    assert not caplog.records


def dicom():
    return b"\0" * 128 + b"DICM" + b"\2" * 400


OTHER = {
    "empty": (b"", "is empty"),
    "zeros": (b"\0" * 1000, "nothing but zeros"),
    "compressed twice": (gzip.compress(gzip.compress(plain())), "compressed twice"),
    "bzip2": (bz2.compress(plain()), "compressed with bzip2"),
    "xz": (lzma.compress(plain()), "compressed with xz"),
    "zstd": (b"\x28\xb5\x2f\xfd" + b"1" * 500, "compressed with zstd"),
    "DICOM": (dicom(), "is a DICOM file"),
    "NRRD": (b"NRRD0004\ntype: float\n", "is an NRRD file"),
    "MetaImage": (b"ObjectType = Image\n", "is a MetaImage file"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    "a web page": (b"<!DOCTYPE html><html>", "is a web page"),
    "truncated": (gzip.compress(plain())[:-100], "ends early"),
    "Analyze": (plain()[:344] + b"\0" * 200, "Analyze"),
}


@pytest.mark.parametrize(("content", "reason"), OTHER.values(), ids=OTHER.keys())
def test_what_a_file_really_is_is_said(tmp_path, content, reason):
    path = tmp_path / "v.nii.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=reason) as caught:
        read_volume(path)
    assert str(path) in caught.value.what


def test_a_zip_archive_is_called_so(tmp_path):
    with zipfile.ZipFile(tmp_path / "v.nii", "w") as archive:
        archive.writestr("v.nii", plain())
    with pytest.raises(InputError, match="is a zip archive"):
        read_volume(tmp_path / "v.nii")


@pytest.mark.parametrize("name", ["v.hdr", "v.img"])
def test_half_of_a_pair_is_called_so(tmp_path, name):
    (tmp_path / name).write_bytes(plain())
    with pytest.raises(InputError, match="one half of a NIfTI or Analyze pair"):
        read_volume(tmp_path / name)


@pytest.mark.parametrize("read", [read_volume, ImageSource.find, find_mr])
def test_a_folder_with_a_files_name_is_called_so(tmp_path, read):
    (tmp_path / "v.nii.gz").mkdir()
    (tmp_path / "v.nii.gz" / "v.nii").write_bytes(plain())
    with pytest.raises(InputError, match=r"v\.nii\.gz is a folder"):
        read(tmp_path / "v.nii.gz")


@pytest.mark.parametrize("ending", [".MHA", ".NRRD", ".Nii.gz"])
def test_upper_case_endings_are_read_and_written(tmp_path, ending):
    path = tmp_path / f"v{ending}"
    write_volume(Volume.from_sitk(image()), path)
    np.testing.assert_array_equal(read_volume(path).array, VOXELS)
    np.testing.assert_allclose(by_hand(read_volume(path)), image().TransformIndexToPhysicalPoint((5, 4, 3)), atol=1e-4)
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == ending.lower().endswith("gz")


def data_file_named(folder, name, where="v.raw"):
    path = folder / "v.mhd"
    sitk.WriteImage(image(), str(path), False)
    (folder / where).parent.mkdir(exist_ok=True)
    (folder / "v.raw").rename(folder / where)
    path.write_text(path.read_text().replace("ElementDataFile = v.raw", f"ElementDataFile = {name}"))
    return path


def test_a_data_file_below_a_backslash_is_read(tmp_path):
    path = data_file_named(tmp_path, "raw\\v.raw", "raw/v.raw")
    np.testing.assert_array_equal(read_volume(path).array, VOXELS)
    np.testing.assert_allclose(by_hand(read_volume(path)), image().TransformIndexToPhysicalPoint((5, 4, 3)))
    assert read_header(path) == ((4, 5, 6), (2.5, 1.1, 0.7))


def test_a_data_file_of_an_nrrd_header_below_a_backslash_is_read(tmp_path):
    path = tmp_path / "v.nhdr"
    sitk.WriteImage(image(), str(path), False)
    (tmp_path / "raw").mkdir()
    (tmp_path / "v.raw").rename(tmp_path / "raw" / "v.raw")
    path.write_text(path.read_text().replace("data file: v.raw", "data file: raw\\v.raw"))
    np.testing.assert_array_equal(read_volume(path).array, VOXELS)


NOT_THERE = {
    "a drive": ("D:\\scans\\v.raw", "v.raw", "a path of another computer", "v.raw lies beside the header"),
    "another drive": ("D:\\scans\\w.raw", "v.raw", "a path of another computer", "Put w.raw beside the header"),
    "other letter case": ("V.RAW", "v.raw", "names 'V.RAW' as its data file", "v.raw lies beside the header"),
    "nothing": ("w.raw", "v.raw", "names 'w.raw' as its data file, which is not there", "together in one folder"),
}


@pytest.mark.parametrize(("name", "where", "reason", "remedy"), NOT_THERE.values(), ids=NOT_THERE.keys())
def test_a_missing_data_file_is_named(tmp_path, name, where, reason, remedy):
    path = data_file_named(tmp_path, name, where)
    with pytest.raises(InputError) as caught:
        read_volume(path)
    assert reason in caught.value.what
    assert remedy in caught.value.remedy


META = {
    "orientation": ("TransformMatrix = 0 -1 0 -1 0 0 0 0 1\n", "states no orientation"),
    "position": ("Offset = 1 2 3\n", "states no position"),
}


@pytest.mark.parametrize(("line", "remark"), META.values(), ids=META.keys())
def test_what_a_metaimage_leaves_out_is_said(tmp_path, caplog, line, remark):
    np.testing.assert_array_equal(read_volume(changed(tmp_path / "v.mha", (line, ""))).array, VOXELS)
    assert remark in caplog.text


SPACING = "ElementSpacing = 0.69999999999999996 1.1000000000000001 2.5\n"
MATRIX = "TransformMatrix = 0 -1 0 -1 0 0 0 0 1"
META_REFUSED = {
    "no spacing": (SPACING, "", "states no voxel size"),
    "a spacing of 0": (SPACING, "ElementSpacing = 0 1 2\n", "spacing of 0 x 1 x 2"),
    "a negative spacing": (SPACING, "ElementSpacing = -1 1 2\n", "spacing of -1 x 1 x 2"),
    "a spacing that is NaN": (SPACING, "ElementSpacing = nan 1 2\n", "spacing of nan x 1 x 2"),
    "another unit": (SPACING, f"{SPACING}DistanceUnits = cm\n", "lengths in cm"),
    "a shear": (MATRIX, "TransformMatrix = 0.5 -0.866 0 -1 0 0 0 0 1", r"sheared orientation.*would move by \d\.\d mm"),
    "a scaled matrix": (MATRIX, "TransformMatrix = 0 -2 0 -2 0 0 0 0 2", "length 1"),
    "a matrix of zeros": (
        MATRIX,
        "TransformMatrix = 0 0 0 0 0 0 0 0 0",
        "TransformMatrix = 0 0 0 0 0 0 0 0 0, which flattens",
    ),
}


@pytest.mark.parametrize(("old", "new", "reason"), META_REFUSED.values(), ids=META_REFUSED.keys())
def test_impossible_metaimages_are_refused(tmp_path, old, new, reason):
    with pytest.raises(InputError, match=reason):
        read_volume(changed(tmp_path / "v.mha", (old, new)))


def test_a_left_handed_metaimage_lies_where_its_matrix_says(tmp_path):
    path = changed(tmp_path / "v.mha", (MATRIX, "TransformMatrix = 0 1 0 -1 0 0 0 0 1"))
    np.testing.assert_allclose(by_hand(read_volume(path)), [1 - 1.1 * 4, 2 + 0.7 * 5, 3 + 2.5 * 3], atol=1e-9)


SPACES = {
    "left-posterior-superior": (1, 1),
    "right-anterior-superior": (-1, -1),
    "RAS": (-1, -1),
    "LPS": (1, 1),
    "left-anterior-superior": (1, -1),
}


@pytest.mark.parametrize(("space", "signs"), SPACES.items())
def test_an_nrrd_lies_where_its_space_says(tmp_path, caplog, space, signs):
    path = changed(tmp_path / "v.nrrd", ("space: left-posterior-superior", f"space: {space}"))
    place = np.array([1 - 1.1 * 4, 2 - 0.7 * 5, 3 + 2.5 * 3])
    np.testing.assert_allclose(by_hand(read_volume(path)), place * [*signs, 1], atol=1e-9)
    assert not caplog.records


VECTORS = "space directions: (0,-0.69999999999999996,0) (-1.1000000000000001,0,0) (0,0,2.5)"
SPACE = "space: left-posterior-superior"
NRRD_SAID = {
    "space": ((SPACE, "space dimension: 3"), "states no space; LPS is assumed"),
    "origin": (("space origin: (1,2,3)\n", ""), "states no position (space origin)"),
}


@pytest.mark.parametrize(("change", "remark"), NRRD_SAID.values(), ids=NRRD_SAID.keys())
def test_what_an_nrrd_leaves_out_is_said(tmp_path, caplog, change, remark):
    np.testing.assert_array_equal(read_volume(changed(tmp_path / "v.nrrd", change)).array, VOXELS)
    assert remark in caplog.text


def test_an_nrrd_with_spacings_alone_is_read_and_said(tmp_path, caplog):
    changes = ((VECTORS, "spacings: 0.7 1.1 2.5"), (f"{SPACE}\n", ""), ("space origin: (1,2,3)\n", ""))
    assert read_volume(changed(tmp_path / "v.nrrd", *changes)).spacing_mm == (2.5, 1.1, 0.7)
    assert "states no orientation (space directions)" in caplog.text


def test_a_measurement_frame_moves_no_scalar(tmp_path):
    path = changed(tmp_path / "v.nrrd", (VECTORS, f"{VECTORS}\nmeasurement frame: (0,1,0) (1,0,0) (0,0,1)"))
    assert read_volume(path).same_grid_as(Volume.from_sitk(image()))


NRRD_REFUSED = {
    "no spacing": ((f"{VECTORS}\n", ""), "states no voxel size"),
    "a direction of zeros": ((VECTORS, "space directions: (0,0,0) (-1.1,0,0) (0,0,2.5)"), "spacing of 0 x 1.1 x 2.5"),
    "a shear": ((VECTORS, "space directions: (0.4,-0.7,0) (-1.1,0,0) (0,0,2.5)"), "sheared orientation"),
    "metres": ((VECTORS, f'{VECTORS}\nspace units: "m" "m" "m"'), "lengths in m"),
    "a space without sides": ((SPACE, "space: scanner-xyz"), "space 'scanner-xyz'"),
    "a left-handed space without sides": ((SPACE, "space: 3D-left-handed"), "space '3D-left-handed'"),
}


@pytest.mark.parametrize(("change", "reason"), NRRD_REFUSED.values(), ids=NRRD_REFUSED.keys())
def test_impossible_nrrds_are_refused(tmp_path, change, reason):
    with pytest.raises(InputError, match=reason):
        read_volume(changed(tmp_path / "v.nrrd", change))


@pytest.mark.parametrize("name", ["v.mha", "v.nrrd"])
def test_big_endian_voxels_are_read(tmp_path, name):
    flag = ("MSB = False", "MSB = True") if name.endswith("mha") else ("endian: little", "endian: big")
    path = changed(tmp_path / name, flag)
    data = path.read_bytes()
    path.write_bytes(data[: -VOXELS.nbytes] + VOXELS.astype(">f4").tobytes())
    np.testing.assert_array_equal(read_volume(path).array, VOXELS)
