"""Voxels that are damaged, missing or surplus, and headers that contradict themselves; checked by gzip and ITK."""

import gzip
import logging
import re
import struct
import zlib

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from creps.errors import InputError
from creps.io.itk import read_volume

VOXELS = np.random.default_rng(3).integers(0, 900, (6, 7, 8)).astype("<i2")
RAW = VOXELS.tobytes()
META = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "TransformMatrix": "0 1 0 -1 0 0 0 0 1",
    "Offset": "-30 -40 -50",
    "ElementSpacing": "1.5 2 3",
    "DimSize": "8 7 6",
    "ElementType": "MET_SHORT",
}


@pytest.fixture(autouse=True)
def _warnings_are_seen(caplog):
    caplog.set_level(logging.WARNING, logger="creps")


def metaimage(path, data=RAW, end="\n", data_file="LOCAL", **fields):
    lines = [f"{name} = {value}" for name, value in (META | fields).items()] + [f"ElementDataFile = {data_file}"]
    path.write_bytes("".join(line + end for line in lines).encode() + data)
    return path


def nrrd(path, data=RAW, **fields):
    given = {
        "type": "short",
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": "8 7 6",
        "space directions": "(1.5,0,0) (0,2,0) (0,0,3)",
        "endian": "little",
        "encoding": "raw",
        "space origin": "(0,0,0)",
    } | fields
    path.write_bytes(b"NRRD0004\n" + "".join(f"{k}: {v}\n" for k, v in given.items()).encode() + b"\n" + data)
    return path


def nifti(folder, name="v.nii.gz", change=lambda data: data):
    """A file whose compressed bytes are changed; the header's rest is nibabel's."""
    plain = nibabel.Nifti1Image(VOXELS.T, np.diag([-1.5, -2, 3, 1])).to_bytes()
    path = folder / name
    path.write_bytes(change(gzip.compress(plain) if name.endswith("gz") else bytearray(plain)))
    return path


def flipped(data, place):
    data = bytearray(data)
    data[place] ^= 255
    return bytes(data)


def check_as_itk_reads_it(path):
    volume, seen = read_volume(path), sitk.ReadImage(str(path))
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(seen))
    last = volume.origin_mm + volume.direction @ (np.array(volume.spacing_mm) * [5, 6, 7])
    np.testing.assert_allclose(last, seen.TransformIndexToPhysicalPoint((7, 6, 5)), atol=1e-6)


