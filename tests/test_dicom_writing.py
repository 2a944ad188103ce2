"""A synthetic CT as DICOM: read back by three readers, checked by two checkers, attribute by attribute."""

import copy
import re
import tarfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from creps.errors import InputError
from creps.io.dicom.read.series import find_series, one_series
from creps.io.dicom.read.volume import read_series
from creps.io.dicom.write.ct import write_ct
from creps.io.dicom.write.identity import SourceSeries
from creps.io.dicom.write.values import decimal, plain
from creps.volume import AXIAL, Volume
from tests.written_dicom import DERIVATION, NO_DICOMDIR, check_same_image, complaints, ct_volume, rotation, source_of


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    return source_of(tmp_path_factory.mktemp("mr"))


@pytest.fixture(scope="module")
def real_series(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    for path in sorted((shared / "data" / "dicom").glob("*.tar.gz")):
        with tarfile.open(path) as archive:
            archive.extractall(folder / path.name.split("_")[0], filter="data")
    return [series for series in find_series(folder) if series.modality == "mr"]


def check_readers(volume, folder):
    """creps, GDCM through SimpleITK, and the standard's formula on raw files."""
    again = read_series(one_series(folder, "ct"))
    check_same_image(volume, again.array, again.to_patient_mm)
    files = sorted(folder.glob("CT.*.dcm"))
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    assert sorted(names) == [str(path) for path in files]
    image = sitk.ReadImage(names)
    check_same_image(
        volume,
        sitk.GetArrayFromImage(image),
        lambda i: np.array(image.TransformContinuousIndexToPhysicalPoint([float(c) for c in i[::-1]])),
    )
    slices = [pydicom.dcmread(path) for path in files]
    array = np.stack([s.pixel_array * s.RescaleSlope + s.RescaleIntercept for s in slices])

    def place(index):
        s, (rows, columns) = slices[index[0]], map(float, slices[index[0]].PixelSpacing)
        along_row, along_column = np.reshape([float(c) for c in s.ImageOrientationPatient], (2, 3))
        return np.array(s.ImagePositionPatient, float) + along_row * columns * index[2] + along_column * rows * index[1]

    check_same_image(volume, array, place)
    heights = [float(s.SliceLocation) for s in slices]
    assert [s.InstanceNumber for s in slices] == list(range(1, len(slices) + 1))
    assert heights == sorted(heights)
    np.testing.assert_allclose(np.diff(heights), float(slices[0].SliceThickness), atol=1e-5)


@settings(max_examples=25)
@given(
    angles=st.tuples(*[st.floats(-3.15, 3.15)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 6)] * 3),
    origin_mm=st.tuples(*[st.floats(-900, 900)] * 3),
    order=st.permutations(range(3)),
    signs=st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
    oblique=st.booleans(),
    position=st.sampled_from(["HFS", "HFP", "FFS", "FFP", "HFDR", "FFDL"]),
)
def test_a_point_keeps_its_place_on_any_grid(
    tmp_path_factory, origin, angles, spacing, origin_mm, order, signs, oblique, position
):
    turn = rotation(*angles) if oblique else np.eye(3)
    volume = ct_volume(spacing_mm=spacing, origin_mm=origin_mm, direction=(turn[:, list(order)] * signs))
    kept = copy.deepcopy(origin.kept)
    kept.PatientPosition = position
    folder = tmp_path_factory.mktemp("ct")
    written = write_ct(folder, volume, replace(origin, kept=kept), DERIVATION)
    check_readers(volume, folder)
    assert complaints(*written.files) == []
    uids = [str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in written.files]
    ascending = np.linalg.det(volume.direction[:, ::-1]) > 0
    assert list(written.instance_uids) == (uids if ascending else uids[::-1])
    assert pydicom.dcmread(written.files[0]).PatientPosition == position


def test_a_direction_that_is_not_quite_orthonormal_keeps_its_points(tmp_path, origin):
    bent = AXIAL + np.array([[0, 2e-4, 4e-4], [3e-4, 4e-4, 0], [4e-4, 0, 1e-4]])
    volume = ct_volume((20, 30, 40), spacing_mm=(3, 1, 1), direction=bent)
    write_ct(tmp_path / "ct", volume, origin, DERIVATION)
    slices = [pydicom.dcmread(path) for path in sorted((tmp_path / "ct").iterdir())]
    last, (rows, columns) = slices[-1], map(float, slices[-1].PixelSpacing)
    row, column = np.reshape([float(c) for c in last.ImageOrientationPatient], (2, 3))
    corner = np.array(last.ImagePositionPatient, float) + row * columns * 39 + column * rows * 29
    np.testing.assert_allclose(corner, volume.to_patient_mm([19, 29, 39]), atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 5, 5), (3, 1, 7)])
