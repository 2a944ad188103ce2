"""What `evaluate` refuses from Python, and names that could be two cases."""

import logging

import numpy as np
import pytest

from creps.errors import CrepsError, InputError, SettingsError
from creps.evaluation import evaluate as evaluation
from creps.evaluation.batch import evaluate_folder, evaluate_pair
from creps.evaluation.comparison import compare
from creps.evaluation.images import label_names_of
from creps.evaluation.matching import match
from creps.evaluation.options import EvaluationOptions
from creps.evaluation.report import comparison_table, table
from creps.evaluation.results import CohortEvaluation, Evaluation
from creps.io.itk import write_volume
from creps.preprocessing.mask import body_mask_ct
from creps.volume import Volume
from tests.conftest import ball_head
from tests.test_evaluate_cli import write


def evaluate(sct, ct, mask=None, **options):
    return evaluation.evaluate(sct, ct, EvaluationOptions(mask=mask, **options))


@pytest.fixture(scope="module")
def images():
    """All that an evaluation takes: a CT, an sCT, a mask and labels on one grid."""
    ct = ball_head(1)[1]
    body = body_mask_ct(ct)
    return {
        "sct": ct.with_array(ct.array + 5),
        "ct": ct,
        "mask": ct.with_array(body),
        "labels": ct.with_array(np.where(ct.array > 600, 2, 1) * body),
    }


NAMES = {1: "rest", 2: "bone"}


