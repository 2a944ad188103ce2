"""A real planning CT with PTV, bladder and rectum: 29 slices missing, structures of another frame of reference."""

import tarfile
from dataclasses import replace

import numpy as np
import pytest

from creps.dose.grid import box_grid
from creps.dose.images import read_ct
from creps.dose.structures import find_structures
from creps.errors import InputError
from creps.io.dicom.read.structures import read_structures
from creps.preprocessing.mask import body_mask_ct
from creps.volume import Volume

pytestmark = [pytest.mark.needs("shared"), pytest.mark.slow]

SHIFT_MM = np.array([27.8, -87.5, 10.0])
"""From the structures' frame to the CT's: the outlines then agree by a Dice of 0.987."""

NAMES = ("PTV_7000", "Bladder", "Rectum")


@pytest.fixture(scope="module")
def folder(shared, tmp_path_factory):
    target = tmp_path_factory.mktemp("pelvis")
    with tarfile.open(shared / "data" / "dicom" / "utrecht_prostate_ct_rtstruct.tar.gz") as archive:
        archive.extractall(target, filter="data")
    return target / "Dcm"


@pytest.fixture(scope="module")
def filled(folder):
    ct = read_ct(folder, "CT", fill_gaps=True)
    return ct, body_mask_ct(ct.volume)


@pytest.fixture(scope="module")
def structure_file(folder):
    return next(folder.glob("rtstruct*"))


def grid_of(volume: Volume) -> Volume:
    corners = volume.corners_mm(edges=True)
    return box_grid(corners.min(axis=0), corners.max(axis=0), 5.0)


def test_missing_slices_are_refused(folder):
    with pytest.raises(InputError, match="misses 29 slices"):
        read_ct(folder, "CT")


def test_gaps_are_filled_on_request_and_recorded(filled):
    ct, _ = filled
    assert ct.volume.shape == (118, 480, 480)
    assert ct.volume.spacing_mm[0] == pytest.approx(2.5)
    assert ct.notes[0] == "29 missing slices of the CT were interpolated from their neighbours."
    assert ct.record["interpolated_slices"] is True


def test_another_frame_of_reference_is_refused(filled, structure_file):
    ct, body = filled
    with pytest.raises(InputError, match="is in another frame of reference than"):
        find_structures(structure_file, ct, body, grid_of(ct.volume), names=NAMES)


def test_an_ignored_frame_does_not_hide_an_outline_elsewhere(filled, structure_file):
    ct, body = filled
    with pytest.raises(InputError, match=r"outline 'body' .* agrees with the body in .* by a Dice of only 0\.5"):
        find_structures(structure_file, ct, body, grid_of(ct.volume), names=NAMES, any_frame=True)


def test_structures_brought_to_the_ct_lie_in_the_body(filled, structure_file):
    ct, body = filled
    structures = read_structures(structure_file)
    masks = {}
    for name in NAMES:
        one = structures.named(name)
        moved = replace(one, contours=tuple(ring + SHIFT_MM for ring in one.contours))
        masks[name] = ct.volume.with_array(moved.mask(ct.volume))
        assert body[masks[name].array > 0].mean() > 0.99
    grid = grid_of(ct.volume)
    found = find_structures(masks, ct, body, grid)
    for name, mask in masks.items():
        fine = float(mask.array.sum()) * float(np.prod(mask.spacing_mm))
        assert float(found[name].sum()) * 125 == pytest.approx(fine, rel=1e-3)
