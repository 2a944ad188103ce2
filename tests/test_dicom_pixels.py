"""Stored values: signs, unused bits, padding, Philips' scaling; layouts that cannot be."""

import warnings

import numpy as np
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.uid import UID, ExplicitVRBigEndian, RLELossless

from creps.errors import InputError
from creps.io.dicom.read import volume as reading
from creps.io.dicom.read.pixels import read_planes
from tests.test_dicom import stored, write_series
from tests.written_dicom import read_image


def test_more_voxels_than_any_scanner_writes(tmp_path, monkeypatch):
    folder = write_series(tmp_path / "s", stored())
    monkeypatch.setattr(reading, "LARGEST_VOXELS", 100)
    with pytest.raises(InputError, match="claims 120 voxels, more than any scanner produces"):
        read_image(folder)


def test_files_without_meta_information(tmp_path):
    folder = write_series(tmp_path / "s", stored())
    for path in folder.iterdir():
        data = dcmread(path)
        del data.file_meta
        data.preamble = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data.save_as(path, implicit_vr=True, little_endian=True, enforce_file_format=False)
    np.testing.assert_array_equal(read_image(folder).array, stored() - 1024)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("syntax", ["plain", "big endian", "rle"])
def test_bits_outside_the_stored_ones_mean_nothing(tmp_path, signed, syntax):
    values = stored() - (1000 if signed else 0)
    garbage = np.random.default_rng(1).integers(0, 16, values.shape) << 12

    def change(data, i):
        data.BitsStored, data.HighBit = 12, 11
        data.PixelData = ((values[i] & 0xFFF) | garbage[i]).astype("<u2").tobytes()
        if syntax == "rle":
            data.compress(RLELossless, generate_instance_uid=False)

    folder = write_series(tmp_path / "s", values, signed=signed, change=change)
    for path in folder.iterdir() if syntax == "big endian" else ():
        data = dcmread(path)
        data.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        data.PixelData = np.frombuffer(data.PixelData, "<u2").astype(">u2").tobytes()
        dcmwrite(path, data, implicit_vr=False, little_endian=False)
    np.testing.assert_array_equal(read_image(folder).array, values - 1024)


def test_bits_may_lie_higher(tmp_path):
    def change(data, i):
        data.BitsStored, data.HighBit = 12, 15
        data.PixelData = (stored()[i] << 4 | 5).astype("<u2").tobytes()

    np.testing.assert_array_equal(
        read_image(write_series(tmp_path / "s", stored(), change=change)).array, stored() - 1024
    )


def padded_series(folder, array, modality, signed, padding, kind="SS", limit=None, slope=1.0, implicit=False, bits=16):
    def change(data, i):
        data.BitsStored, data.HighBit = bits, bits - 1
        data.add_new(0x00280120, kind, padding)
        if limit is not None:
            data.add_new(0x00280121, kind, limit)

    write_series(folder, array, modality=modality, signed=signed, slope=slope, change=change)
    if implicit:
        for path in folder.iterdir():
            data = dcmread(path)
            data.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2")
            data.save_as(path, implicit_vr=True, little_endian=True)
    return read_image(folder).array


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize(
    ("signed", "kind", "padding"),
    [(True, "SS", -2000), (True, "US", 63536), (False, "US", 63536), (False, "SS", -2000)],
)
def test_padding_is_air_in_ct_however_its_sign_is_told(tmp_path, signed, kind, padding, implicit):
    array = np.full((3, 5, 4), 100)
    array[1, 2, :2] = -2000 if signed else 63536
    values = padded_series(tmp_path / "s", array, "CT", signed, padding, kind, slope=2.0, implicit=implicit)
    expected = np.full((3, 5, 4), 200 - 1024)
    expected[1, 2, :2] = -1024
    np.testing.assert_array_equal(values, expected)


def test_a_range_of_padding_and_the_darkest_of_an_mr(tmp_path):
    array = np.arange(60).reshape(3, 5, 4) + 5
    for low, high, name in ((10, 20, "a"), (20, 10, "b")):
        values = padded_series(tmp_path / name, array, "MR", False, low, "US", limit=high, slope=None)
        expected = np.where((array >= 10) & (array <= 20), 5, array)
        np.testing.assert_array_equal(values, expected)
    everything = padded_series(tmp_path / "c", array, "MR", False, 0, "US", limit=5000, slope=None)
    assert not everything.any()