def test_odd_shapes(tmp_path, origin, shape):
    volume = ct_volume(shape)
    written = write_ct(tmp_path / "ct", volume, origin, DERIVATION)
    stored = np.stack([pydicom.dcmread(path).pixel_array for path in written.files]).astype(int) - 1024
    np.testing.assert_array_equal(stored, np.rint(volume.array))
    assert complaints(*written.files) == []


def test_values_are_rounded_and_clipped_to_twelve_bits(tmp_path, origin, caplog):
    values = np.array([-1e4, -1024.4, -1023.6, -0.6, -0.4, 0.4, 0.6, 40.4, 3000, 3071.4, 3072, 1e5], np.float32)
    written = write_ct(tmp_path / "ct", Volume(values.reshape(1, 3, 4)), origin, DERIVATION)
    data = pydicom.dcmread(written.files[0])
    hu = (data.pixel_array.astype(int) + int(data.RescaleIntercept)).reshape(-1).tolist()
    assert hu == [-1024, -1024, -1024, -1, 0, 0, 1, 40, 3000, 3071, 3071, 3071]
    assert "3 voxels were outside -1024 to 3071 HU" in caplog.text
    assert (data.BitsStored, data.HighBit, data.PixelRepresentation) == (12, 11, 0)
    bad = values.copy()
    bad[3] = np.nan
    with pytest.raises(InputError, match="NaN or infinite"):
        write_ct(tmp_path / "nan", Volume(bad.reshape(1, 3, 4)), origin, DERIVATION)
    assert not (tmp_path / "nan").exists()


def test_every_attribute(tmp_path, origin):
    written = write_ct(tmp_path / "ct", ct_volume(spacing_mm=(2.5, 0.75, 1 / 3)), origin, DERIVATION)
    assert [path.name for path in written.files] == [f"CT.{i:04d}.dcm" for i in range(1, 5)]
    data = pydicom.dcmread(written.files[1])
    expected = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CT", "ImageType": ["DERIVED", "SECONDARY", "AXIAL"],
        "PatientName": "Doe^Jane^^Dr.", "PatientID": "SECRET-42", "IssuerOfPatientID": "St. Elsewhere",
        "PatientBirthDate": "19510731", "PatientSex": "F", "PatientAge": "072Y", "PatientSize": 1.71,
        "PatientWeight": 65.5, "StudyDate": "20240228", "StudyTime": "081500.12", "AccessionNumber": "ACC-99",
        "ReferringPhysicianName": "Who^Doctor", "StudyID": "S-17", "StudyDescription": "MR pelvis planning",
        "StudyInstanceUID": origin.study_uid, "FrameOfReferenceUID": origin.frame_uid,
        "PositionReferenceIndicator": "XY", "PatientPosition": "HFS", "SeriesInstanceUID": written.series_uid,
        "SeriesNumber": 401, "SeriesDescription": "SYNTHETIC CT from MR (creps 1.2.3)", "SyntheticData": "YES",
        "Manufacturer": "The creps developers", "SoftwareVersions": ["creps 1.2.3", DERIVATION.weights_sha256],
        "BodyPartExamined": "PELVIS", "KVP": None, "AcquisitionNumber": None, "InstanceNumber": 2,
        "AcquisitionDate": "20240228", "AcquisitionTime": "082233", "ContentDate": "20240229",
        "ContentTime": "131415.123456", "SeriesDate": "20240229", "InstanceCreationDate": "20240229",
        "RescaleSlope": 1, "RescaleIntercept": -1024, "RescaleType": "HU", "BurnedInAnnotation": "NO",
        "LossyImageCompression": "00", "WindowCenter": [40, 500], "WindowWidth": [400, 2000],
        "WindowCenterWidthExplanation": ["SOFT TISSUE", "BONE"], "PixelSpacing": [0.75, 0.3333333333],
        "SliceThickness": 2.5, "SpacingBetweenSlices": 2.5,
    }  # fmt: skip
    assert {name: data[name].value for name in expected} == expected
    assert [item.PatientID for item in data.OtherPatientIDsSequence] == ["OLD-7", "OLD-8"]
    assert "DeviceSerialNumber" not in data
    assert "InstitutionName" not in data
    assert "Not for diagnosis" in data.ImageComments
    assert "force" not in data.ImageComments + data.DerivationDescription
    for word in ("creps 1.2.3", "neural network", "anatomy", "pelvis", "grid mr", DERIVATION.weights_sha256):
        assert word in data.DerivationDescription
    assert data.file_meta.ImplementationVersionName == "CREPS_1.2.3"
    assert data.file_meta.TransferSyntaxUID.is_little_endian
    assert not data.file_meta.TransferSyntaxUID.is_implicit_VR


