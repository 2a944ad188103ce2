"""DICOM series: real ones against another reader, made ones against what was written."""

import shutil
import tarfile
import warnings

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from creps.errors import InputError
from creps.io.dicom.read.series import find_series, one_series, series_sha256
from creps.io.dicom.read.volume import read_series
from creps.io.image import ImageSource
from tests.written_dicom import read_image

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def rotation(a, b, c):
    (ca, sa), (cb, sb), (cc, sc) = ((np.cos(t), np.sin(t)) for t in (a, b, c))
    x = np.array([[1, 0, 0], [0, ca, -sa], [0, sa, ca]])
    y = np.array([[cb, 0, sb], [0, 1, 0], [-sb, 0, cb]])
    z = np.array([[cc, -sc, 0], [sc, cc, 0], [0, 0, 1]])
    return x @ y @ z


def write_series(
    folder, array, *, spacing=(3.0, 0.9, 0.7), origin=(10.0, -20.0, 30.0), orientation=AXIAL, modality="CT",
    positions=None, slope=1.0, intercept=-1024.0, patient="SECRET-42", change=None, names=None, signed=False,
):  # fmt: skip
    """Write stored values (D, H, W) as one classic series; `change(dataset, index)` spoils slices."""
    folder.mkdir(parents=True, exist_ok=True)
    normal = np.cross(orientation[:3], orientation[3:])
    series, frame, study = generate_uid(), generate_uid(), generate_uid()
    for i, plane in enumerate(array):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = CTImageStorage if modality == "CT" else MRImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = study, series, frame
        data.Modality, data.SeriesDescription = modality, "head"
        data.PatientID, data.PatientName = patient, "Doe^Jane"
        data.Rows, data.Columns = plane.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, int(signed)
        data.PixelSpacing = [spacing[1], spacing[2]]
        data.ImageOrientationPatient = [f"{x:.10f}" for x in orientation]
        along = i * spacing[0] if positions is None else positions[i]
        data.ImagePositionPatient = [f"{x:.8f}" for x in np.asarray(origin) + along * normal]
        if slope is not None:
            data.RescaleSlope = slope[i] if isinstance(slope, list) else slope
            data.RescaleIntercept = intercept
        data.PixelData = plane.astype("<i2" if signed else "<u2").tobytes()
        if change is not None and change(data, i) == "leave out":
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data.save_as(folder / (names[i] if names else f"{i:03d}.dcm"), enforce_file_format=True)
    return folder


def stored(shape=(6, 5, 4), seed=0):
    return np.random.default_rng(seed).integers(0, 2000, shape)


@pytest.fixture(scope="session")
def real_series(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dicom")
    for path in sorted((shared / "data" / "dicom").glob("*.tar.gz")):
        with tarfile.open(path) as archive:
            archive.extractall(folder / path.name.split("_")[0], filter="data")
    return folder


def test_real_series_read_as_the_other_reader_does(real_series):
    found = find_series(real_series)
    assert sorted(series.modality for series in found) == ["ct", "ct", "mr", "mr"]  # neither PET nor RTSTRUCT
    (gaps,) = (series for series in found if "utrecht" in str(series.folder))
    found.remove(gaps)
    with pytest.raises(InputError, match="misses 29 slices"):
        read_series(gaps)
    for series in found:
        volume = read_series(series)
        files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(series.files[0].parent), series.uid)
        other = sitk.ReadImage(files)
        header = ImageSource(series.folder, series).header()
        assert volume.shape == other.GetSize()[::-1] == series.shape == header.shape
        np.testing.assert_allclose(volume.spacing_mm, other.GetSpacing()[::-1], atol=1e-3)
        np.testing.assert_allclose(header.spacing_mm, volume.spacing_mm, atol=1e-3)
        values = sitk.GetArrayFromImage(other)
        corners = [(0, 0, 0), (-1, -1, -1), (0, -1, 0)]
        for corner in corners:
            index = [c % n for c, n in zip(corner, volume.shape, strict=True)]
            there = other.TransformPhysicalPointToContinuousIndex(volume.to_patient_mm(index).tolist())
            d, h, w = np.rint(there[::-1]).astype(int)
            np.testing.assert_allclose(there[::-1], (d, h, w), atol=1e-3)
            assert abs(float(values[d, h, w]) - volume.array[tuple(index)]) <= 1e-3
        flipped = np.dot(np.array(other.GetDirection()).reshape(3, 3)[:, 2], volume.direction[:, 0]) < 0
        np.testing.assert_allclose(volume.array, values[::-1] if flipped else values, atol=1e-3)