def changed(volume, value):
    """One voxel in the middle of the head is something else."""
    array = volume.array.copy()
    array[tuple(n // 2 for n in array.shape)] = value
    return volume.with_array(array)


def test_all_of_it_can_be_scored(images):
    assert evaluate(**images, label_names=NAMES).values["mae_bone_hu"] == pytest.approx(5)


@pytest.mark.parametrize("role", ["sct", "ct", "mask", "labels"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(images, role, value):
    with pytest.raises(InputError, match="contains NaN or infinite values"):
        evaluate(**images | {role: changed(images[role], value)}, label_names=NAMES)


@pytest.mark.parametrize("factor", [1e30, -1e30, 1e4])
def test_an_sct_with_values_no_ct_has_is_refused(images, factor):
    sct = images["sct"]
    with pytest.raises(InputError, match=r"the sCT has values from .* no CT has values beyond 1e\+06"):
        evaluate(sct.with_array(sct.array * np.float32(factor)), images["ct"])


def test_a_ct_is_no_mask(images):
    with pytest.raises(InputError, match=r"the mask of the sCT has values from -1.* it is not a mask"):
        evaluate(images["sct"], images["ct"], images["ct"])


def test_large_class_numbers_are_refused(images):
    for value in (70_000, 3e10):
        with pytest.raises(InputError, match=r"the label volume of the sCT has values up to .* above 65535"):
            evaluate(**images | {"labels": changed(images["labels"], value)}, label_names=NAMES)
    assert evaluate(**images | {"labels": changed(images["labels"], 65535)}, label_names={65535: "one"})
    for names in ({30_000_000_000: "a"}, {-1: "a"}, {"1": "a"}, {1.5: "a"}):
        with pytest.raises(InputError, match="is not a class number from 0 to 65535"):
            label_names_of(names)
    with pytest.raises(InputError, match="names no class"):
        label_names_of({})


def test_an_array_is_not_an_image(images):
    arrays = {role: volume.array for role, volume in images.items()}
    for role in images:
        with pytest.raises(
            InputError, match=rf"^{role} is of the type ndarray.*Give creps\.Volume\(array, spacing_mm\)"
        ):
            evaluate(**images | {role: arrays[role]}, label_names=NAMES)
    with pytest.raises(InputError, match=r"^ct is of the type NoneType"):
        evaluate(images["sct"], None)


@pytest.mark.parametrize("register", ["affine", "", True])
def test_only_the_registrations_that_there_are(images, register):
    """Anything else would be taken for a rigid one from the centres."""
    with pytest.raises(SettingsError, match=r"There is no registration .*'rigid' or 'rigid-centres'"):
        evaluate(images["sct"], images["ct"], register=register)


def test_options_that_exclude_each_other(images, tmp_path):
    with pytest.raises(SettingsError, match="Registration already resamples the CT to the sCT's grid"):
        EvaluationOptions(resample=True, register="rigid")
    for options in ({"labels": images["labels"]}, {"label_names": NAMES}):
        with pytest.raises(SettingsError, match="go together"):
            EvaluationOptions(**options)
    with pytest.raises(SettingsError, match="names the CTs in a folder"):
        evaluate(images["sct"], images["ct"], truth="ct_clean")
    for options in ({"mask": images["mask"]}, {"labels": images["labels"], "label_names": NAMES}):
        with pytest.raises(SettingsError):
            evaluate_folder(tmp_path, tmp_path, EvaluationOptions(**options))


def test_a_shifted_grid_of_the_same_size_is_told_by_how_far(images):
    ct, mask = images["ct"], images["mask"]
    x, y, z = ct.origin_mm
    moved = Volume(mask.array, mask.spacing_mm, (x + 30, y, z + 40), mask.direction)
    with pytest.raises(InputError, match=r"mm from .*; its corners lie up to 50 mm from the sCT's\. Give it on"):
        evaluate(images["sct"], ct, moved)
    with pytest.raises(
        InputError, match=r"the CT \(.* a different grid from the sCT .*up to 50 mm from the sCT's\. Add"
    ):
        evaluate(images["sct"], Volume(ct.array, ct.spacing_mm, moved.origin_mm, ct.direction))


def test_too_few_slices_to_register(images):
    thin = {role: Volume(one.array[20:23], (20, 4, 4), one.origin_mm, one.direction) for role, one in images.items()}
    with pytest.raises(InputError, match=r"the sCT: the fixed image has 3 x .* registration needs at least 4"):
        evaluate(thin["sct"], thin["ct"], thin["mask"], register="rigid")


def test_a_single_refusal_is_said_once(images, tmp_path, caplog):
    write_volume(images["sct"], tmp_path / "sct.nii.gz")
    with caplog.at_level(logging.WARNING), pytest.raises(CrepsError, match="does not exist"):
        evaluate_pair(tmp_path / "sct.nii.gz", tmp_path / "none.nii.gz")
    assert not caplog.records


@pytest.mark.parametrize(
    ("names", "two"),
    [
        (["p1.mha", "p1.nii.gz"], "p1.mha and p1.nii.gz"),
        (["p1_ct.mha", "p1_CT.nii.gz"], "p1_CT.nii.gz and p1_ct.mha"),
        (["p1.mha", "p1_mask.mha", "p1_mask.nii.gz"], "p1_mask.mha and p1_mask.nii.gz"),
        (["p1.mha", "p1_organs.mha", "p1_organs.nrrd"], "p1_organs.mha and p1_organs.nrrd"),
        (["p1/ct.mha", "p1/mask.mha", "p1/mask.nii.gz"], r"p1/mask.mha and p1/mask.nii.gz"),
        (["p1/ct.mha", "p1/organs.mha", "p1/Organs.nrrd"], r"p1/Organs.nrrd and p1/organs.mha"),
        (["p1/ct.mha", "p1/ct.nii.gz"], r"p1/ct.mha and p1/ct.nii.gz"),
    ],
)
def test_two_files_for_one_case_are_never_picked_from(tmp_path, names, two):
    write(tmp_path / "s", "p1_sct.nii.gz")
    write(tmp_path / "t", *names)
    with pytest.raises(InputError, match=f"contains two files for case 'p1': {two}"):
        match(tmp_path / "s", tmp_path / "t", labels="organs")


def test_two_files_of_something_else_do_not_matter(tmp_path):
    write(tmp_path / "s", "p1_sct.nii.gz")
    write(tmp_path / "t", "p1_ct.mha", "p1_mr.mha", "p1_mr.nii.gz", "p2_mask.mha", "p2_mask.nii.gz")
    write(tmp_path / "u", "p1/ct.mha", "p1/mr.mha", "p1/mr.nii.gz", "mask.mha", "mask.nii.gz")
    for folder in ("t", "u"):
        assert [pair.case for pair in match(tmp_path / "s", tmp_path / folder).pairs] == ["p1"]


def test_a_figure_that_some_cases_lack_shows_how_many_have_it():
    about = {"alignment": {"kind": "same grid"}, "mask": {"source": "given"}, "notes": []}
    scored = {
        case: Evaluation({"mae_hu": 5.0, "bone_hd95_mm": hd95}, {} if hd95 else {"bone_hd95_mm": "none"}, about)
        for case, hd95 in (("p1", 2.0), ("p2", None), ("p3", None))
    }
    row = CohortEvaluation(scored, {}).summary()["bone_hd95_mm"]
    assert (row["n"], row["missing"], row["mean"]) == (1, 2, 2.0)
    lines = table(CohortEvaluation(scored, {})).splitlines()
    assert next(line for line in lines if line.startswith("bone HD95")).split()[-5:] == ["1", "of", "3", "2.00", "(p1)"]
    assert next(line for line in lines if line.startswith("MAE")).split()[-3:] == ["3", "5.0", "(p1)"]
    compared = comparison_table(compare(scored, scored)).splitlines()
    assert " 1 of 3 " in next(line for line in compared if line.startswith("bone HD95"))
    assert " of " not in next(line for line in compared if line.startswith("MAE"))