def test_sources_and_equipment(tmp_path, origin):
    data = pydicom.dcmread(write_ct(tmp_path / "ct", ct_volume(), origin, DERIVATION).files[0])
    sources = [(s.ReferencedSOPClassUID, s.ReferencedSOPInstanceUID) for s in data.SourceImageSequence]
    assert sources == list(origin.instances)
    assert len(sources) == 3
    assert {s.PurposeOfReferenceCodeSequence[0].CodeValue for s in data.SourceImageSequence} == {"121322"}
    (series,) = data.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == origin.series_uid
    assert [s.ReferencedSOPInstanceUID for s in series.ReferencedInstanceSequence] == [uid for _, uid in sources]
    assert [item.CodeValue for item in data.DerivationCodeSequence] == ["123110", "113085"]
    scanner, creps = data.ContributingEquipmentSequence
    assert scanner.PurposeOfReferenceCodeSequence[0].CodeMeaning == "Acquisition Equipment"
    assert scanner.DeviceSerialNumber == "SN-4711"
    assert scanner.SoftwareVersions == ["A1", "B2"]
    assert scanner.ContributionDateTime == "20240228082233"
    assert creps.PurposeOfReferenceCodeSequence[0].CodeMeaning == "Processing Equipment"
    assert DERIVATION.weights_sha256 in creps.ContributionDescription
    assert DERIVATION.weights_sha256 in creps.SoftwareVersions


def test_what_was_forced_is_written_as_far_as_it_fits(tmp_path, origin):
    reasons = ("The region looks like a head ≥ 3×.", "Bäckslash \\ and\nline.", "x" * 3000, "The end.")
    written = write_ct(tmp_path / "ct", ct_volume(), origin, replace(DERIVATION, forced=reasons))
    data = pydicom.dcmread(written.files[0])
    assert "which may be wrong, refused the MR. The region looks like a head ? 3x. Back" in data.ImageComments
    assert data.ImageComments.endswith("The end.")
    assert "may be wrong, refused the MR. The region" in data.DerivationDescription
    assert len(data.DerivationDescription) <= 1024
    assert data.DerivationDescription.endswith("...")
    assert complaints(*written.files) == []