def test_files_in_any_order_under_any_name_beside_other_files(tmp_path):
    array = stored()
    names = ["zeta", "IM7.dcm", "0001", "b.ima", "a.dcm", "c"]
    write_series(tmp_path / "x", array, names=names)
    (tmp_path / "x" / "notes.txt").write_text("not an image")
    (tmp_path / "x" / ".hidden").write_bytes(b"x")
    volume = read_image(tmp_path)
    np.testing.assert_array_equal(volume.array, array - 1024)
    assert volume.spacing_mm == (3.0, 0.9, 0.7)  # row spacing first
    assert volume.origin_mm == (10, -20, 30)
    again = write_series(tmp_path / "y", array)
    assert len({series_sha256(one_series(folder)) for folder in (tmp_path / "x", again)}) == 2  # other UIDs


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.tuples(*[st.floats(-3.1, 3.1)] * 3), st.tuples(*[st.floats(0.3, 5)] * 3), st.permutations(range(4)),
    st.booleans(),
)  # fmt: skip
def test_any_orientation_comes_back_exactly(tmp_path_factory, angles, spacing, order, signed):
    turn = rotation(*angles)
    array = stored((4, 3, 5)) - (1000 if signed else 0)
    orientation = (*turn[:, 0], *turn[:, 1])
    names = [f"{order.index(i)}.dcm" for i in range(4)]
    spacing = tuple(round(s, 3) for s in spacing)
    folder = tmp_path_factory.mktemp("s")
    write_series(folder, array, spacing=spacing, orientation=orientation, names=names, signed=signed, intercept=-24.0)
    volume = read_image(folder)
    np.testing.assert_array_equal(volume.array, array - 24)
    np.testing.assert_allclose(volume.spacing_mm, spacing, atol=1e-5)
    corner = np.array([10, -20, 30]) + 3 * spacing[0] * turn[:, 2] + 2 * spacing[1] * turn[:, 1]
    np.testing.assert_allclose(volume.to_patient_mm([3, 2, 0]), corner, atol=1e-4)


def test_every_slice_has_its_own_rescaling(tmp_path):
    write_series(tmp_path / "s", stored((3, 4, 4)), slope=[1.0, 2.0, 0.5], intercept=-10.0)
    expected = stored((3, 4, 4)) * np.array([1.0, 2.0, 0.5])[:, None, None] - 10
    np.testing.assert_allclose(read_image(tmp_path / "s").array, expected, rtol=1e-6)
    write_series(tmp_path / "m", stored((3, 4, 4)), slope=None, modality="MR")
    np.testing.assert_array_equal(read_image(tmp_path / "m").array, stored((3, 4, 4)))


def test_small_jitter_is_accepted(tmp_path):
    jitter = np.array([0, 0.05, -0.05, 0.05, 0, -0.05])
    write_series(tmp_path / "s", stored(), positions=(np.arange(6) * 3 + jitter).tolist())
    assert abs(read_image(tmp_path / "s").spacing_mm[0] - 3) < 0.02


