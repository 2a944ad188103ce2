"""``train --from``: is the cohort like the MRs that the model was trained on?"""

import json
import logging
import re

import numpy as np
import pytest
from scipy import ndimage

from creps.cohort.cohort import load_cohort
from creps.cohort.prepare import prepare
from creps.intake.features import features_of
from creps.intake.profile import profile_from
from creps.io.itk import write_volume
from creps.training.run.cohort_fit import warn_of_other_mrs
from creps.training.run.train import train
from creps.volume import Volume
from tests.conftest import ball_head, tiny

FIXED = {"preparation.mr_scale": 1000.0}


def as_it_is(mr):
    return mr


def dim(mr):
    """A fifth of the signal: dark with a fixed divisor, but not black."""
    return mr.with_array(mr.array / 5)


def other_sequence(mr):
    """Brain dark and skull bright, in dark air."""
    bright = np.select([mr.array > 750, mr.array > 300, mr.array > 40], [150.0, 900.0, 700.0], mr.array)
    return mr.with_array(ndimage.median_filter(bright, 3).astype(np.float32))


def smaller(mr):
    d, h, w = mr.spacing_mm
    return Volume(mr.array, (0.6 * d, 0.6 * h, 0.6 * w))


def cohort_of(folder, change, seeds=range(20, 24), **settings):
    for seed in seeds:
        mr, ct = ball_head(seed)
        write_volume(change(mr), folder / "mr" / f"m{seed}.nii.gz")
        write_volume(ct, folder / "ct" / f"c{seed + 50}.nii.gz", integer=True)
    prepare((folder / "mr", folder / "ct"), folder / "cohort", settings=tiny(**settings))
    return load_cohort(folder / "cohort")


@pytest.fixture(scope="module")
def profile(tmp_path_factory):
    """Of eight heads, in their own units and with a fixed divisor."""
    cohort = cohort_of(tmp_path_factory.mktemp("known"), as_it_is, range(8), **FIXED)
    cases = cohort.cases("mr", "train")
    return profile_from(
        [(features_of(cohort.array(case), cohort.body(case), case.spacing_mm), case.patient) for case in cases]
    )


def test_heads_like_those_of_the_model_pass(profile, tmp_path, caplog):
    warn_of_other_mrs(cohort_of(tmp_path, as_it_is, **FIXED), profile)
    warn_of_other_mrs(cohort_of(tmp_path / "b", as_it_is, **FIXED), None)  # a model without a profile
    assert "unlike those of the model" not in caplog.text


@pytest.mark.parametrize(
    ("change", "part"), [(dim, "contrast|pattern"), (other_sequence, "contrast|pattern"), (smaller, "size")]
)
def test_other_mrs_are_told_with_their_figures(profile, tmp_path, caplog, change, part):
    cohort = cohort_of(tmp_path, change, **FIXED)
    caplog.set_level(logging.WARNING, logger="creps")
    warn_of_other_mrs(cohort, profile)
    found = re.search(rf"their ({part}) is ([\d.]+) times .* \(median in the body ([\d.]+), there about", caplog.text)
    assert found, caplog.text
    assert float(found[2]) >= 2  # both contrast and pattern are, where neither reaches 2.5
    median = np.median([np.median(cohort.array(case)[cohort.body(case)]) for case in cohort.cases("mr", "train")])
    assert float(found[3]) == pytest.approx(median, rel=0.06)


def test_training_from_a_model_says_it(tmp_path, caplog):
    once = {"training.steps": 1, **FIXED}
    caplog.set_level(logging.WARNING, logger="creps")
    train(cohort_of(tmp_path / "a", as_it_is, range(6), **FIXED), tmp_path / "base", tiny(**once))
    assert json.loads((tmp_path / "base" / "model" / "plan.json").read_text())["intake"] is not None
    train(cohort_of(tmp_path / "b", as_it_is, **FIXED), tmp_path / "like", tiny(**once), model=tmp_path / "base")
    assert "unlike those of the model" not in caplog.text
    train(cohort_of(tmp_path / "c", dim, **FIXED), tmp_path / "dim", tiny(**once), model=tmp_path / "base")
    assert "unlike those of the model to start from" in caplog.text
    assert "unlike those of the model to start from" in (tmp_path / "dim" / "log.txt").read_text()
