"""Units, padding, label maps and patients' names: what is kept and what is refused, by values that nibabel reads."""

import json
import logging
import os

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from benchmarks.cases.inputs import head, save, write_padded, write_units
from scipy import ndimage

from creps.cohort.patients import one_patient, patient_key
from creps.cohort.prepare import prepare
from creps.cohort.sources import Source
from creps.errors import CohortError, InputError
from creps.evaluation.evaluate import evaluate
from creps.evaluation.options import EvaluationOptions
from creps.io.itk import read_volume
from creps.preprocessing.label_maps import count_labels, named_as_labels
from creps.preprocessing.padding import ct_without_padding, find_padding, mr_without_padding, mr_without_undershoot
from creps.preprocessing.plausibility import check_below_air, check_ct, check_mr, check_mr_scale
from creps.preprocessing.preparation import prepare_mr
from creps.volume import Volume
from tests.test_prepare import settings


def volume(array):
    return Volume(np.ascontiguousarray(array.transpose(2, 1, 0)).astype(np.float32), (4, 4, 4))


@pytest.mark.parametrize("factor", [1 / 900, 1, 70])
def test_automatic_scale_makes_units_harmless(factor, tmp_path):
    write_units(tmp_path, mr=lambda a: factor * a)
    cohort = prepare((tmp_path / "MR", tmp_path / "CT"), tmp_path / "c", settings=settings())
    for case in cohort.cases("mr", "train"):
        original = np.asarray(nib.load(tmp_path / "MR" / case.source).dataobj) / factor
        assert case.mr_divisor * 2 == pytest.approx(factor * np.percentile(original[original > 30], 99.5), rel=0.02)
        assert np.median(cohort.array(case)[cohort.body(case)]) == pytest.approx(1.33, abs=0.05)


@pytest.mark.parametrize(
    ("factor", "words"), [(1 / 900, "almost black.*mr_scale auto"), (70, "saturated.*mr_scale auto")]
)
def test_a_fixed_scale_that_does_not_fit_is_refused(factor, words, tmp_path):
    write_units(tmp_path, mr=lambda a: factor * a)
    with pytest.raises(CohortError, match=words):
        prepare((tmp_path / "MR", tmp_path / "CT"), tmp_path / "c", settings=settings(**{"preparation.mr_scale": 1000}))
    assert not (tmp_path / "c").exists()


def test_limits_of_a_fixed_scale():
    check_mr_scale((1.0, 24.0, 77.0), 1000, "x", fixed=True)  # the darkest real MR
    check_mr_scale((0.0, 1e-4, 1e-3), 5e-4, "x", fixed=False)
    for intensity in ((0.0, 0.5, 49.0), (0.0, 2000.0, 3000.0), (-60.0, 300.0, 900.0), (0.0, 0.0, 900.0)):
        with pytest.raises(InputError, match=r"x (would be|has negative)"):
            check_mr_scale(intensity, 1000, "x", fixed=True)


@pytest.mark.parametrize("value", [0.0, 1.0, -2000.0, -3024.0, -32768.0])
def test_padding_of_a_rotated_ct_becomes_air_and_nothing_else_changes(value):
    image = sitk.GetImageFromArray(volume(head(3)[1]).array)
    turn = sitk.Euler3DTransform()
    turn.SetCenter([(n - 1) / 2 for n in image.GetSize()])
    turn.SetRotation(0.05, 0.03, 0.3)
    array, truth = (
        sitk.GetArrayFromImage(sitk.Resample(image, image, turn, sitk.sitkLinear, v)) for v in (value, -1000.0)
    )
    for cut in (np.s_[:], np.s_[3:-2, 4:, :-3]):
        restored, padding = ct_without_padding(Volume(array[cut], (4, 4, 4)))
        assert np.array_equal(restored.array, truth[cut])
        assert padding.value == value
        assert np.array_equal(padding.mask, array[cut] == np.float32(value))
        assert f"exactly {value:g} HU" in padding.note("ct")
    check_ct(restored, "x", padding)


def test_scans_without_padding_are_left_alone(shared):
    for path in sorted((shared / "data").glob("*/ct/*.nii.gz")):
        ct = read_volume(path)
        assert ct_without_padding(ct) == (ct, None), path.name
    assert find_padding(head(1)[1].astype(np.float32)) is None


