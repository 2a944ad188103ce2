"""Contours: halfway between pixels, in the planes of their slices, and masks come back from them."""

import copy
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from skimage.draw import polygon2mask

from creps.errors import InputError
from creps.io.dicom.write.contours import outlines
from creps.io.dicom.write.ct import write_ct
from creps.io.dicom.write.structures import write_structures
from creps.volume import Volume
from tests.written_dicom import DERIVATION, complaints, rotation, source_of


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    return source_of(tmp_path_factory.mktemp("mr"))


def ball(shape, spacing, radius_mm):
    away = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing, strict=True)]
    return sum(np.square(np.array(x)) for x in np.meshgrid(*away, indexing="ij")) <= radius_mm**2


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def area(ring):
    (y, x), (ny, nx) = ring.T, np.roll(ring, -1, axis=0).T
    return abs(np.sum(x * ny - nx * y)) / 2


def write_both(folder, masks, volume, origin, derivation=DERIVATION):
    written = write_ct(folder, volume, origin, derivation)
    names = write_structures(folder / "RS.dcm", masks, volume, written, origin, derivation)
    assert complaints(*written.files, folder / "RS.dcm") == []
    return written, names, pydicom.dcmread(folder / "RS.dcm")


def rasterised(data, name, folder, volume):
    """A structure's mask, from the files alone; checks that its points lie in the planes they refer to."""
    number = next(roi.ROINumber for roi in data.StructureSetROISequence if roi.ROIName == name)
    contours = next(roi for roi in data.ROIContourSequence if roi.ReferencedROINumber == number).ContourSequence
    slices = {s.SOPInstanceUID: s for s in (pydicom.dcmread(path) for path in folder.glob("CT.*.dcm"))}
    mask = np.zeros(volume.shape, bool)
    for contour in contours:
        assert contour.ContourGeometricType == "CLOSED_PLANAR"
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        assert len(points) == contour.NumberOfContourPoints >= 3
        (image,) = contour.ContourImageSequence
        s = slices[image.ReferencedSOPInstanceUID]
        row, column = np.reshape([float(c) for c in s.ImageOrientationPatient], (2, 3))
        away = points - np.array(s.ImagePositionPatient, float)
        assert np.abs(away @ np.cross(row, column)).max() < 2e-3
        index = np.column_stack([away @ column / float(s.PixelSpacing[0]), away @ row / float(s.PixelSpacing[1])])
        first = (np.array(s.ImagePositionPatient, float) - np.array(volume.origin_mm)) @ volume.direction[:, 0]
        mask[round(first / volume.spacing_mm[0])] ^= polygon2mask(volume.shape[1:], index)
    return mask


@settings(max_examples=12)
@given(
    angles=st.tuples(*[st.floats(-3.15, 3.15)] * 3),
    spacing=st.tuples(st.floats(1.5, 4), st.floats(0.8, 2), st.floats(0.8, 2)),
    order=st.permutations(range(3)),
    signs=st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
)
def test_a_ball_comes_back_on_any_grid(tmp_path_factory, origin, angles, spacing, order, signs):
    folder = tmp_path_factory.mktemp("rs")
    shape = tuple(int(44 / s) + 2 for s in spacing)
    mask = ball(shape, spacing, 20)
    turn = rotation(*angles)[:, list(order)] * signs
    volume = Volume(np.zeros(shape, np.float32), spacing, (12.3456, -300, 4), turn)
    shell = mask & ~ball(shape, spacing, 12)
    _, names, data = write_both(folder, {"BODY": mask, "BONE": shell}, volume, origin)
    assert names == ("BODY", "BONE")
    assert dice(rasterised(data, "BODY", folder, volume), mask) > 0.97
    assert dice(rasterised(data, "BONE", folder, volume), shell) > 0.97  # with its hole


def test_what_the_structure_set_says(tmp_path, origin):
    mask = ball((5, 12, 12), (1, 1, 1), 2)
    volume = Volume(np.zeros(mask.shape, np.float32))
    derivation = replace(DERIVATION, forced=("It looks like a head.",))
    before = copy.deepcopy(origin.kept)
    written, _, data = write_both(
        tmp_path / "s", {"BODY": mask, "BONE": mask, "Rectum": mask}, volume, origin, derivation
    )
    assert origin.kept == before
    np.testing.assert_array_equal(rasterised(data, "Rectum", tmp_path / "s", volume), mask)
    assert data.Modality == "RTSTRUCT"
    assert data.SyntheticData == "YES"
    assert (data.PatientID, str(data.PatientName), data.PatientBirthDate) == ("SECRET-42", "Doe^Jane^^Dr.", "19510731")
    assert (data.StudyInstanceUID, data.FrameOfReferenceUID) == (origin.study_uid, origin.frame_uid)
    assert data.SeriesInstanceUID not in (written.series_uid, origin.series_uid)
    assert (data.SeriesNumber, data.ApprovalStatus) == (402, "UNAPPROVED")
    assert (data.StructureSetLabel, data.StructureSetDate) == ("creps sCT", "20240229")
    assert "Not for diagnosis" in data.StructureSetDescription
    assert "It looks like a head." in data.StructureSetDescription
    assert data.file_meta.TransferSyntaxUID.is_implicit_VR  # contours may exceed 64 KiB
    (frame,) = data.ReferencedFrameOfReferenceSequence
    (study,) = frame.RTReferencedStudySequence
    (series,) = study.RTReferencedSeriesSequence
    assert (frame.FrameOfReferenceUID, study.ReferencedSOPInstanceUID) == (origin.frame_uid, origin.study_uid)
    assert series.SeriesInstanceUID == written.series_uid
    assert [i.ReferencedSOPInstanceUID for i in series.ContourImageSequence] == list(written.instance_uids)
    rois = [(r.ROIName, r.ROIGenerationAlgorithm) for r in data.StructureSetROISequence]
    assert rois == [("BODY", "AUTOMATIC"), ("BONE", "AUTOMATIC"), ("Rectum", "AUTOMATIC")]
    assert [o.RTROIInterpretedType for o in data.RTROIObservationsSequence] == ["EXTERNAL", "ORGAN", "ORGAN"]
    for contour in data.ROIContourSequence[0].ContourSequence:
        raw = contour.get_item("ContourData").value
        assert max(len(number.strip()) for number in raw.split(b"\\")) <= 16


