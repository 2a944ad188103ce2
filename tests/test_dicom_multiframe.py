"""Enhanced multi-frame objects: they read to the same volume as the classic series of the same content."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    LegacyConvertedEnhancedMRImageStorage,
    generate_uid,
)

from creps.errors import InputError
from creps.io.dicom.read.functional_groups import frame_headers
from creps.io.dicom.read.series import find_series, one_series
from creps.io.dicom.read.volume import read_series
from creps.io.image import ImageSource
from tests.test_dicom import AXIAL, rotation, stored, write_series
from tests.written_dicom import read_image


def item(**values):
    found = Dataset()
    for name, value in values.items():
        setattr(found, name, value)
    return found


def write_enhanced(
    path, array, *, spacing=(3.0, 0.9, 0.7), origin=(10.0, -20.0, 30.0), orientation=AXIAL, modality="CT",
    order=None, slope=1.0, intercept=-1024.0, shared=True, marks=None, change=None, uid="1.2.3.4", kind=None,
    positions=None, signed=False,
):  # fmt: skip
    """Write stored values (D, H, W) as one multi-frame file.

    Args:
        order: Frame number → slice.
        slope: One, or one per slice (then per frame).
        shared: Whether orientation and spacing are said once for all frames.
        marks: Slice → functional groups of its own.
        change: `change(dataset)` spoils the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    order = list(range(len(array))) if order is None else order
    normal = np.cross(orientation[:3], orientation[3:])
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = kind or (EnhancedCTImageStorage if modality == "CT" else EnhancedMRImageStorage)
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = "1.2.3", uid, "1.2.4"
    data.Modality, data.SeriesDescription, data.PatientID = modality, "head", "SECRET-42"
    data.NumberOfFrames, data.Rows, data.Columns = len(order), *array.shape[1:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, int(signed)
    everywhere = {
        "PlaneOrientationSequence": [item(ImageOrientationPatient=[f"{x:.10f}" for x in orientation])],
        "PixelMeasuresSequence": [item(PixelSpacing=[spacing[1], spacing[2]], SliceThickness=1)],
    }
    slopes = slope if isinstance(slope, list) else [slope] * len(array)
    if slope is not None and not isinstance(slope, list):
        scale = item(RescaleSlope=slope, RescaleIntercept=intercept)
        everywhere["PixelValueTransformationSequence"] = [scale]
    frames = []
    for i in order:
        along = i * spacing[0] if positions is None else positions[i]
        place = [f"{x:.8f}" for x in np.asarray(origin) + along * normal]
        groups = {"PlanePositionSequence": [item(ImagePositionPatient=place)]}
        if isinstance(slope, list):
            groups["PixelValueTransformationSequence"] = [item(RescaleSlope=slopes[i], RescaleIntercept=intercept)]
        groups |= (marks(i) if marks else {}) | ({} if shared else everywhere)
        frames.append(item(**groups))
    data.SharedFunctionalGroupsSequence = [item(**everywhere)] if shared else []
    data.PerFrameFunctionalGroupsSequence = frames
    data.PixelData = array[order].astype("<i2" if signed else "<u2").tobytes()
    if change:
        change(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.save_as(path, enforce_file_format=True)
    return path


def same(one, other):
    np.testing.assert_array_equal(one.array, other.array)
    np.testing.assert_allclose(one.spacing_mm, other.spacing_mm, rtol=0, atol=1e-9)
    np.testing.assert_allclose(one.origin_mm, other.origin_mm, rtol=0, atol=1e-9)
    np.testing.assert_allclose(one.direction, other.direction, rtol=0, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(*[st.floats(-3.1, 3.1)] * 3), st.tuples(*[st.floats(0.3, 5)] * 3), st.permutations(range(4)),
    st.sampled_from(["CT", "MR"]), st.booleans(), st.booleans(), st.booleans(),
)  # fmt: skip
def test_multi_frame_and_classic_read_to_one_volume(
    tmp_path_factory, angles, spacing, order, modality, shared, signed, own_slopes
):
    turn = rotation(*angles)
    array = stored((4, 3, 5)) - (1000 if signed else 0)
    same_for_both = {
        "orientation": (*turn[:, 0], *turn[:, 1]), "spacing": tuple(round(s, 3) for s in spacing),
        "modality": modality, "signed": signed, "slope": [1.0, 2.0, 0.5, 1.25] if own_slopes else 1.5,
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("s")
    classic = read_image(write_series(folder / "classic", array, **same_for_both))
    enhanced = write_enhanced(folder / "enhanced" / "x.dcm", array, order=order, shared=shared, **same_for_both)
    same(read_image(enhanced.parent), classic)
    series = one_series(enhanced)  # the file itself
    header = ImageSource(enhanced, series).header()
    assert header.shape == classic.shape
    np.testing.assert_allclose(header.spacing_mm, classic.spacing_mm, atol=1e-5)
    assert one_series(enhanced.parent).summary().startswith(f"'head' ({modality}, 4 slices, ")


def test_several_files_make_one_series(tmp_path):
    """A concatenation, or one file per slab."""
    array = stored((9, 5, 4))
    whole = read_image(write_enhanced(tmp_path / "one" / "x.dcm", array).parent)
    for part, slices in enumerate([[4, 3, 5], [0, 2, 1], [8, 7, 6]]):
        write_enhanced(tmp_path / "parts" / f"{part}.dcm", array, order=slices)
    (series,) = find_series(tmp_path / "parts")
    assert series.shape == (9, 5, 4)
    same(read_series(series), whole)


def test_a_legacy_converted_object_keeps_its_rescaling(tmp_path):
    array = stored((3, 5, 4))

    def converted(i):
        return {
            "UnassignedPerFrameConvertedAttributesSequence": [
                item(RescaleSlope=i + 1, RescaleIntercept=5, EchoTime=4.6, ScanningSequence="SE")
            ]
        }

    path = write_enhanced(
        tmp_path / "x.dcm", array, modality="MR", slope=None, marks=converted,
        kind=LegacyConvertedEnhancedMRImageStorage,
    )  # fmt: skip
    expected = array * np.array([1, 2, 3])[:, None, None] + 5
    np.testing.assert_array_equal(read_image(path.parent).array, expected)
    assert [float(header.EchoTime) for header in frame_headers(dcmread(path))] == [4.6] * 3


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (lambda i: {"FrameContentSequence": [item(StackID=str(i % 2))]}, r"StackID \(0, 1\)"),
        (lambda i: {"FrameContentSequence": [item(TemporalPositionIndex=1 + i % 2)]}, "TemporalPositionIndex"),
        (
            lambda i: {"MREchoSequence": [item(EffectiveEchoTime=[2.3, 4.6][i % 2])]},
            r"EffectiveEchoTime \(2\.3, 4\.6\)",
        ),
        (
            lambda i: {"MRDiffusionSequence": [item(DiffusionBValue=[0.0, 800.0][i % 2])]},
            r"Diffusion.* \(0\.0, 800\.0\)",
        ),
        (
            lambda i: {"MRImageFrameTypeSequence": [item(FrameType=["ORIGINAL", "PRIMARY", "T1", "MP"[i % 2]])]},
            r"FrameType \(ORIGINAL\\PRIMARY\\T1\\M, ORIGINAL\\PRIMARY\\T1\\P\)",
        ),
        (lambda _: {}, r"along its normal\. Export"),
    ],
)
def test_several_frames_at_a_position_are_told_apart(tmp_path, groups, message):
    positions = [0, 0, 3, 3, 6, 6]
    path = write_enhanced(tmp_path / "x.dcm", stored(), modality="MR", positions=positions, marks=groups)
    with pytest.raises(InputError, match=rf"more than one slice at 30\.00, 33\.00, 36\.00 mm .*{message}"):
        read_image(path.parent)
    assert ImageSource(path, one_series(path)).header().spacing_mm[0] == 3


def test_stacks_of_several_orientations_are_named(tmp_path):
    def marks(i):
        turned = [1, 0, 0, 0, 0, -1] if i > 2 else [1, 0, 0, 0, 1, 0]
        return {
            "FrameContentSequence": [item(StackID="tra" if i <= 2 else "cor")],
            "PlaneOrientationSequence": [item(ImageOrientationPatient=turned)],
        }

    path = write_enhanced(tmp_path / "x.dcm", stored(), marks=marks)
    with pytest.raises(
        InputError, match=r"different orientation; they differ in StackID \(TRA, COR\)\. Export or copy"
    ):
        read_image(path.parent)


def spoil_one_frame(sequence, **values):
    def change(data):
        frame = data.PerFrameFunctionalGroupsSequence[2]
        setattr(frame, sequence, [item(**values)] if values else [])

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.PerFrameFunctionalGroupsSequence.pop(), "describes 5 frames and claims 6"),
        (lambda d: setattr(d, "NumberOfFrames", 2**31 - 1), "describes 6 frames and claims 2147483647"),
        (lambda d: delattr(d, "PerFrameFunctionalGroupsSequence"), "describes 0 frames"),
        (lambda d: setattr(d, "PixelData", d.PixelData[:200]), "truncated file: 200 of 240 bytes"),
        (lambda d: setattr(d, "Rows", 4), "file of 240 bytes of pixels, its size says 192"),
        (lambda d: setattr(d, "PatientID", "B"), "more than one patient"),
        (spoil_one_frame("PlanePositionSequence"), "without a valid ImagePositionPatient"),
        (spoil_one_frame("PixelValueTransformationSequence", RescaleSlope=0), "without a valid RescaleSlope"),
        (spoil_one_frame("PixelMeasuresSequence", PixelSpacing=[1, 1]), "different pixel spacing"),
        (lambda d: setattr(d, "SharedFunctionalGroupsSequence", []), "without a valid ImageOrientationPatient"),
    ],
)
def test_irregular_objects_are_refused(tmp_path, change, message):
    write_enhanced(tmp_path / "s" / "a.dcm", stored(), change=change)
    if message == "more than one patient":
        write_enhanced(tmp_path / "s" / "b.dcm", stored(), origin=(10, -20, 48))
    with pytest.raises(InputError, match=message) as caught:
        read_image(tmp_path / "s")
    assert "SECRET" not in str(caught.value)