@pytest.mark.parametrize(("background", "values"), [(-1000.0, (-2000.0,)), (0.0, (-2000.0, 0.0))])
def test_a_padded_circle_that_was_turned_is_padding_beside_the_background(background, values):
    """After a rotation the scanner's padding reaches no corner, and the resampling's background does."""
    scan = head(3)[1]
    y, x = np.mgrid[: scan.shape[1], : scan.shape[2]] - (np.array(scan.shape[1:])[:, None, None] - 1) / 2
    scan[:, np.hypot(y, x) > 0.48 * scan.shape[1]] = -2000
    image = sitk.GetImageFromArray(scan.astype(np.float32))
    turn = sitk.Euler3DTransform()
    turn.SetCenter([(n - 1) / 2 for n in image.GetSize()])
    turn.SetRotation(0.2, 0.2, 0.1)
    ct = Volume(sitk.GetArrayFromImage(sitk.Resample(image, image, turn, sitk.sitkLinear, background)), (4, 4, 4))
    restored, padding = ct_without_padding(ct)
    check_ct(restored, "x", padding)
    check_below_air(ct, "x", padding)
    assert {padding.value, *padding.others} == set(values)
    assert np.isin(np.rint(ct.array[padding.mask]), values).all()
    assert all(f"{value:g} HU" in padding.note("ct") for value in values)
    assert not ((restored.array == 0) & padding.mask).any()
    assert restored.array.min() > -1100


def test_slices_of_water_above_a_padded_circle_are_padding_too():
    scan = head(3)[1]
    scan[:, :4], scan[:, :, :4], scan[-5:] = -2000, -2000, 0
    restored, padding = ct_without_padding(Volume(scan.astype(np.float32), (4, 4, 4)))
    assert (restored.array[-5:] == -1000).all()
    assert padding.mask[-5:].all()


@pytest.mark.parametrize("background", [-1024, 0])
def test_a_padded_circle_turned_with_cubic_splines_is_no_wrong_unit(background, shared):
    """As elastix does by default: the values swing up to 6 voxels into the padding, down to -3500."""
    ct = read_volume(shared / "data" / "pelvis" / "ct" / "STS_012_ct.nii.gz")
    y, x = np.mgrid[: ct.shape[1], : ct.shape[2]]
    array = ct.array.copy()
    array[:, np.hypot(2 * y / (ct.shape[1] - 1) - 1, 2 * x / (ct.shape[2] - 1) - 1) > 0.98] = -3024
    turned = ndimage.rotate(array, 6, axes=(0, 2), reshape=False, order=3, cval=background)
    turned = ct.with_array(np.rint(turned))
    restored, padding = ct_without_padding(turned)
    check_ct(restored, "x", padding)
    check_below_air(turned, "x", padding)
    assert {padding.value, *padding.others} == {-3024, background} - {-1024}
    assert restored.array.min() >= -1100


@pytest.mark.parametrize("step", [8, 16, 32])
def test_fat_in_a_corner_of_a_ct_in_coarse_steps_is_no_padding(step, shared):
    """An 8-bit CT with a slope of 16: fat takes few values, and many of its voxels the same."""
    for path in sorted((shared / "data").glob("pelvis/ct/STS_0*.nii.gz")):
        ct = read_volume(path)
        coarse = ct.with_array(step * np.rint(ct.array / step))
        assert ct_without_padding(coarse) == (coarse, None), path.name


@pytest.mark.parametrize("value", [0, -3024])
def test_an_evaluation_leaves_padding_out(value, tmp_path):
    write_padded(tmp_path, value)
    result = evaluate(tmp_path / "sct.nii.gz", tmp_path / "ct.nii.gz")
    ct, sct = (np.asarray(nib.load(tmp_path / f"{n}.nii.gz").dataobj) for n in ("ct", "sct"))
    tissue = (ct > -400) & (np.arange(28) >= 6)[:, None, None]
    assert result.values["mae_hu"] == pytest.approx(np.abs(sct - ct)[tissue].mean(), abs=0.5)
    assert result.record["mask"]["voxels"] == pytest.approx(tissue.sum(), rel=0.02)
    assert any("padding" in note for note in result.record["notes"])