def spoilt(kind, tmp_path):
    def set_to(**values):
        return lambda data, i: [setattr(data, k, v) for k, v in values.items()] if i == 3 else None

    def shear(data, i):
        x, y, z = map(float, data.ImagePositionPatient)
        data.ImagePositionPatient = [x, y + 0.2 * i, z]

    def other_class(data, i):
        if i == 3:
            data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = MRImageStorage

    def one_uid(data, i):
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = "1.2.3"

    array = stored((8, 5, 4))
    options = {
        "missing": {"change": lambda _, i: "leave out" if i == 4 else None},
        "two missing": {"change": lambda _, i: "leave out" if i in (2, 5) else None},
        "uneven": {"positions": [0, 3, 6, 9, 12, 15, 18, 22]},
        "doubled": {"positions": [0, 3, 6, 6, 9, 12, 15, 18]},
        "turned": {"change": set_to(ImageOrientationPatient=[0, 1, 0, 0, 0, -1])},
        "other pixels": {"change": set_to(PixelSpacing=[0.8, 0.7])},
        "other frame": {"change": set_to(FrameOfReferenceUID="1.2.3")},
        "tilt": {"change": shear},
        "colour": {"change": set_to(SamplesPerPixel=3, PhotometricInterpretation="RGB")},
        "no position": {"change": set_to(ImagePositionPatient=None)},
        "no spacing": {"change": set_to(PixelSpacing=None)},
        "palette": {"change": set_to(PhotometricInterpretation="PALETTE COLOR")},
        "mosaic": {"change": set_to(ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])},
        "several frames": {"change": set_to(NumberOfFrames=2, PixelData=b"\0" * 80)},
        "truncated": {"change": set_to(PixelData=b"\0" * 30)},
        "too long": {"change": set_to(PixelData=b"\0" * 60)},
        "no rescaling": {"slope": None},
        "some rescaling": {"change": set_to(RescaleSlope=None)},
        "no slope": {"slope": 0},
        "other patient": {"change": set_to(PatientID="SECRET-43")},
        "other name": {"change": set_to(PatientName="Roe^Richard")},
        "no birth date": {"change": lambda data, i: setattr(data, "PatientBirthDate", None if i == 3 else "19500101")},
        "other study": {"change": set_to(StudyInstanceUID="1.2.3")},
        "other class": {"change": other_class},
        "no UID": {"change": set_to(SOPInstanceUID=None)},
        "one UID": {"change": one_uid},
        "no series UID": {"change": lambda data, _: setattr(data, "SeriesInstanceUID", "")},
        "huge": {"change": set_to(Rows=60000, Columns=4)},
    }[kind]
    return write_series(tmp_path / "s", array, **options)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", r"misses 1 slice between 39\.00 and 45\.00 mm"),
        ("two missing", r"misses 2 slices between 33\.00 and 39\.00 mm, between 42\.00 and 48\.00 mm"),
        ("uneven", r"unevenly spaced: slices are 3\.000 to 4\.000 mm apart \(near 48\.00 mm"),
        ("doubled", r"more than one slice at 36\.00 mm"),
        ("turned", "different orientation"),
        ("other pixels", r"different pixel spacing \(0\.7 to 0\.9 mm\)"),
        ("other frame", "mixes frames of reference"),
        ("tilt", r"gantry tilt of 3\.8 degrees"),
        ("colour", "3 values per pixel"),
        ("no position", "without a valid ImagePositionPatient"),
        ("no spacing", "without a valid PixelSpacing"),
        ("palette", "values per pixel \\(colour\\)"),
        ("mosaic", "is a mosaic: .*Export it as enhanced"),
        ("several frames", r"several frames that does not say where each lies \(no enhanced CT\)"),
        ("truncated", "truncated slice: 30 of 40 bytes"),
        ("too long", "slice of 60 bytes of pixels, its size says 40"),
        ("no rescaling", "no rescale slope"),
        ("some rescaling", "no rescale slope"),
        ("no slope", "without a valid RescaleSlope"),
        ("other patient", "more than one patient: its files disagree in PatientID"),
        ("other name", "more than one patient: its files disagree in PatientName"),
        ("no birth date", "more than one patient: its files disagree in PatientBirthDate"),
        ("other study", "more than one study"),
        ("other class", "mixes images of CT and MR"),
        ("no UID", "without a SOPInstanceUID"),
        ("one UID", r"has 1 of its 1 images in more than one file .*Remove the copies"),
        ("no series UID", "has no SeriesInstanceUID"),
        ("huge", "claims 60000 rows"),
    ],
)
def test_irregular_series_are_refused_with_their_positions(tmp_path, kind, message):
    folder = spoilt(kind, tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        read_image(folder)
    assert "'head'" in str(caught.value)
    assert not any(word in str(caught.value) for word in ("SECRET", "Doe", "Roe", "1950"))


def test_a_single_slice_and_other_sizes(tmp_path):
    write_series(tmp_path / "one", stored((1, 4, 4)))
    with pytest.raises(InputError, match="has 1 slice"):
        read_image(tmp_path / "one")

    def larger(data, i):
        if i == 1:
            data.Rows, data.PixelData = 6, b"\0" * 6 * 4 * 2

    write_series(tmp_path / "sizes", stored((3, 4, 4)), change=larger)
    with pytest.raises(InputError, match=r"different size \(4 x 4, 6 x 4\)"):
        read_image(tmp_path / "sizes")


@given(st.integers(4, 60), st.floats(0.3, 8), st.data())
def test_a_missing_slice_never_passes(count, distance, data):
    from creps.io.dicom.read.geometry import SliceGeometry, stack_geometry

    gone = data.draw(st.integers(1, count - 2))
    turn = rotation(*data.draw(st.tuples(*[st.floats(-3, 3)] * 3)))
    slices = [
        SliceGeometry(turn[:, 2] * distance * i, turn[:, 0], turn[:, 1], (1.0, 1.0), (4, 4), "")
        for i in data.draw(st.permutations([i for i in range(count) if i != gone]))
    ]
    with pytest.raises(InputError, match=r"misses 1 slice|unevenly"):
        stack_geometry(slices, "x")


def test_several_series_are_listed_and_nothing_is_not_found(tmp_path):
    write_series(tmp_path / "a", stored())
    write_series(tmp_path / "b", stored((4, 5, 4)), modality="MR", slope=None)
    assert one_series(tmp_path, "ct").modality == "ct"
    write_series(tmp_path / "c", stored((9, 5, 4)))
    with pytest.raises(InputError, match=r"holds 2 CT series: 'head' \(CT, 6 slices, 3 x 0.9 x 0.7 mm, UID .*9 slices"):
        one_series(tmp_path, "ct")
    with pytest.raises(InputError, match="Choose by --series, or in a CSV file"):
        one_series(tmp_path, "ct")
    (tmp_path / "d").mkdir()
    with pytest.raises(InputError, match="contains no DICOM series of MR or CT"):
        read_image(tmp_path / "d")


def test_copies_in_another_folder_are_refused(tmp_path):
    write_series(tmp_path / "a", stored())
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with pytest.raises(InputError, match="6 of its 6 images in more than one file"):
        read_image(tmp_path)


def test_echoes_in_one_series_are_told_apart(tmp_path):
    def change(data, i):
        data.EchoTime = [2.3, 4.6][i % 2]

    write_series(tmp_path / "s", stored(), positions=[0, 0, 3, 3, 6, 6], change=change, modality="MR")
    with pytest.raises(InputError, match=r"at 30.00, 33.00, 36.00 mm .* differ in EchoTime \(2.3, 4.6\)"):
        read_image(tmp_path / "s")


def test_a_single_file_is_a_series(tmp_path):
    folder = write_series(tmp_path / "s", stored())
    with pytest.raises(InputError, match="has 1 slice"):
        read_series(one_series(folder / "003.dcm"))


def test_patients_are_known_by_a_hash_only(tmp_path):
    first = one_series(write_series(tmp_path / "a", stored(), patient="SECRET-42"))
    second = one_series(write_series(tmp_path / "b", stored(), patient="SECRET-42 "))
    none = one_series(write_series(tmp_path / "c", stored(), patient=""))
    assert first.patient_key == second.patient_key
    assert len(first.patient_key) == 16
    assert none.patient_key is None
    assert "secret" not in repr(first).lower()
    assert first.names_patient("scan_of_DOE")
    assert not first.names_patient("p001")