def test_times_are_the_clinics(tmp_path, origin):
    early = datetime(2024, 3, 1, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    local = pydicom.dcmread(write_ct(tmp_path / "a", ct_volume(), origin, replace(DERIVATION, created=early)).files[0])
    assert local.ContentDate + local.ContentTime == early.astimezone().strftime("%Y%m%d%H%M%S.%f")
    there = source_of(tmp_path / "mr", TimezoneOffsetFromUTC="-0330")
    written = write_ct(tmp_path / "b", ct_volume(), there, replace(DERIVATION, created=early.astimezone(UTC)))
    data = pydicom.dcmread(written.files[0])
    assert (data.ContentDate, data.ContentTime) == ("20240229", "190000.000000")
    assert data.TimezoneOffsetFromUTC == "-0330"
    assert complaints(*written.files) == []


def test_uids_are_random_or_the_same_again(tmp_path, origin):
    volume = ct_volume()

    def uids(derivation, number=[0], sct=volume, origin=origin):  # noqa: B006  (counts the folders)
        number[0] += 1
        written = write_ct(tmp_path / str(number[0]), sct, origin, derivation)
        return {written.series_uid, *written.instance_uids}

    assert not uids(DERIVATION) & uids(DERIVATION)
    stable = replace(DERIVATION, uid_entropy=("abc", "def"))
    assert uids(stable) == uids(replace(stable, created=datetime.now(UTC)))
    assert len(uids(stable)) == 5
    assert all(re.fullmatch(r"2\.25\.[1-9]\d{0,38}", uid) for uid in uids(stable))
    others = [
        uids(replace(stable, uid_entropy=("abcd", "ef"))),
        uids(replace(stable, weights_sha256="f" * 64)),
        uids(replace(stable, grid="planning")),
        uids(stable, sct=ct_volume(spacing_mm=(1, 1, 1.001))),
        uids(stable, origin=replace(origin, series_uid="1.2.3")),
    ]
    assert not any(other & uids(stable) for other in others)


@pytest.mark.parametrize(("region", "part"), [("brain", "BRAIN"), ("Head-Neck", "HEADNECK"), ("left thigh", None)])
def test_the_region_stands_in_for_a_body_part(tmp_path, region, part):
    origin = source_of(tmp_path / "mr", BodyPartExamined="UNTERLEIB")
    written = write_ct(tmp_path / "ct", ct_volume(), origin, replace(DERIVATION, region=region))
    data = pydicom.dcmread(written.files[0])
    assert data.get("BodyPartExamined") == part
    unknown_side = r"Warning - </Laterality\(0020,0060\)> - is only permitted to be empty when actually unknown"
    assert complaints(*written.files, allowed=[] if part else [unknown_side]) == []


def test_a_series_number_stays_a_number(tmp_path):
    for given_number, expected in ((None, 1), (0, 1), (3, 301), (2**31 - 1, 1)):
        origin = source_of(tmp_path / f"mr{given_number}", SeriesNumber=given_number)
        written = write_ct(tmp_path / f"ct{given_number}", ct_volume(), origin, DERIVATION)
        assert pydicom.dcmread(written.files[0]).SeriesNumber == expected


def test_a_folder_that_cannot_be_written(tmp_path, origin):
    (tmp_path / "ct" / "CT.0001.dcm").mkdir(parents=True)
    with pytest.raises(InputError, match=r"CT\.0001\.dcm cannot be written"):
        write_ct(tmp_path / "ct", ct_volume(), origin, DERIVATION)


@given(st.floats(-1e7, 1e7), st.integers(0, 12))
def test_decimal_strings_lose_nothing_that_fits(number, places):
    text = decimal(number, places)
    assert re.fullmatch(r"-?\d+(\.\d*[1-9])?", text)
    assert len(text) <= 16
    assert text != "-0"
    assert abs(float(text) - number) <= max(0.51 * 10.0**-places, 1e-6)


@given(st.text(max_size=100), st.integers(4, 80))
def test_own_texts_are_plain(text, length):
    said = plain(text, length)
    assert said.isascii()
    assert said.isprintable() or not said
    assert "\\" not in said
    assert len(said) <= length


def test_real_series_through_the_whole_way(real_series, tmp_path):
    assert len(real_series) == 2
    for series in real_series:
        mr = read_series(series)
        top = float(mr.array.max())
        sct = mr.with_array(mr.array / top * 4000 - 1000)
        origin = SourceSeries.of(series)
        folder = tmp_path / series.uid
        written = write_ct(folder, sct, origin, DERIVATION)
        check_readers(Volume(sct.array[::7, ::50, ::50], *thinned(sct)), thin_copy(folder, sct, origin))
        again = read_series(one_series(folder, "ct"))
        assert again.same_grid_as(mr, tolerance_mm=0.01)
        np.testing.assert_array_equal(again.array, np.rint(sct.array))
        source = pydicom.dcmread(series.files[0])
        data = pydicom.dcmread(written.files[0])
        for name in ("PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID", "PatientPosition",
                     "StudyDate", "AccessionNumber", "DeidentificationMethod"):  # fmt: skip
            assert data[name].value == source[name].value
        # Their names have no "^", their study IDs are empty or too long, and a thigh has no side.
        theirs = [
            r"Warning - </PatientName.* - Retired Person Name form$",
            NO_DICOMDIR.pattern,
            r"Warning - </Laterality\(0020,0060\)> - is only permitted to be empty when actually unknown",
        ]
        assert complaints(*written.files, allowed=theirs) == []
        against = [
            r"Warning - Attribute present in one instance but not the other - Element=<ReferringPhysicianName>",
            r"Warning - Attribute is empty .* - OK only If Type 2 attribute in that IOD - Element=<StudyID>",
        ]
        assert complaints(written.files[0], sources=series.files, allowed=[*theirs, *against]) == []


def thinned(volume):
    d, h, w = volume.spacing_mm
    return (7 * d, 50 * h, 50 * w), volume.origin_mm, volume.direction


def thin_copy(folder, sct, origin):
    """Few voxels of a large volume, for the comparison point by point."""
    thin = folder.parent / f"{folder.name}-thin"
    write_ct(thin, Volume(sct.array[::7, ::50, ::50], *thinned(sct)), origin, DERIVATION)
    return thin
