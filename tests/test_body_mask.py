"""The body mask of a CT: couch and mask go, nose, ears and skin stay."""

import numpy as np
import pytest

from creps.io.itk import read_volume
from creps.preprocessing.mask import body_mask_ct
from creps.preprocessing.resample import resample
from creps.volume import Volume


def head(*, couch=True, shell=True, ear=True, spacing=(2.0, 2.0, 2.0)):
    """(CT, patient, couch and shell) of an ellipsoid with an airway, a nose, an ear, an open shell and a couch."""
    shape = tuple(int(n / s) for n, s in zip((200, 240, 220), spacing, strict=True))
    d, h, w = np.meshgrid(*[np.arange(n) * s for n, s in zip(shape, spacing, strict=True)], indexing="ij")

    def ellipsoid(scale):
        return ((d - 100) / (82 * scale)) ** 2 + ((h - 110) / (76 * scale)) ** 2 + ((w - 110) / (66 * scale)) ** 2 < 1

    patient = ellipsoid(1.0)
    patient |= (np.abs(w - 110) < 11) & (np.abs(d - 90) < 20) & (h > 22) & (h < 80)  # nose
    if ear:
        patient |= (np.abs(d - 95) < 28) & (np.abs(h - 115) < 4) & (w > 170) & (w < 186)
    airway = (np.abs(w - 110) < 2.5) & (np.abs(d - 78) < 2.5) & (h > 26) & (h < 100)  # open at the nostril
    things = np.zeros(shape, dtype=bool)
    if shell:
        in_front = (h < 130) & (d < 170)
        things |= ellipsoid(1.32) & ~ellipsoid(1.28) & in_front
        things |= (np.abs(np.abs(w - 110) - 86) < 2) & (h >= 120) & (h < 205) & (d > 30) & (d < 170)
    if couch:
        things |= (h > 203) & (h < 209)
        things |= (h > 226) & (h < 232)
        things |= (h > 203) & (h < 232) & ((w < 4) | (w > 214))  # closed at the sides: a box
    things &= ~patient
    ct = np.full(shape, -1000.0)
    ct[things] = 100
    ct[patient] = 30
    ct[airway] = -1000
    return Volume(ct.astype(np.float32), spacing), patient, things


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (3.0, 1.5, 1.5)])
def test_shell_and_couch_go_and_the_patient_stays(spacing):
    ct, patient, things = head(spacing=spacing)
    mask = body_mask_ct(ct)
    assert (mask & things).sum() < 0.02 * things.sum()
    assert (mask & patient).sum() > 0.985 * patient.sum()
    assert (mask & ~patient).sum() < 0.02 * patient.sum()


def test_nose_and_ear_are_kept():
    ct, with_ear, _ = head()
    mask = body_mask_ct(ct)
    without = head(ear=False)[1]
    ear = with_ear & ~without
    assert (mask & ear).sum() > 0.9 * ear.sum()
    nose = with_ear[:, :15]
    assert (mask[:, :15] & nose).sum() > 0.8 * nose.sum()


def test_a_patient_on_the_couch_takes_no_long_plate_along():
    ct, patient, _ = head(shell=False)
    array = ct.array.copy()
    array[:, 92:96] = 100  # a plate of 8 mm that touches the back of the head
    mask = body_mask_ct(ct.with_array(array))
    plate = np.zeros(ct.shape, dtype=bool)
    plate[:, 92:96] = True
    plate &= ~patient
    assert (mask & plate).sum() < 0.2 * plate.sum()


def test_the_couch_and_the_baseplate_of_a_real_planning_ct_go(shared):
    """Measured on the planning CT with mask and table: the table fills the rows behind the patient."""
    volume = read_volume(shared / "data" / "head" / "ct" / "pycerr_hn.nii.gz")
    ct = resample(volume.reoriented(), (2, 2, 2))
    mask = body_mask_ct(ct)
    behind = mask[:, 115:]
    assert (ct.array[:, 115:] > -400).sum() > 10_000  # there is a table
    assert behind.sum() < 0.01 * (ct.array[:, 115:] > -400).sum()
    assert 0.3 < mask.mean() < 0.45
