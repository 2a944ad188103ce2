"""Out-of-distribution score: closed forms on simple bodies, order, bounds, JSON; phantoms as the real thing."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from creps.cohort.cohort import Cohort
from creps.intake import profile as profile_module
from creps.intake.features import DEPTHS_MM, QUANTILES, features_of
from creps.intake.image_checks import Cuts
from creps.intake.profile import CAP, FLOORS, VOID_FLOOR_ML, IntakeProfile, profile_from, profile_of
from creps.model import Plan
from creps.preprocessing.preparation import prepare_mr
from creps.settings import InferenceSettings, PreparationSettings, load_settings
from tests.once import head_phantom, pelvis_phantom

HEAD = PreparationSettings(region="head", spacing_mm=(6, 6, 6), mr_scale="auto")


def block(shape=(30, 40, 50), box=((5, 25), (8, 32), (10, 40)), value=1.0):
    """A body of one value: array and mask."""
    body = np.zeros(shape, dtype=bool)
    body[tuple(slice(*edges) for edges in box)] = True
    return np.where(body, np.float32(value), np.float32(0)), body


def measured(patient, preparation=HEAD):
    prepared = prepare_mr(patient.mr, preparation, "an MR")
    return features_of(prepared.array, prepared.body, prepared.grid.spacing_mm)


@pytest.fixture(scope="module")
def heads():
    return [measured(head_phantom([3, i], 5.0, ct=False, centre=i % 3)) for i in range(9)]


def test_features_of_a_block_are_known():
    array, body = block()
    found = features_of(array, body, (4, 4, 4))
    assert found.size[:3] == (80, 96, 120)
    assert found.size[3] == pytest.approx((80 * 96 * 120) ** (1 / 3), abs=0.1)
    assert found.contrast == (1.0,) * (len(QUANTILES) * len(DEPTHS_MM))
    assert found.pattern == (1.0,) * 12
    assert found.shape == (1.0,) * 12
    assert (found.noise, found.void_ml) == (0.0, 0.0)


def test_heights_run_upwards_and_depths_backwards():
    array, body = block(box=((0, 28), (0, 30), (0, 50)), shape=(28, 30, 50))
    array[21:, :10] = 2.0  # the highest quarter, the foremost third
    found = features_of(array, body, (4, 4, 4))
    assert found.pattern.index(2.0) == 3 * 3
    assert found.pattern.count(2.0) == 1
    body[:7, 20:] = False  # the lowest quarter, the hindmost third
    assert features_of(array, body, (4, 4, 4)).shape == (1, 1, 0, *[1] * 9)


@pytest.mark.parametrize("fine", [1, 2, 4])
def test_features_do_not_depend_on_the_grid(fine):
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0.5, 1.5, (24, 28, 32)).astype(np.float32)
    body = np.zeros(coarse.shape, dtype=bool)
    body[4:20, 4:24, 4:28] = True
    expected = features_of(coarse, body, (4, 4, 4))
    for axis in range(3):
        coarse, body = np.repeat(coarse, fine, axis), np.repeat(body, fine, axis)
    found = features_of(coarse, body, (4 / fine,) * 3)
    for part in ("contrast", "pattern", "shape", "size", "void_ml"):
        assert getattr(found, part) == pytest.approx(getattr(expected, part), abs=1e-3)


@given(st.floats(0.01, 0.2), st.integers(0, 5))
@settings(max_examples=10)
def test_noise_is_measured_as_it_was_made(sigma, seed):
    array, body = block()
    noisy = array + np.random.default_rng(seed).normal(0, sigma, array.shape).astype(np.float32)
    assert features_of(noisy, body, (4, 4, 4)).noise == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize("radius_mm", [16.0, 24.0, 32.0])
def test_a_void_is_measured_by_the_ball_that_fits_in(radius_mm):
    array, body = block(shape=(60, 60, 60), box=((5, 55),) * 3)
    index = np.indices(array.shape) - 30
    array[np.sqrt((index**2).sum(axis=0)) * 2 < radius_mm] = 0
    found_mm = (features_of(array, body, (2, 2, 2)).void_ml * 1000 * 3 / 4 / np.pi) ** (1 / 3)
    assert radius_mm - 6 < found_mm <= radius_mm  # blocks of 4 mm that are partly bright are not dark


def test_a_thin_shell_without_signal_is_no_void():
    array, body = block(shape=(60, 60, 60), box=((5, 55),) * 3)
    shell = np.abs(np.abs(np.indices(array.shape) - 30).max(axis=0) - 15) <= 1  # 6 mm thick, litres large
    array[shell] = 0
    assert features_of(array, body, (2, 2, 2)).void_ml < 1


def test_a_case_of_the_training_has_no_distance(heads):
    found = profile_from([(one, str(i)) for i, one in enumerate(heads)])
    for one in heads:
        assert {part: found.score(one).parts[part] for part in FLOORS} == dict.fromkeys(FLOORS, 0.0)
    assert not found.weak
    assert found.score(heads[0]).record()["weak"] is False


def test_one_is_the_usual_distance_between_patients():
    """Along one feature the score is a closed form: distance to the nearest over the 95th percentile of neighbours."""
    array, body = block()
    base = features_of(array, body, (4, 4, 4))

    def of_noise(value):
        return base.model_copy(update={"size": (100.0, 100.0, 100.0, value)})

    values = 100 * np.exp(np.cumsum([0.0, 0.2, 0.2, 0.2, 0.2]))
    known = profile_from([(of_noise(v), str(v)) for v in values])
    assert known.usual["size"] == pytest.approx(0.2 / 2)  # root mean square over four numbers
    asked = of_noise(values[-1] * np.exp(0.3))
    assert known.score(asked).parts["size"] == pytest.approx(1.5, abs=0.01)


@given(st.randoms(use_true_random=False))
@settings(max_examples=10)
def test_the_order_of_cases_does_not_matter(random):
    array, body = block()
    rng = np.random.default_rng(1)
    cases = [(features_of(array * rng.uniform(0.5, 1), body, (4, 4, 4)), f"p{i % 4}") for i in range(6)]
    shuffled = cases.copy()
    random.shuffle(shuffled)
    assert profile_from(shuffled) == profile_from(cases)


def test_scans_of_one_patient_do_not_make_the_cohort_narrow(heads):
    """Two scans of each patient are no nearer to another patient than one is."""
    once = profile_from([(one, str(i)) for i, one in enumerate(heads)])
    twice = profile_from([(one, str(i)) for i, one in enumerate(heads) for _ in range(2)])
    assert twice.usual == pytest.approx(once.usual, rel=0.1)  # of other counts a quantile lies a little elsewhere
    assert twice.patients == len(heads)
    assert twice.cases_in_cohort == 2 * len(heads)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_cases_stay_sane_and_are_called_weak(heads, count):
    found = profile_from([(one, str(i)) for i, one in enumerate(heads[:count])])
    assert found.weak
    assert found.score(heads[5]).weak
    for part, floor in FLOORS.items():
        assert floor < found.usual[part] <= CAP * floor
    assert found.score(heads[3]).parts["size"] < 1


def test_a_handful_of_unlike_cases_does_not_make_everything_usual(heads):
    pelves = [measured(pelvis_phantom([5, i], 5.0, ct=False, centre=i)) for i in range(2)]
    mixed = profile_from([(one, str(i)) for i, one in enumerate([*heads[:2], *pelves])])
    assert all(mixed.usual[part] <= CAP * floor for part, floor in FLOORS.items())


def test_phantoms_of_the_same_centres_are_near_and_gross_mistakes_far(heads):
    known = profile_from([(one, str(i)) for i, one in enumerate(heads)])
    other = head_phantom([4, 0], 5.0, ct=False, centre=0)
    assert known.score(measured(other)).largest < 1.75
    top = float(np.percentile(other.mr.array[other.mask.array > 0], 99.5))
    negative = np.where(other.mask.array > 0, np.clip(top - other.mr.array, 0, None), other.mr.array)
    inverted = prepare_mr(other.mr.with_array(negative), HEAD, "an MR")
    assert known.score(features_of(inverted.array, inverted.body, HEAD.spacing_mm)).parts["contrast"] > 1.75
    pelvis = known.score(measured(pelvis_phantom([4, 0], 5.0, ct=False))).parts
    assert min(pelvis["size"], pelvis["shape"]) > 2.5


def test_noise_counts_where_there_is_more_of_it_only(heads):
    known = profile_from([(one, str(i)) for i, one in enumerate(heads)])
    noises = [one.noise for one in heads]
    assert known.score(heads[0].model_copy(update={"noise": min(noises) / 5})).parts["noise"] == 0
    assert known.score(heads[0].model_copy(update={"noise": max(noises) * np.e})).parts["noise"] == pytest.approx(
        1 / known.usual["noise"], rel=0.01
    )


def test_voids_are_compared_with_the_largest_of_the_training(heads):
    known = profile_from([(one, str(i)) for i, one in enumerate(heads)])
    largest = max(VOID_FLOOR_ML, *(one.void_ml for one in heads))
    asked = heads[0].model_copy(update={"void_ml": 3 * largest})
    assert known.score(asked).parts["void"] == pytest.approx(3, abs=0.01)


def test_a_profile_survives_the_plan_in_which_it_is_stored(cohort, tmp_path):
    found = profile_of(cohort)
    plan = Plan(
        preparation=cohort.manifest.preparation,
        generator=load_settings().generator,
        patch_size=(8, 8, 8),
        inference=InferenceSettings(),
        intake=found,
    )
    text = json.dumps(plan.model_dump(mode="json"), indent=2)
    assert Plan.model_validate(json.loads(text)).intake == found
    assert len(json.dumps(found.model_dump(mode="json"), indent=2).splitlines()) < 20 + 12 * len(found.cases)
    for case in cohort.manifest.cases:  # no names
        assert f'"{case.case}"' not in text
        assert case.source not in text


def test_a_profile_of_other_features_is_refused(heads):
    content = profile_from([(heads[0], "p")]).model_dump(mode="json")
    for change in ({"features_version": 2}, {"more": 1}, {"cases": []}, {"usual": {"size": 1.0}}):
        with pytest.raises(ValidationError):
            IntakeProfile.model_validate(content | change)


def test_only_training_mrs_of_the_cohort_count(cohort):
    found = profile_of(cohort)
    assert len(found.cases) == found.cases_in_cohort == len(cohort.cases("mr", "train"))
    case = cohort.cases("mr", "train")[0]
    assert features_of(cohort.array(case), cohort.body(case), case.spacing_mm) in found.cases
    reversed_cases = cohort.manifest.model_copy(update={"cases": cohort.manifest.cases[::-1]})
    assert profile_of(Cohort(cohort.folder, reversed_cases)) == found


def test_bodies_that_are_cropped_tightly_are_not_taken_for_cut_ones(cohort, monkeypatch):
    everywhere = np.ones(4, dtype=bool)
    monkeypatch.setattr(profile_module, "cut_slices", lambda *_: Cuts(everywhere, everywhere, everywhere, everywhere))
    assert profile_of(cohort).trained_on_cuts
    for margin_mm, cut_share in ((0.0, 0.0), (8.0, 1.0)):
        preparation = cohort.manifest.preparation.model_copy(update={"crop_margin_mm": margin_mm})
        cropped = Cohort(cohort.folder, cohort.manifest.model_copy(update={"preparation": preparation}))
        assert profile_of(cropped).cut_share == cut_share


def test_of_a_large_cohort_every_centre_is_represented(cohort, monkeypatch):
    one = cohort.cases("mr", "train")[0]
    centres = ["rare" if i == 7 else "usual" for i in range(20)]
    many = [
        one.model_copy(update={"patient": f"p{i}", "centre": centre, "prepared_sha256": f"{i:064x}"})
        for i, centre in enumerate(centres)
    ]
    monkeypatch.setattr(profile_module, "MOST_CASES", 5)
    chosen = profile_module._chosen(many)
    assert len(chosen) == 5
    assert "rare" in {case.centre for case in chosen}
    assert {case.patient for case in profile_module._chosen(many[::-1])} == {case.patient for case in chosen}


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
@settings(max_examples=25)
def test_any_body_can_be_measured(depth, height, width, seed):
    """However small, thin or dark: finite numbers, always the same count."""
    rng = np.random.default_rng(seed)
    body = rng.uniform(size=(depth, height, width)) < 0.5
    body.flat[rng.integers(body.size)] = True
    array = rng.uniform(0, 2, body.shape).astype(np.float32) * (seed % 3 > 0)
    found = features_of(array, body, (4.0, 1.0, 2.0))
    assert len(found.contrast) == len(QUANTILES) * len(DEPTHS_MM)
    numbers = [*found.contrast, *found.pattern, *found.shape, *found.size, found.noise, found.void_ml]
    assert np.isfinite(numbers).all()
    scores = profile_from([(found, "p")]).score(found)
    assert np.isfinite(list(scores.parts.values())).all()