def test_a_missing_frame_is_found_across_files(tmp_path):
    write_enhanced(tmp_path / "a.dcm", stored(), order=[0, 1, 2])
    write_enhanced(tmp_path / "b.dcm", stored(), order=[4, 5])
    with pytest.raises(InputError, match=r"misses 1 slice between 36\.00 and 42\.00 mm"):
        read_image(tmp_path)


def test_every_frame_of_philips_has_its_own_scale(tmp_path):
    """Private attributes lie in an item of their own, beside display scaling that hides them."""

    def marks(i):
        private = Dataset()
        private.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x0E, "FL", float(i + 1))
        holder = {"PixelValueTransformationSequence": [item(RescaleSlope=3, RescaleIntercept=6)]}
        return holder | {"private": private}

    def change(data):
        data.Manufacturer = "Philips Medical Systems"
        for frame in data.PerFrameFunctionalGroupsSequence:
            private = frame.private
            del frame.private
            frame.private_block(0x2005, "Philips MR Imaging DD 005", create=True)
            frame.add_new(0x2005140F, "SQ", [private])

    array = stored((3, 5, 4))
    path = write_enhanced(tmp_path / "x.dcm", array, modality="MR", slope=None, marks=marks, change=change)
    expected = (array * 3 + 6) / (3 * np.array([1, 2, 3])[:, None, None])
    np.testing.assert_allclose(read_image(path.parent).array, expected, rtol=1e-6)


