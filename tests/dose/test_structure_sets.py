"""Structures from an RTSTRUCT: on the CT that they were drawn on, and on others."""

from dataclasses import replace

import numpy as np
import pytest

from creps.dose.images import CtImage, read_ct
from creps.dose.structures import find_structures
from creps.errors import InputError
from creps.io.dicom.read.structures import read_structures
from creps.io.dicom.write.ct import write_ct
from creps.io.dicom.write.structures import write_structures
from creps.volume import Volume
from tests.test_dicom_structures import ball
from tests.written_dicom import DERIVATION, source_of

SHAPE, SPACING = (20, 44, 40), (4.0, 3.0, 3.0)


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """A CT series of a ball, with an RTSTRUCT of its body and of a target: (folder, file, masks, volume)."""
    folder = tmp_path_factory.mktemp("series")
    masks = {"Body": ball(SHAPE, SPACING, 38.0), "PTV": ball(SHAPE, SPACING, 12.0)}
    noise = np.random.default_rng(0).normal(0, 15, SHAPE)
    array = np.select([ball(SHAPE, SPACING, 8.0), masks["Body"]], [900.0, 20.0], -1000.0) + noise
    volume = Volume(np.clip(array, -1024, 2000).astype(np.float32), SPACING)
    origin = source_of(folder / "mr")
    written = write_ct(folder / "ct", volume, origin, DERIVATION)
    write_structures(folder / "RS.dcm", masks, volume, written, origin, DERIVATION)
    return folder / "ct", folder / "RS.dcm", masks, volume


def test_contours_become_shares_of_the_dose_grid(series):
    folder, file, masks, _ = series
    ct = read_ct(folder, "CT")
    assert ct.frame_uid
    found = find_structures(file, ct, ct.volume.array > -300, ct.volume)
    assert list(found) == ["PTV"], "the outline is no organ"
    assert float(found["PTV"].sum()) == pytest.approx(masks["PTV"].sum(), rel=0.03)


def test_structures_of_another_frame_are_refused(series):
    folder, file, _, _ = series
    ct = replace(read_ct(folder, "CT"), frame_uid="1.2.3.4")
    with pytest.raises(InputError, match=r"Structure 'Body' of .*RS\.dcm is in another frame of reference"):
        find_structures(file, ct, ct.volume.array > -300, ct.volume)
    assert find_structures(file, ct, ct.volume.array > -300, ct.volume, any_frame=True)


def test_an_outline_elsewhere_is_refused_even_in_the_same_frame(series):
    folder, file, _, volume = series
    ct = read_ct(folder, "CT")
    elsewhere = np.roll(ct.volume.array > -300, 14, axis=2)
    with pytest.raises(InputError, match=r"outline 'Body' of .* by a Dice of only 0\.\d\d\. Give the structure set"):
        find_structures(file, ct, elsewhere, volume)


def test_structures_of_a_volume_file_have_no_frame_to_compare(series):
    folder, file, _, _ = series
    ct = read_ct(folder, "CT")
    plain = CtImage(ct.volume, "ct.nii.gz", None, {})
    assert list(find_structures(file, plain, ct.volume.array > -300, ct.volume)) == ["PTV"]


def test_only_named_structures_are_read(series):
    folder, file, _, _ = series
    ct = read_ct(folder, "CT")
    assert read_structures(file).names == ("Body", "PTV")
    with pytest.raises(InputError, match="has no structure to report"):
        find_structures(file, ct, ct.volume.array > -300, ct.volume, names=("rectum",))
