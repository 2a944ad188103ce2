"""Structure sets are read: masks that were written come back, and real contours have plausible volumes."""

import tarfile

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from skimage.draw import polygon2mask

from creps.errors import InputError
from creps.io.dicom.read.structures import Structure, _filled, read_structures
from creps.io.dicom.write.ct import write_ct
from creps.io.dicom.write.structures import write_structures
from creps.volume import Volume
from tests.components import SHARED
from tests.test_dicom_structures import ball, dice
from tests.written_dicom import DERIVATION, rotation, source_of

UTRECHT = SHARED / "data" / "dicom" / "utrecht_prostate_ct_rtstruct.tar.gz"


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    return source_of(tmp_path_factory.mktemp("mr"))


def write(folder, masks, volume, origin):
    written = write_ct(folder, volume, origin, DERIVATION)
    write_structures(folder / "RS.dcm", masks, volume, written, origin, DERIVATION)
    return folder / "RS.dcm"


def area_mm2(points):
    x, y = points[:, 0], points[:, 1]
    return abs(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2


def empty(shape, spacing=(3.0, 1.0, 1.0), **geometry):
    return Volume(np.zeros(shape, np.float32), spacing, **geometry)


@settings(max_examples=15)
@given(
    angles=st.tuples(*[st.floats(-3.15, 3.15)] * 3),
    spacing=st.tuples(st.floats(1.5, 4), st.floats(0.8, 2), st.floats(0.8, 2)),
    mask=arrays(bool, (3, 7, 8)),
)
def test_any_mask_comes_back_from_its_contours(tmp_path_factory, origin, angles, spacing, mask):
    """Holes and islands in all constellations, on oblique grids."""
    mask[1, 3, 3] = True
    volume = empty(mask.shape, spacing, direction=rotation(*angles), origin_mm=(-30.0, 12.5, 99.0))
    found = read_structures(write(tmp_path_factory.mktemp("s"), {"Rectum": mask}, volume, origin))
    (structure,) = found.structures
    assert (structure.name, structure.kind) == ("Rectum", "ORGAN")
    assert structure.frame_uid == origin.frame_uid
    np.testing.assert_array_equal(structure.mask(volume), mask)


def test_the_same_patient_on_other_grids(tmp_path, origin):
    spacing = (2.0, 1.0, 1.0)
    volume = empty((30, 60, 60), spacing)
    mask = ball(volume.shape, spacing, 22)
    structure = read_structures(write(tmp_path / "s", {"BODY": mask}, volume, origin)).named("body")
    flipped = Volume(
        volume.array[::-1], spacing, tuple(volume.to_patient_mm([29, 0, 0])), volume.direction * [-1, 1, 1]
    )
    np.testing.assert_array_equal(structure.mask(flipped), mask[::-1])
    sagittal = volume.reoriented(np.roll(volume.direction, 1, axis=1))
    assert sagittal.shape == (60, 30, 60)
    assert structure.mask(sagittal).sum() == mask.sum()
    fine = Volume(np.zeros((60, 120, 120), np.float32), (1.0, 0.5, 0.5), tuple(volume.to_patient_mm([-0.25] * 3)))
    assert dice(structure.mask(fine), ball(fine.shape, fine.spacing_mm, 22)) > 0.97
    coarse = empty((20, 60, 60), (3.0, 1.0, 1.0), origin_mm=tuple(volume.to_patient_mm([0.25, 0, 0])))
    assert dice(structure.mask(coarse), ball(coarse.shape, coarse.spacing_mm, 22)) > 0.97


def test_missing_contour_planes_leave_a_gap(tmp_path, origin):
    volume = empty((9, 12, 12))
    mask = np.zeros(volume.shape, bool)
    mask[[1, 2, 3, 6, 7], 3:9, 3:9] = True
    structure = read_structures(write(tmp_path / "s", {"Rectum": mask}, volume, origin)).named("RECTUM")
    assert structure.mask(volume).any(axis=(1, 2)).tolist() == mask.any(axis=(1, 2)).tolist()


@settings(max_examples=100)
@given(arrays(float, (12, 2), elements=st.integers(-40, 140).map(lambda n: n / 10 + 0.0371)))
def test_polygons_are_filled_by_the_even_odd_rule(ring):
    """Everywhere but on the outline itself, where either answer is right."""
    off = distance_to_outline(ring, (10, 11)) > 1e-6
    np.testing.assert_array_equal(_filled(ring, (10, 11))[off], polygon2mask((10, 11), ring)[off])


def distance_to_outline(ring, shape):
    points = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)[:, :, None]
    along = np.roll(ring, -1, axis=0) - ring
    share = ((points - ring) * along).sum(axis=-1) / np.maximum((along**2).sum(axis=-1), 1e-12)
    nearest = ring + np.clip(share, 0, 1)[..., None] * along
    return np.linalg.norm(points - nearest, axis=-1).min(axis=-1)