def test_padding_beyond_the_stored_bits(tmp_path):
    """-2000 in 16 bits around 12-bit values must not hit the value that shares its lowest 12 bits."""
    array = np.full((3, 5, 4), 2096)
    array[0, 0, 0] = 63536  # 0xF830, and 2096 is 0x830
    values = padded_series(tmp_path / "s", array, "CT", False, 63536, "US", bits=12)
    assert values[0, 0, 0] == -1024
    assert (values.ravel()[1:] == 2096 - 1024).all()


def philips(data, i, scale=lambda i: (i + 1) / 1000, maker="Philips Medical Systems", last=True):
    data.Manufacturer = maker
    if last or i < 5:
        block = data.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
        block.add_new(0x0D, "FL", 0.0)
        block.add_new(0x0E, "FL", scale(i))


def test_floating_point_values_of_philips(tmp_path):
    """Display values of one signal differ where slope and scale slope differ; (PV * RS + RI) / (RS * SS) do not."""
    slopes = [1.0, 2.0, 0.5, 3.0, 1.5, 4.0]
    intercept, signal = 7.0, stored() * 6000.0
    scale = np.array([(i + 1) / 1000 for i in range(6)])
    array = np.rint(signal * scale[:, None, None] / 8).astype(int)
    folder = write_series(tmp_path / "s", array, modality="MR", slope=slopes, intercept=intercept, change=philips)
    slope = np.array(slopes)[:, None, None]
    expected = (array * slope + intercept) / (slope * scale[:, None, None])
    np.testing.assert_allclose(read_image(folder).array, expected, rtol=1e-6)
    for path in folder.iterdir():  # the private creator got lost on the way
        data = dcmread(path)
        del data[0x20050010]
        data.save_as(path)
    np.testing.assert_allclose(read_image(folder).array, expected, rtol=1e-6)
    display = array * slope + intercept
    variants = {
        "other maker": lambda data, i: philips(data, i, maker="SIEMENS"),
        "one without": lambda data, i: philips(data, i, last=False),
        "malformed": lambda data, _: data.add_new(0x2005100E, "LO", "one"),
        "zero": lambda data, i: philips(data, i, scale=lambda _: 0.0),
    }
    for name, change in variants.items():
        write_series(tmp_path / name, array, modality="MR", slope=slopes, intercept=intercept, change=change)
        np.testing.assert_allclose(read_image(tmp_path / name).array, display, rtol=1e-6)


def test_slices_with_and_without_rescaling_are_no_series(tmp_path):
    def change(data, i):
        if i == 2:
            del data.RescaleSlope

    with pytest.raises(InputError, match="with and without a rescale slope"):
        read_image(write_series(tmp_path / "s", stored(), modality="MR", change=change))


def test_values_beyond_any_number(tmp_path):
    with pytest.raises(InputError, match="NaN or infinite"):
        read_image(write_series(tmp_path / "s", stored() + 1, slope=1e38))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"BitsAllocated": 12}, "valid BitsAllocated"), ({"BitsStored": 17}, "valid BitsStored"),
        ({"HighBit": 3}, "valid HighBit"), ({"PixelRepresentation": 2}, "valid PixelRepresentation"),
        ({"PixelRepresentation": None}, "valid PixelRepresentation"), ({"BitsStored": None}, "valid BitsStored"),
        ({"PixelData": None}, "truncated slice: 0 of 40"),
    ],
)  # fmt: skip
def test_a_layout_that_cannot_be_is_refused(tmp_path, values, message):
    def change(data, i):
        for name, value in values.items():
            setattr(data, name, value)

    with pytest.raises(InputError, match=message):
        read_image(write_series(tmp_path / "s", stored(), change=change))


def test_a_series_that_changes_while_it_is_read(tmp_path, monkeypatch):
    folder = write_series(tmp_path / "s", stored())
    monkeypatch.setattr(reading, "read_planes", lambda path, label: list(read_planes(path, label)) * 2)
    with pytest.raises(InputError, match="changed while it was read"):
        read_image(folder)