def test_a_constant_sct_in_the_scored_region_is_a_prediction_and_not_padding():
    """Water everywhere, or an sCT of a few densities, that reaches the corners of a scan cut on all sides."""
    _, ct = head(1)
    cut = (slice(None), slice(8, 20), slice(8, 20))
    ct = Volume(ct.astype(np.float32)[cut], (4, 4, 4))
    water = ct.with_array(np.zeros(ct.shape, np.float32))
    everywhere = ct.with_array(np.ones(ct.shape, np.float32))
    result = evaluate(water, ct, EvaluationOptions(mask=everywhere))
    assert result.values["mae_hu"] == pytest.approx(np.abs(ct.array).mean())
    assert not [note for note in result.record["notes"] if "padding" in note]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: np.clip(a + 1024, 0, 4095), "raw values: subtract 1024"),
        (lambda a: np.where(np.arange(28)[:, None, None] < 4, -1024, a + 1024), "is not a CT in HU"),
        (lambda a: a / 1000, "normalised"),
        (lambda a: np.rint(255 * np.clip((a + 160) / 400, 0, 1)), "8-bit"),
        (lambda a: np.clip(a, -150, 150), "clipped at -150"),
        (lambda a: np.clip(a, -500, 3000), "clipped at -500"),
        (lambda a: np.clip(a, -1000, 400), "clipped at 400"),
        (lambda a: a / 10, "without air"),
        (lambda a: a + 1000, "without air"),
        (lambda a: a * 0.85, "median of its air is -85"),
        (lambda a: 1.0 * (a > -400), "label map"),
    ],
)  # fmt: skip
def test_values_that_no_patient_has_in_hu(change, words):
    restored, padding = ct_without_padding(volume(change(head(2)[1])))
    with pytest.raises(InputError, match=words):
        check_ct(restored, "x", padding)


def test_an_mr_turned_with_cubic_splines_keeps_its_body_and_its_padding(shared):
    """elastix and SPM leave a few voxels below 0 beside the skin: thresholds must not start from the lowest of them."""
    mr = read_volume(shared / "data" / "pelvis" / "mr" / "prostatex_0000_t2_tra.nii.gz")
    turned = ndimage.rotate(mr.array, 4, axes=(1, 2), reshape=False, order=3)
    turned = np.concatenate([np.zeros((3, *turned.shape[1:]), np.float32), turned])
    assert turned.min() < -0.05 * np.percentile(turned, 99)
    spacing = settings(**{"preparation.spacing_mm": (3, 3, 3)}).preparation
    found = prepare_mr(Volume(turned, mr.spacing_mm), spacing, "x")
    true = prepare_mr(Volume(np.maximum(turned, 0), mr.spacing_mm), spacing, "x")
    assert np.array_equal(found.body, true.body)
    assert np.array_equal(found.array, true.array)
    assert found.imaged == true.imaged
    assert found.imaged[0].start > 0


def test_signed_mrs_are_left_to_the_checks():
    mr = volume(head(1)[0])
    z_scored = mr.with_array((mr.array - mr.array.mean()) / mr.array.std())
    assert mr_without_undershoot(z_scored) is z_scored
    assert mr_without_undershoot(mr) is mr


def test_negative_padding_of_an_mr_becomes_0():
    mr = head(1)[0]
    mr[:2] = -1000
    restored, padding = mr_without_padding(volume(mr))
    assert restored.array.min() == 0
    assert padding.share == pytest.approx(2 / 28)
    ct = volume(head(1)[1])
    assert mr_without_padding(ct) == (ct, None)  # a CT stays one and is refused
    with pytest.raises(InputError, match="inverted"):
        check_mr(volume(920 - head(1)[0]), "x")


def test_label_maps_by_name_and_by_values(shared):
    for name in ("m1_seg", "m1-label", "M1.Labels", "brainmask", "sub-1_dseg"):
        assert named_as_labels(name)
    for name in ("seg3d_T1", "segal_01", "labelle", "m1", "m1_masked", "unmasked_T1"):
        assert not named_as_labels(name)
    labels = np.asarray(nib.load(shared / "data/head/labels/seg3d_T1_skull.nii.gz").dataobj)
    assert count_labels(labels.astype(np.float32)) == 2
    blocks = np.kron(np.random.default_rng(0).permutation(64).reshape(4, 4, 4), np.ones((8, 8, 8)))
    assert count_labels(blocks.astype(np.float32)) == 64
    for path in sorted((shared / "data").glob("*/mr/*.nii.gz")):
        mr = read_volume(path).array
        for levels in (8, 16, 256):
            assert not count_labels(np.rint(np.clip(mr / np.percentile(mr, 99.5), 0, 1) * (levels - 1))), path.name
        assert not count_labels(mr), path.name
    with pytest.raises(InputError, match="is a label map: it has only 2 different values"):
        check_mr(volume(1.0 * (head(0)[0] > 100)), "x")