def test_what_cannot_be_a_mask_is_refused(tmp_path, origin, caplog):
    volume = empty((4, 12, 12))
    mask = np.zeros(volume.shape, bool)
    mask[1:3, 2:9, 2:9] = True
    found = read_structures(write(tmp_path / "s", {"Rectum": mask}, volume, origin))
    structure = found.named("rectum")
    with pytest.raises(InputError, match=r"no structures 'Prostate'. Its structures are Rectum"):
        found.named("Prostate")
    with pytest.raises(InputError, match="oblique to the slices"):
        structure.mask(empty(volume.shape, direction=rotation(0.3, 0.2, 0.1)))
    with pytest.raises(InputError, match="lies outside the volume"):
        structure.mask(empty(volume.shape, origin_mm=(500.0, 0.0, 0.0)))
    with pytest.raises(InputError, match="no closed contour"):
        Structure("empty", "", "", ()).mask(volume)
    assert structure.mask(empty(volume.shape, origin_mm=(4.0, 0.0, 0.0))).any()
    assert "reaches beyond the volume" in caplog.text


@pytest.mark.parametrize("numbers", ["1 2 3 4 5 6", "1 2 x 4 5 6 7 8 9", "1 2 nan 4 5 6 7 8 9", "", "1 2 3 4 5 6 7 8"])
def test_malformed_contours_are_refused(tmp_path, origin, numbers):
    content = numbers.replace(" ", "\\").encode() + b" "
    volume = empty((2, 6, 6))
    path = write(tmp_path / "s", {"Rectum": np.ones(volume.shape, bool)}, volume, origin)
    data = pydicom.dcmread(path)
    contour, tag = data.ROIContourSequence[0].ContourSequence[0], Tag("ContourData")
    contour._dict[tag] = RawDataElement(tag, "DS", len(content), content, 0, True, True)
    data.save_as(path)
    with pytest.raises(InputError, match="closed contour that is not made of three or more points"):
        read_structures(path)


def test_files_that_are_no_structure_set(tmp_path, origin):
    volume = empty((2, 6, 6))
    folder = write(tmp_path / "s", {"Rectum": np.ones(volume.shape, bool)}, volume, origin).parent
    (tmp_path / "note.txt").write_text("hello")
    for path in (folder / "CT.0001.dcm", tmp_path / "note.txt"):
        with pytest.raises(InputError, match=r"is not an RT Structure Set\. Give a DICOM file"):
            read_structures(path)
    with pytest.raises(InputError, match="is not a file"):
        read_structures(str(folder))


@pytest.fixture(scope="module")
def utrecht(tmp_path_factory):
    if not UTRECHT.is_file():
        pytest.skip("no shared folder")
    folder = tmp_path_factory.mktemp("utrecht")
    with tarfile.open(UTRECHT) as archive:
        archive.extractall(folder, filter="data")
    return folder


def test_a_real_structure_set_of_a_prostate(utrecht):
    """Contours are 3 mm apart, slices 2.5 mm: volumes are those of the contours' areas times their distance."""
    (path,) = utrecht.rglob("rtstruct_*.dcm")
    found = read_structures(path)
    assert found.names[:3] == ("body", "GTV", "BV_7700")
    header = pydicom.dcmread(next(path.parent.glob("ct_*.dcm")), stop_before_pixels=True)
    points = np.concatenate(found.named("body").contours)
    x, y, _ = map(float, header.ImagePositionPatient)
    spacing = (2.5, *map(float, header.PixelSpacing))
    grid = empty((110, header.Rows, header.Columns), spacing, origin_mm=(x, y, points[:, 2].min() - 5))
    volumes = {}
    for structure in found.structures:
        if structure.contours:
            volumes[structure.name] = structure.mask(grid).sum() * np.prod(spacing) / 1000
            ml = 3 * sum(map(area_mm2, structure.contours)) / 1000
            assert volumes[structure.name] == pytest.approx(ml, rel=0.06), structure.name
    assert 15_000 < volumes["body"] < 22_000
    assert 10 < volumes["GTV"] < volumes["CTV_7000"] < volumes["PTV_7000"] < 220
    assert 100 < volumes["Bladder"] < 400
    assert len({structure.frame_uid for structure in found.structures}) == 1
