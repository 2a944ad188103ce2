"""Compressed DICOM: every transfer syntax really encoded and decoded; what is damaged or unknown is refused by name."""

import io
import logging
import subprocess

import gdcm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID

from creps.errors import InputError
from creps.io.dicom.read import headers
from creps.io.dicom.read.codestream import Codestream, fault_of
from tests.test_dicom import stored, write_series
from tests.test_dicom_multiframe import write_enhanced
from tests.written_dicom import read_image

LOSSLESS = {
    "rle": "RLELossless", "jpeg 57": "JPEGLosslessProcess14", "jpeg 70": "JPEGLosslessProcess14_1",
    "jpeg-ls": "JPEGLSLossless", "jpeg 2000": "JPEG2000Lossless", "deflated": "DeflatedExplicitVRLittleEndian",
    "big endian": "ExplicitVRBigEndian", "implicit": "ImplicitVRLittleEndian",
}  # fmt: skip


def transcode(source, target, syntax, codec=None):
    """Every file of a folder, stored anew by GDCM."""
    target.mkdir()
    for path in sorted(source.iterdir()):
        reader = gdcm.ImageReader()
        reader.SetFileName(str(path))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
        if codec is not None:
            change.SetUserCodec(codec)
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(target / path.name))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
    return target


def smooth(shape=(4, 16, 24)):
    d, h, w = np.indices(shape)
    return (500 + 200 * np.sin(h / 5) + 150 * np.cos(w / 6) + 20 * d).astype(int)


@pytest.mark.parametrize("syntax", LOSSLESS.values(), ids=LOSSLESS)
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [12, 16])
def test_lossless_syntaxes_change_nothing(tmp_path, syntax, signed, bits, caplog):
    def change(data, i):
        data.BitsStored, data.HighBit = bits, bits - 1

    array = stored((4, 12, 10)) - (1000 if signed else 0)
    plain = write_series(tmp_path / "plain", array, signed=signed, change=change)
    other = transcode(plain, tmp_path / "other", syntax)
    kinds = {dcmread(path).file_meta.TransferSyntaxUID for path in (*plain.iterdir(), *other.iterdir())}
    assert len(kinds) == 2
    np.testing.assert_array_equal(read_image(other).array, array - 1024)
    np.testing.assert_array_equal(read_image(plain).array, array - 1024)
    assert not [record for record in caplog.records if record.name.startswith("creps")]


@pytest.mark.parametrize("syntax", ["RLELossless", "JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless"])
def test_a_multi_frame_file_is_decoded_frame_by_frame(tmp_path, syntax):
    array, order = stored((5, 12, 10)), [3, 0, 4, 1, 2]
    classic = transcode(write_series(tmp_path / "plain", array), tmp_path / "classic", syntax)
    slices = [dcmread(path) for path in sorted(classic.iterdir())]
    frames = [next(generate_frames(data.PixelData, number_of_frames=1)) for data in slices]

    def pack(data, count=5):
        data.file_meta.TransferSyntaxUID = slices[0].file_meta.TransferSyntaxUID
        data.PixelData = encapsulate([frames[i] for i in order][:count], has_bot=False)
        data["PixelData"].is_undefined_length = True

    write_enhanced(tmp_path / "a" / "x.dcm", array, order=order, change=pack)
    np.testing.assert_array_equal(read_image(tmp_path / "a").array, array - 1024)
    write_enhanced(tmp_path / "b" / "x.dcm", array, order=order, change=lambda data: pack(data, 4))
    with pytest.raises(InputError, match=r"holds 4 frames and claims 5|pixels that cannot be read"):
        read_image(tmp_path / "b")


def near_lossless():
    codec = gdcm.JPEGLSCodec()
    codec.SetLossless(False)
    codec.SetLossyError(3)
    return "JPEGLSNearLossless", codec