@pytest.mark.parametrize(
    ("one", "other"),
    [("Bär1", "BÄR1"), ("case_001", "Case-1 "), ("p7_mr", "p7_ct"), ("MR_p07", "p7_T1"),
     ("sub-01_ses-1_T1w", "sub-01_ct")],
)  # fmt: skip
def test_two_spellings_of_one_patient(one, other):
    assert patient_key(one) == patient_key(other)


def test_different_patients_stay_different():
    names = ["m0", "m1", "P1_01", "P101", "P10_1", "1BA001", "1BA002", "site1_0001", "site1_0002", "mr", "ct"]
    assert len({patient_key(name) for name in names}) == len(names)
    sources = [Source(name, name, None, modality="mr") for name in ("site1_0001", "site1_0002", "site2_0001")]
    assert [s.patient for s in one_patient(sources)] == ["site1_0001", "site1_0002", "site2_0001"]
    given = [Source("a", "K1", None, patient_from="table"), Source("b", "k1", None), Source("c", "K-1", None)]
    assert [s.patient for s in one_patient(given)] == ["K1", "K1", "K-1"]


def test_nobody_is_in_training_and_validation(tmp_path, caplog):
    for i, (mr, ct) in enumerate([("Bär1", "BÄR1"), ("p_02_0000", "p_02"), ("x3_mr", "x3_ct"), ("Meier4", "Meyer4")]):
        save(head(i)[0], tmp_path / "MR" / f"{mr}.nii.gz")
        save(head(i)[1], tmp_path / "CT" / f"{ct}.nii.gz")
    with caplog.at_level(logging.WARNING):
        prepare((tmp_path / "MR", tmp_path / "CT"), tmp_path / "c", settings=settings())
    splits: dict[str, list[str]] = {}
    for case in json.loads((tmp_path / "c" / "manifest.json").read_text())["cases"]:
        splits.setdefault(case["patient"], []).append(case["split"])
    assert {name: len(own) for name, own in splits.items() if len(own) > 1} == {"BÄR1": 2, "p_02": 2, "x3_ct": 2}
    assert all(len(set(own)) == 1 for own in splits.values())
    assert "'Meier4' and 'Meyer4' differ by a letter" in caplog.text


def test_labels_that_are_no_integers_are_label_maps():
    labels = np.select([head(1)[0] > 700, head(1)[0] > 300, head(1)[0] > 30], [0.3, 0.1, 0.2], 0.0)
    assert count_labels(volume(labels).array) == len(np.unique(labels)) == 4
    assert count_labels(volume(head(1)[0]).array) == 0


@pytest.mark.parametrize("stem", ["m1_GTVp", "m1_ptv60", "m1_lesion", "m1_prob", "aparc+aseg", "m1_organs"])
def test_names_of_derived_volumes_are_no_images(stem):
    assert named_as_labels(stem)
    assert not named_as_labels(stem.replace("_", "").replace("+", ""))


def test_names_that_differ_by_a_date_or_a_copy_are_told(tmp_path, caplog):
    for i in range(4):
        mr, ct = head(i)
        save(mr, tmp_path / "MR" / f"pat{i}_20240101.nii.gz")
        save(ct, tmp_path / "CT" / (f"pat{i}_20240203.nii.gz" if i else "pat0 (1).nii.gz"))
    caplog.set_level(logging.WARNING, logger="creps")
    prepare((tmp_path / "MR", tmp_path / "CT"), tmp_path / "c", settings=settings())
    for i in range(4):
        assert f"'pat{i}_20240101'" in caplog.text
        assert (f"'pat{i}_20240203'" if i else "'pat0 (1)'") in caplog.text
    assert caplog.text.count("differ by a date") == 4


def test_an_image_that_was_made_of_another_is_the_same_patients():
    for derived in ("P07_brain", "p7-T1-tra", "P07_t1_reg", "CT_p07_planning"):
        assert patient_key(derived) == patient_key("p7")
    assert patient_key("brain") == "brain"


def test_a_pipe_among_the_files_is_passed_over(tmp_path):
    write_units(tmp_path)
    (tmp_path / "MR" / "more").mkdir()
    os.mkfifo(tmp_path / "MR" / "more" / "pipe")
    os.mkfifo(tmp_path / "MR" / "pipe.nii.gz")
    (tmp_path / "MR" / "loop").symlink_to(tmp_path / "MR", target_is_directory=True)
    cohort = prepare((tmp_path / "MR", tmp_path / "CT"), tmp_path / "c", settings=settings())
    assert len(cohort.manifest.cases) == 8