DAMAGED = {
    "a flipped byte": (lambda data: flipped(data, len(data) // 2), "contradicts its checksum|truncated or damaged"),
    "another checksum": (lambda data: flipped(data, len(data) - 6), "contradicts its checksum"),
    "no checksum": (lambda data: data[:-8], "ends early"),
    "half": (lambda data: data[: len(data) // 2], "ends early"),
}


@pytest.mark.parametrize(("change", "reason"), DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_gzip_file_is_refused(tmp_path, change, reason):
    path = nifti(tmp_path, change=change)
    with pytest.raises((EOFError, gzip.BadGzipFile, zlib.error)):
        gzip.decompress(path.read_bytes())
    with pytest.raises(InputError, match=reason):
        read_volume(path)


@pytest.mark.parametrize("after", [b"\0" * 512, b"something else"], ids=["zeros", "text"])
def test_what_follows_a_gzip_file_does_not_count(tmp_path, after):
    path = nifti(tmp_path, change=lambda data: data + after)
    np.testing.assert_array_equal(read_volume(path).array, VOXELS)


@pytest.mark.parametrize("start", [0, 348])
def test_voxels_inside_the_header_are_refused(tmp_path, start):
    def change(data):
        struct.pack_into("<f", data, 108, start)
        return data

    with pytest.raises(InputError, match=rf"byte {start} \(vox_offset\), inside its header"):
        read_volume(nifti(tmp_path, "v.nii", change))


@pytest.mark.parametrize("make", [lambda p, d: metaimage(p / "v.mha", d), lambda p, d: nrrd(p / "v.nrrd", d),
                                  lambda p, d: nifti(p, "v.nii", lambda data: data[:352] + d)],
                         ids=["MetaImage", "NRRD", "NIfTI"])  # fmt: skip
def test_surplus_bytes_are_said_and_as_many_voxels_again_refused(tmp_path, caplog, make):
    np.testing.assert_array_equal(read_volume(make(tmp_path, RAW)).array, VOXELS)
    assert not caplog.text
    np.testing.assert_array_equal(read_volume(make(tmp_path, RAW + b"x" * 100)).array, VOXELS)
    assert f"holds 100 bytes more than the {len(RAW)}" in caplog.text
    with pytest.raises(InputError, match=f"holds {2 * len(RAW)} bytes of voxels, but its header describes {len(RAW)}"):
        read_volume(make(tmp_path, RAW + RAW))


def test_a_wrong_data_type_is_refused(tmp_path):
    with pytest.raises(InputError, match=f"header describes {len(RAW) // 2}"):
        read_volume(metaimage(tmp_path / "v.mha", ElementType="MET_UCHAR"))


PACKED = zlib.compress(RAW)
BROKEN = {
    "half": (PACKED[: len(PACKED) // 2], "end early"),
    "a flipped byte": (flipped(PACKED, len(PACKED) // 2), "checksum|end early"),
    "another checksum": (flipped(PACKED, -2), "checksum"),
    "too few": (zlib.compress(RAW[:-20]), "end early"),
}


@pytest.mark.parametrize(("data", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_a_damaged_compressed_metaimage_is_refused(tmp_path, data, reason):
    fields = {"CompressedData": "True", "CompressedDataSize": len(data)}
    with pytest.raises(InputError, match=reason):
        read_volume(metaimage(tmp_path / "v.mha", data, **fields))
    (tmp_path / "v.zraw").write_bytes(data)
    with pytest.raises(InputError, match=reason):
        read_volume(metaimage(tmp_path / "w.mhd", b"", data_file="v.zraw", **fields))


def test_a_whole_compressed_metaimage_is_read(tmp_path, caplog):
    fields = {"CompressedData": "True", "CompressedDataSize": len(PACKED)}
    check_as_itk_reads_it(metaimage(tmp_path / "v.mha", PACKED, **fields))
    assert not caplog.text


CONTRADICTIONS = {
    "two positions": ({"Position": "1 2 3"}, "Offset = -30 -40 -50 and Position = 1 2 3"),
    "two matrices": ({"Orientation": "1 0 0 0 1 0 0 0 1"}, "TransformMatrix = .* and Orientation"),
    "a position of two numbers": ({"Offset": "-30 -40"}, "Offset = -30 -40, which is not 3 numbers"),
    "a position that is NaN": ({"Offset": "nan -40 -50"}, "Offset = nan -40 -50, which is not 3 numbers"),
    "a position in words": ({"Offset": "here -40 -50"}, "which is not 3 numbers"),
    "a matrix of four": ({"TransformMatrix": "1 0 0 1"}, "which is not 9 numbers"),
    "a flat matrix": ({"TransformMatrix": "1 0 0 1 0 0 0 0 1"}, "flattens the volume"),
    "two voxel sizes": ({"ElementSpacing": "1.5 2"}, "states 2 voxel sizes"),
    "another size again": ({"ElementSpacing": "1.5 2 3\nElementSpacing = 9 9 9"}, "ElementSpacing several times"),
}


@pytest.mark.parametrize(("fields", "reason"), CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_a_metaimage_that_contradicts_itself_is_refused(tmp_path, fields, reason):
    with pytest.raises(InputError, match=reason):
        read_volume(metaimage(tmp_path / "v.mha", **fields))


SAID = {
    "letters of another matrix": ({"AnatomicalOrientation": "RAI"}, "AnatomicalOrientation RAI, but .* means ALI"),
    "its own letters": ({"AnatomicalOrientation": "ALI"}, None),
    "a rescaling": ({"ElementToIntensityFunctionSlope": "2"}, r"rescaling of its values \(slope 2, offset 0\)"),
}


@pytest.mark.parametrize(("fields", "remark"), SAID.values(), ids=SAID.keys())
def test_what_a_metaimage_contradicts_is_said(tmp_path, caplog, fields, remark):
    check_as_itk_reads_it(metaimage(tmp_path / "v.mha", **fields))
    assert bool(caplog.text) == (remark is not None)
    assert remark is None or re.search(remark, caplog.text)


def test_line_ends_of_windows_are_read(tmp_path):
    check_as_itk_reads_it(metaimage(tmp_path / "v.mha", end="\r\n"))


@pytest.mark.parametrize("name", ["größe 1/v ö.raw", "größe 1\\v ö.raw"], ids=["slash", "backslash"])
def test_a_data_file_with_an_umlaut_is_read(tmp_path, name):
    (tmp_path / "größe 1").mkdir()
    (tmp_path / "größe 1" / "v ö.raw").write_bytes(RAW)
    np.testing.assert_array_equal(read_volume(metaimage(tmp_path / "v.mhd", b"", data_file=name)).array, VOXELS)


NRRDS = {
    "units of the axes": ({"space units": '"cm" "cm" "cm"'}, "lengths in cm"),
    "bzip2": ({"encoding": "bzip2"}, "compressed with bzip2"),
    "spacings beside directions": ({"spacings": "1 1 1"}, "a header that cannot be read"),
    "no byte order": ({"endian": "both"}, "a header that cannot be read"),
}


@pytest.mark.parametrize(("fields", "reason"), NRRDS.values(), ids=NRRDS.keys())
def test_an_nrrd_is_refused_for_the_true_reason(tmp_path, fields, reason):
    with pytest.raises(InputError, match=reason) as caught:
        read_volume(nrrd(tmp_path / "v.nrrd", **fields))
    assert "truncated" not in str(caught.value)


def test_axis_units_of_an_nrrd_without_a_space_count(tmp_path):
    text = nrrd(tmp_path / "v.nrrd").read_bytes()
    for field in (b"space: left-posterior-superior\n", b"space origin: (0,0,0)\n"):
        text = text.replace(field, b"")
    text = text.replace(b"space directions: (1.5,0,0) (0,2,0) (0,0,3)", b'spacings: .15 .2 .3\nunits: "cm" "cm" "cm"')
    (tmp_path / "v.nrrd").write_bytes(text)
    with pytest.raises(InputError, match="lengths in cm"):
        read_volume(tmp_path / "v.nrrd")