def test_stable_uids(tmp_path, origin):
    mask = ball((4, 12, 12), (1, 1, 1), 3)
    volume = Volume(np.zeros(mask.shape, np.float32))
    found = []
    for i, derivation in enumerate([DERIVATION, DERIVATION, *[replace(DERIVATION, uid_entropy=("a",))] * 2]):
        data = write_both(tmp_path / str(i), {"BODY": mask}, volume, origin, derivation)[2]
        found.append((data.SOPInstanceUID, data.SeriesInstanceUID))
    assert found[2] == found[3]
    assert len(set(found)) == 3


def test_an_empty_mask_is_left_out(tmp_path, origin):
    mask = ball((4, 12, 12), (1, 1, 1), 3)
    specks = np.zeros(mask.shape, bool)
    specks[1, 2:4, 2:4] = specks[2, 9, 9] = True  # below 10 mm2
    volume = Volume(np.zeros(mask.shape, np.float32))
    _, names, data = write_both(tmp_path / "a", {"BODY": mask, "BONE": specks, "X": mask & False}, volume, origin)
    assert names == ("BODY",)
    assert len(data.StructureSetROISequence) == len(data.ROIContourSequence) == 1
    written = write_ct(tmp_path / "b", volume, origin, DERIVATION)
    with pytest.raises(InputError, match="none of the masks has a contour"):
        write_structures(tmp_path / "b" / "RS.dcm", {"BODY": mask & False}, volume, written, origin, DERIVATION)
    assert not (tmp_path / "b" / "RS.dcm").exists()
    with pytest.raises(ValueError, match="same shape"):
        write_structures(tmp_path / "b" / "RS.dcm", {"BODY": mask[1:]}, volume, written, origin, DERIVATION)


def test_a_long_outline_is_written_whole(tmp_path, origin):
    comb = np.zeros((2, 60, 320), bool)
    comb[:, :, 0] = comb[:, ::4] = comb[:, 1::4, ::2] = True
    volume = Volume(np.zeros(comb.shape, np.float32), (3, 0.737373, 0.737373), (-100.1, -200.2, 0))
    _, _, data = write_both(tmp_path / "s", {"X": comb}, volume, origin)
    sizes = [len(c.get_item("ContourData").value) for c in data.ROIContourSequence[0].ContourSequence]
    assert max(sizes) > 65536
    read = pydicom.dcmread(tmp_path / "s" / "RS.dcm").ROIContourSequence[0].ContourSequence[0]
    assert len(read.ContourData) == 3 * read.NumberOfContourPoints


@given(arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14))))
def test_outlines_hold_the_pixels_and_no_others(plane):
    cut = outlines(plane, with_holes=True)
    islands, count = ndimage.label(plane)
    assert len(cut) == count
    inside = np.zeros(plane.shape, bool)
    for ring in cut:
        assert not (ring[0] == ring[-1]).all()
        inside ^= winding(ring, plane.shape)
    np.testing.assert_array_equal(inside, plane)
    filled = np.zeros(plane.shape, bool)
    for ring in outlines(plane, with_holes=False):
        filled |= winding(ring, plane.shape)
    expected = [
        ndimage.binary_fill_holes(np.pad(islands == i + 1, 1), np.ones((3, 3)))[1:-1, 1:-1] for i in range(count)
    ]
    np.testing.assert_array_equal(filled, np.any(expected, axis=0) if count else plane)


def winding(ring, shape):
    """Pixel centres that a polygon winds around, an odd number of times; moved a little off the channels."""
    rows, columns = np.indices(shape) + np.array([1e-4, 3.7e-5])[:, None, None]
    inside = np.zeros(shape, bool)
    for (y0, x0), (y1, x1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        if y0 != y1:
            inside ^= ((y0 > rows) != (y1 > rows)) & (columns < x0 + (rows - y0) * (x1 - x0) / (y1 - y0))
    return inside


def test_small_islands_and_holes_are_passed_over():
    plane = np.zeros((20, 20), bool)
    plane[2:14, 2:14] = True
    plane[4, 4] = False
    plane[7:11, 7:11] = False
    plane[17:19, 17:19] = True
    (whole,) = outlines(plane, with_holes=True, smallest=4)
    assert area(whole) == pytest.approx((144 - 0.5) - (16 + 4 * 2 * 0 + 4 - 4.5))
    assert len(outlines(plane, with_holes=True)) == 2


def test_outlines_have_no_needless_points():
    plane = np.zeros((30, 40), bool)
    plane[5:25, 5:35] = True
    (ring,) = outlines(plane, with_holes=False)
    assert len(ring) == 8  # the corners are cut by half a pixel
    assert ring.min(axis=0).tolist() == [4.5, 4.5]
    assert ring.max(axis=0).tolist() == [24.5, 34.5]