def test_a_real_series_as_one_object_reads_as_before(shared, tmp_path):
    """An oblique pelvis of Siemens, packed into one file with its frames reversed."""
    import tarfile

    archive = next((shared / "data" / "dicom").glob("prostatex*.tar.gz"))
    with tarfile.open(archive) as files:
        files.extractall(tmp_path / "classic", filter="data")
    (series,) = find_series(tmp_path / "classic")
    classic = read_series(series)
    headers = sorted((dcmread(path) for path in series.files), key=lambda d: -int(d.InstanceNumber))
    array = np.stack([data.pixel_array for data in headers])
    orientation = [float(x) for x in headers[0].ImageOrientationPatient]
    normal = np.cross(orientation[:3], orientation[3:])
    origin = np.array([float(x) for x in headers[0].ImagePositionPatient])
    positions = [float((np.array(d.ImagePositionPatient, float) - origin) @ normal) for d in headers]
    spacing = (3.0, *(float(x) for x in headers[0].PixelSpacing))
    path = write_enhanced(
        tmp_path / "enhanced" / "x.dcm", array, modality="MR", orientation=orientation, origin=origin,
        positions=positions, spacing=spacing, slope=None,
    )  # fmt: skip
    enhanced = read_image(path.parent)
    assert enhanced.same_grid_as(classic, tolerance_mm=1e-3)
    np.testing.assert_array_equal(enhanced.array, classic.array)