def jpeg_2000():
    codec = gdcm.JPEG2000Codec()
    codec.SetReversible(False)
    codec.SetRate(0, 4)
    return "JPEG2000", codec


@pytest.mark.parametrize("make", [near_lossless, jpeg_2000])
def test_loss_is_warned_of_once_for_a_series(tmp_path, make, caplog):
    array = smooth((4, 64, 64))
    plain = write_series(tmp_path / "secret_doe", array)
    (tmp_path / "given").mkdir()
    transcode(plain, tmp_path / "given" / "jane", *make())
    with caplog.at_level(logging.WARNING):
        volume = read_image(tmp_path / "given")
    assert 0 < np.abs(volume.array - (array - 1024)).max() <= 12
    (record,) = [record for record in caplog.records if record.name.startswith("creps")]
    assert f"'head' of {tmp_path / 'given'} has undergone lossy compression (as JPEG" in record.message
    assert "jane" not in record.message


def test_loss_before_storing_is_warned_of(tmp_path, caplog):
    def change(data, i):
        data.LossyImageCompression = "01" if i == 2 else "00"

    read_image(write_series(tmp_path / "s", stored(), change=change), name="case 7")
    (record,) = [record for record in caplog.records if record.name.startswith("creps")]
    assert "'head' of case 7 has undergone lossy compression (before it was stored)" in record.message


def test_jpeg_with_8_bits(tmp_path, caplog):
    array = smooth() // 8

    def change(data, i):
        picture = io.BytesIO()
        Image.fromarray(array[i].astype(np.uint8)).save(picture, "jpeg", quality=95)
        data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
        data.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.50")
        data.PixelData = encapsulate([picture.getvalue()])

    volume = read_image(write_series(tmp_path / "s", array, change=change, modality="MR", slope=None))
    assert np.abs(volume.array - array).max() <= 4
    assert "JPEG Baseline" in caplog.text


@pytest.mark.needs("dcmcjpeg")
def test_jpeg_with_12_bits(tmp_path, caplog):
    def change(data, i):
        data.BitsStored, data.HighBit = 12, 11

    array = smooth() * 3
    plain = write_series(tmp_path / "plain", array, change=change)
    (tmp_path / "jpeg").mkdir()
    for path in plain.iterdir():
        subprocess.run(["dcmcjpeg", "+ee", "+q", "98", path, tmp_path / "jpeg" / path.name], check=True)
        data = dcmread(tmp_path / "jpeg" / path.name)
        data.SOPInstanceUID = dcmread(path).SOPInstanceUID
    assert data.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.51"
    volume = read_image(tmp_path / "jpeg")
    assert np.abs(volume.array - (array - 1024)).max() <= 30
    assert "JPEG Extended" in caplog.text


def spoil_frame(folder, change, index=2):
    path = sorted(folder.iterdir())[index]
    data = dcmread(path)
    (frame,) = generate_frames(data.PixelData, number_of_frames=1)
    data.PixelData = encapsulate([change(frame)])
    data.save_as(path)
    return folder


def set_bytes(at, content):
    return lambda frame: frame[:at] + content + frame[at + len(content) :]


JPEG_BITS, JPEG_ROWS, J2K_COLUMNS = 6, 7, 8


