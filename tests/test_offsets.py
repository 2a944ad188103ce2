"""Values that are shifted, scaled or wrapped around: refused, with figures that NumPy gives of the same arrays."""

import json

import numpy as np
import pytest
from benchmarks.cases.inputs import head, save
from scipy import ndimage

from creps.errors import InputError
from creps.evaluation.evaluate import evaluate
from creps.intake.image_checks import check_field_of_view, measure_cuts
from creps.io.itk import read_volume
from creps.preprocessing.plausibility import check_below_air, check_ct, check_mr
from creps.preprocessing.preparation import prepare_ct, prepare_mr
from creps.volume import Volume
from tests.conftest import tiny

SETTINGS = tiny(**{"preparation.spacing_mm": [4.0, 4.0, 4.0], "preparation.mr_scale": "auto"}).preparation


def volume(array):
    return Volume(np.ascontiguousarray(array.transpose(2, 1, 0)).astype(np.float32), (4, 4, 4))


@pytest.mark.parametrize("offset", [200, 500, 1024])
def test_an_mr_with_an_offset_is_refused_with_its_size(offset):
    shifted = head(1)[0] + offset
    with pytest.raises(InputError, match=r"has an offset: 99 % of its voxels lie above") as caught:
        prepare_mr(volume(shifted), SETTINGS, "m.nii.gz")
    assert f"above {np.percentile(shifted, 1):.0f}," in caught.value.what
    prepare_mr(volume(head(1)[0]), SETTINGS, "m.nii.gz")


@pytest.mark.parametrize("noise", [0.05, 0.1, 0.15])
def test_noise_in_the_air_is_no_offset(noise):
    mr, rng = head(1)[0], np.random.default_rng(0)
    sigma = noise * 900
    check_mr(volume(np.hypot(mr + rng.normal(0, sigma, mr.shape), rng.normal(0, sigma, mr.shape))), "m")


def test_an_mr_that_wrapped_around_is_refused():
    mr = head(1)[0]
    wrapped = np.where(mr < 3, 65535, mr)
    share = 100 * float((wrapped == 65535).mean())
    with pytest.raises(InputError, match=rf"{share:.2g} % of its voxels at 65535, \d+ times as bright"):
        prepare_mr(volume(wrapped), SETTINGS, "m.nii.gz")
    check_mr(volume(np.minimum(mr, 700)), "an MR that is clipped at the top")
    vessel = mr.copy()
    vessel[14, 17, 15] = 60000
    check_mr(volume(vessel), "an MR with one bright voxel")


CTS = {
    "1024 subtracted twice": (lambda a: a - 1024, r"7\d % of its voxels lie below"),
    "twice the values": (lambda a: 2 * a, "not a CT in HU"),
    "100 too high": (lambda a: a + 100, "median of its air is -900"),
    "nine tenths": (lambda a: 0.9 * a, "median of its air is -900"),
}


@pytest.mark.parametrize(("change", "words"), CTS.values(), ids=CTS.keys())
def test_a_ct_that_is_shifted_or_scaled_is_refused(change, words, tmp_path):
    ct = head(2)[1]
    with pytest.raises(InputError, match=words):
        prepare_ct(volume(change(ct)), SETTINGS, "c.nii.gz")
    save(ct, tmp_path / "sct.nii.gz")
    save(change(ct), tmp_path / "ct.nii.gz")
    with pytest.raises(InputError, match=words):
        evaluate(tmp_path / "sct.nii.gz", tmp_path / "ct.nii.gz")


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("value", [0.0, -1024.0, -3024.0])
def test_a_rotated_ct_is_no_scaled_one(order, value):
    """Whatever the interpolation does at its edges, the body stays as large as in the CT that was turned with air."""
    ct = head(2)[1]
    turned = [ndimage.rotate(ct, 17, axes=(0, 1), reshape=False, order=order, cval=v) for v in (value, -1000.0)]
    prepared, right = (prepare_ct(volume(one), SETTINGS, "c") for one in turned)
    assert abs(prepared.body.sum() / right.body.sum() - 1) < 0.01


def test_lungs_are_no_shifted_air():
    """Half of the air is lung: -850 on average, but spread."""
    ct, rng = head(2)[1], np.random.default_rng(0)
    ct[ct < -500] = rng.normal(-870, 60, int((ct < -500).sum()))
    ct[:2] = rng.normal(-1000, 10, ct[:2].shape)
    prepare_ct(volume(ct), SETTINGS, "c.nii.gz")


def test_real_volumes_pass(shared):
    for path in sorted(shared.glob("data/*/mr/*.nii.gz")):
        check_mr(read_volume(path), path.name)
    for path in sorted(shared.glob("data/*/ct/*.nii.gz")):
        ct = read_volume(path)
        check_ct(ct, path.name)
        check_below_air(ct, path.name, None)


def test_an_sct_in_other_units_is_told(tmp_path):
    ct = head(2)[1]
    save(ct, tmp_path / "ct.nii.gz")
    save(ct + 1024, tmp_path / "sct.nii.gz")
    notes = evaluate(tmp_path / "sct.nii.gz", tmp_path / "ct.nii.gz").record["notes"]
    body = ct[ct > -300]
    assert any(f"the CT's {np.median(body):.0f} HU: is the sCT in HU?" in note for note in notes), json.dumps(notes)
    save(ct + np.random.default_rng(1).normal(0, 150, ct.shape), tmp_path / "sct.nii.gz")
    assert not any("HU?" in n for n in evaluate(tmp_path / "sct.nii.gz", tmp_path / "ct.nii.gz").record["notes"])


def test_padding_of_an_mr_is_no_cut_field_of_view():
    mr = np.pad(head(1)[0], ((3, 3), (3, 3), (0, 0)), constant_values=-1000.0)
    prepared = prepare_mr(volume(mr), SETTINGS, "m")
    assert check_field_of_view(measure_cuts(volume(mr), prepared)) == []


@pytest.mark.parametrize(("slices", "spacing_mm"), [(2, 5.0), (3, 5.0), (6, 3.0)])
def test_a_few_slices_are_not_called_a_wrong_spacing(slices, spacing_mm):
    mr = Volume(head(1)[0][:slices].astype(np.float32), (spacing_mm, 4, 4))
    with pytest.raises(InputError, match=f"x has only {slices} slices, {slices * spacing_mm:g} mm in all"):
        check_mr(mr, "x")


def test_a_spacing_in_cm_is_called_one():
    mr = Volume(head(1)[0].astype(np.float32), (0.4, 0.4, 0.4))
    with pytest.raises(InputError, match="impossible for a patient"):
        check_mr(mr, "x")
