"""A CT that was resampled elsewhere and does not reach all of the sCT's body."""

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from creps.errors import InputError
from creps.evaluation.coverage import uncovered
from creps.evaluation.evaluate import evaluate
from creps.evaluation.options import EvaluationOptions
from creps.volume import Volume
from tests.conftest import ball_head

CUT = 14
"""Slices at the head's end that the CT does not reach."""


@pytest.fixture(scope="module")
def ct():
    ct = ball_head(3, shape=(44, 48, 46))[1]
    noise = np.random.default_rng(1).normal(0, 10, ct.shape)
    return Volume(np.round(ct.array + noise), (4, 4, 4))


@pytest.fixture(scope="module")
def sct(ct):
    return ct.with_array(np.clip(ct.array + np.random.default_rng(0).normal(0, 40, ct.shape), -1024, 3000))


@pytest.fixture(scope="module")
def in_its_own_grid(ct, sct):
    """What the CT's own grid gives, without any padding."""
    short = Volume(ct.array[:-CUT], ct.spacing_mm, ct.origin_mm, ct.direction)
    return evaluate(sct, short, EvaluationOptions(resample=True)).values


def cut(ct, value):
    array = ct.array.copy()
    array[-CUT:] = value
    return ct.with_array(array)


def same(values, expected):
    assert values["mae_hu"] == pytest.approx(expected["mae_hu"], abs=0.1)
    assert values["body_dice"] == pytest.approx(expected["body_dice"], abs=0.002)
    assert values["body_hd95_mm"] == pytest.approx(expected["body_hd95_mm"], abs=0.1)


@pytest.mark.parametrize("padding", [-1000, -1024, -3024])
def test_what_the_ct_does_not_cover_is_left_out_and_said(ct, sct, in_its_own_grid, padding):
    found = evaluate(sct, cut(ct, padding))
    same(found.values, in_its_own_grid)
    hidden = sct.array[-CUT:] > -400
    said = found.record["not_covered"]
    assert said["body_ml"] == pytest.approx(hidden.sum() * 0.064, rel=0.05)
    assert said["slices"] == int(hidden.any(axis=(1, 2)).sum())
    *about_padding, note = found.record["notes"]
    assert ["exactly -3024 HU" in one for one in about_padding] == [True] * (padding == -3024)
    assert f"does not cover {said['body_ml']:.1f} ml of the body in {said['slices']} slices" in note


def test_a_ct_that_covers_everything_loses_nothing(ct, sct):
    found = evaluate(sct, ct)
    assert found.record["not_covered"] == {"body_ml": 0, "slices": 0}
    assert not found.record["notes"]
    assert not uncovered(ct).any()


def test_air_that_was_measured_counts(ct, sct):
    """With noise, the room above the head is real: a body that the sCT has there is an error."""
    air = np.random.default_rng(2).normal(-1000, 10, (CUT, *ct.shape[1:]))
    found = evaluate(sct, cut(ct, air))
    assert found.record["not_covered"]["slices"] == 0
    assert found.values["body_dice"] < 0.95


@pytest.mark.parametrize("low", [-1000, -1024])
def test_air_without_noise_around_a_whole_body_counts(ct, sct, low):
    """CTs whose room was blanked out have one value all around the body, which covers nothing up."""
    blank = ct.with_array(np.where(ct.array < -500, low, ct.array))
    assert not uncovered(blank).any()
    assert evaluate(sct, blank).record["not_covered"]["slices"] == 0


def test_a_blanked_ct_that_ends_in_the_head_is_recognised(ct, sct, in_its_own_grid):
    found = evaluate(sct, cut(ct.with_array(np.where(ct.array < -500, -1000, ct.array)), -1000))
    same(found.values, in_its_own_grid)
    assert found.record["not_covered"]["slices"] > 3


@pytest.mark.parametrize("interpolator", [sitk.sitkLinear, sitk.sitkBSpline])
def test_a_turned_field_of_view_is_recognised(ct, sct, interpolator):
    """ITK fills what a turned CT does not reach, a wedge, with the value it is given."""
    turned = sitk.Euler3DTransform()
    turned.SetCenter((90, 90, 88))
    turned.SetRotation(0.15, 0.1, 0.1)
    short = Volume(ct.array[:-CUT], ct.spacing_mm, ct.origin_mm, ct.direction)
    grid = sct.to_sitk()
    moved = Volume.from_sitk(sitk.Resample(short.to_sitk(), grid, turned, interpolator, -1000.0))
    other = Volume.from_sitk(sitk.Resample(sct.to_sitk(), grid, turned, interpolator, -1000.0))
    everywhere = sitk.Resample(
        short.with_array(np.ones(short.shape)).to_sitk(), grid, turned, sitk.sitkNearestNeighbor, 0.0
    )
    missing = (sitk.GetArrayFromImage(everywhere) == 0) & (other.array > -400)
    found = evaluate(other, moved)
    assert found.record["not_covered"]["body_ml"] == pytest.approx(missing.sum() * 0.064, rel=0.15)
    assert found.values["body_dice"] > 0.99
    assert found.values["mae_hu"] < 45


def test_a_mask_counts_only_where_the_ct_has_data(ct, sct):
    mask = ct.with_array(np.ones(ct.shape))
    found = evaluate(sct, cut(ct, -1000), EvaluationOptions(mask=mask))
    assert found.record["mask"]["voxels"] == (ct.shape[0] - CUT) * ct.shape[1] * ct.shape[2]
    assert found.record["not_covered"]["slices"] == CUT


def test_padding_stays_left_out_when_the_ct_is_resampled_once_more(ct, sct, in_its_own_grid):
    finer = Volume(np.repeat(cut(ct, -1000).array, 2, axis=0), (2, 4, 4), (0, 0, -1), ct.direction)
    found = evaluate(sct, finer, EvaluationOptions(resample=True))
    assert found.record["not_covered"]["slices"] > 3
    assert found.values["body_dice"] == pytest.approx(in_its_own_grid["body_dice"], abs=0.01)


def test_a_ct_registered_in_its_sform_is_scored_where_nibabel_shows_it(tmp_path, ct, sct):
    """The scanner's place stays in the qform, the registration is in the sform with code 2."""
    away = sct.affine.copy()
    away[:3, 3] += [15, -10, 8]
    flip = (2, 1, 0)
    image = nibabel.Nifti1Image(ct.array.transpose(flip), sct.affine[:, [2, 1, 0, 3]])
    image.set_qform(away[:, [2, 1, 0, 3]], 1)
    image.set_sform(sct.affine[:, [2, 1, 0, 3]], 2)
    nibabel.save(image, tmp_path / "ct.nii.gz")
    found = evaluate(sct, tmp_path / "ct.nii.gz")
    assert found.record["alignment"] == {"kind": "same grid"}
    assert found.values["mae_hu"] == pytest.approx(evaluate(sct, ct).values["mae_hu"], abs=1e-3)
    image.set_sform(away[:, [2, 1, 0, 3]], 2)
    nibabel.save(image, tmp_path / "away.nii.gz")
    with pytest.raises(InputError, match="different grid"):
        evaluate(sct, tmp_path / "away.nii.gz")