@pytest.mark.parametrize(
    ("syntax", "change", "message"),
    [
        ("JPEGLosslessProcess14", set_bytes(JPEG_BITS, b"\x14"), "20 bits per pixel, its header says 16"),
        ("JPEGLSLossless", set_bytes(JPEG_BITS, b"\x14"), "20 bits per pixel, its header says 16"),
        ("JPEGLSLossless", set_bytes(JPEG_ROWS, b"\x00\x0a\x00\x0c"), "10 x 12 pixels, its header says 12 x 10"),
        ("JPEGLSLossless", set_bytes(JPEG_ROWS, b"\xff\xff\xff\xff"), "65535 x 65535 pixels"),
        ("JPEGLosslessProcess14_1", set_bytes(11, b"\x03"), "3 values per pixel"),
        ("JPEG2000Lossless", set_bytes(J2K_COLUMNS, b"\x7f\xff\xff\xff"), "12 x 2147483647 pixels"),
        ("JPEG2000Lossless", lambda frame: frame[:-20], r"ends early \(truncated\)"),
        ("JPEGLosslessProcess14", lambda frame: frame[:-20], r"ends early \(truncated\)"),
        ("JPEG2000Lossless", lambda _: b"\xff\x4f not a picture", "no valid codestream"),
        ("JPEGLSLossless", lambda _: b"\0\0", "no valid codestream"),
        (
            "RLELossless",
            lambda frame: frame[:70],
            "slice compressed as RLE Lossless that cannot be decoded.*Copy it again",
        ),
        (
            "JPEGLSLossless",
            lambda frame: frame[:40] + b"\xff\xd9",
            "slice compressed as JPEG-LS Lossless.* that cannot be decoded.*Copy it again",
        ),
    ],
)
def test_a_damaged_codestream_is_refused_before_it_harms(tmp_path, syntax, change, message):
    plain = write_series(tmp_path / "plain", stored((4, 12, 10)))
    other = spoil_frame(transcode(plain, tmp_path / "other", syntax), change)
    with pytest.raises(InputError, match=message) as caught:
        read_image(other)
    assert "DICOM series 'head'" in str(caught.value)


@given(st.binary(max_size=80), st.sampled_from([b"", b"\xff\xd8", b"\xff\x4f\xff\x51", b"\xff\xd8\xff\xc3"]))
def test_any_bytes_are_a_codestream_or_none(content, start):
    found = Codestream.of(start + content)
    fault = fault_of(start + content, (512, 512), 16)
    assert fault is not None or found == Codestream(512, 512, 1, found.bits)


@pytest.mark.parametrize(
    ("uid", "message"),
    [
        (
            "1.2.840.10008.1.2.4.201",
            "compressed as High-Throughput JPEG 2000.*which is not supported.*Export it uncompressed",
        ),
        ("1.2.840.10008.1.2.4.100", "compressed as MPEG2.*which is not supported.*Export it uncompressed"),
        ("1.2.840.113619.5.2", r"an unknown transfer syntax \(1\.2\.840\.113619\.5\.2\)"),
        ("1.2.840.10008.1.2.7", r"an unknown transfer syntax \(1\.2\.840\.10008\.1\.2\.7\)"),
    ],
)
def test_an_unknown_compression_is_named(tmp_path, uid, message):
    folder = write_series(tmp_path / "s", stored())
    for path in folder.iterdir():
        data = dcmread(path)
        start = 132 + 12 + data.file_meta.FileMetaInformationGroupLength
        data.file_meta.TransferSyntaxUID = uid
        data.PixelData = encapsulate([b"\0" * 8])
        meta = DicomBytesIO()
        write_file_meta_info(meta, data.file_meta)
        path.write_bytes(b"\0" * 128 + b"DICM" + meta.getvalue() + path.read_bytes()[start:])
    with pytest.raises(InputError, match=message):
        read_image(folder)


def test_a_damaged_or_huge_deflated_file(tmp_path, monkeypatch):
    plain = write_series(tmp_path / "plain", stored((4, 12, 10)))
    other = transcode(plain, tmp_path / "other", LOSSLESS["deflated"])
    monkeypatch.setattr(headers, "LARGEST_INFLATED", 500)
    with pytest.raises(InputError, match="cannot be read as DICOM"):
        read_image(other)
    monkeypatch.undo()
    assert read_image(other).shape == (4, 12, 10)
    path = other / "001.dcm"
    content = path.read_bytes()
    path.write_bytes(content[:-60] + bytes(60))
    with pytest.raises(InputError, match="cannot be read as DICOM"):
        read_image(other)
