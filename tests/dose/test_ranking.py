"""The benchmark that ranks sCTs: one plan for many of them, and rank correlations with closed forms."""

import json

import numpy as np
import pytest
from benchmarks.dose.arms import KNOWN
from benchmarks.dose.bodies import image, one_beam, scene, water, with_bone
from benchmarks.dose.cases import PLANS, plan_of
from benchmarks.dose.table import RESULTS, across_arms, tables, within_arms, within_people

from creps.dose.density import DEFAULT_TABLE
from creps.dose.differences import target_dose
from creps.dose.engine import Engine
from creps.dose.scene import with_sct
from creps.errors import InputError


def test_another_sct_on_the_same_plan_is_that_of_its_own_scene():
    first, own = scene(with_bone(), with_bone(), "photons"), scene(with_bone(), water(), "photons")
    other = with_sct(first, image(water(), "the sCT"), DEFAULT_TABLE)
    np.testing.assert_array_equal(other.sct.density, own.sct.density)
    assert other.ct is first.ct
    short = water()
    short[:, 36:] = -1000.0
    with pytest.raises(InputError, match=r"overlap by a Dice of only 0\."):
        with_sct(first, image(short, "the sCT"), DEFAULT_TABLE)


@pytest.mark.needs("pyRadPlan")
@pytest.mark.slow
def test_one_engine_gives_each_sct_the_dose_of_its_own_comparison():
    plan = one_beam("photons")
    first, own = scene(with_bone(), with_bone(), "photons"), scene(with_bone(), water(), "photons")
    errors = []
    for built in (first, own):
        engine = Engine(built, plan)
        weights, planned = engine.optimised()
        errors.append(target_dose(own, plan, planned, engine.recalculated(own.sct.density, weights)).error_percent)
    assert errors[0] == pytest.approx(errors[1], rel=1e-5)
    assert errors[0] > 0.5


def rows(values):
    """Rows of one radiation: arm → (MAE, dose error) of each person."""
    return [
        {"case": f"P{number}", "arm": arm, "mae_hu": mae, "bone_dice": 1 - mae / 100, "dose_error_percent": error}
        for arm, pairs in values.items()
        for number, (mae, error) in enumerate(pairs)
    ]


def test_a_dose_that_rises_with_mae_across_arms_may_fall_within_each():
    """Simpson's paradox: means of arms are ordered alike, people of one arm the other way round."""
    found = rows({arm: [(10 * k + n, 10 * k - n) for n in range(5)] for k, arm in enumerate("abc", 1)})
    assert across_arms(found, "mae_hu", "dose_error_percent") == pytest.approx((1, 1))
    assert list(within_arms(found, "mae_hu", "dose_error_percent")) == pytest.approx([-1, -1, -1])
    assert list(within_people(found, "bone_dice", "dose_error_percent")) == pytest.approx([1] * 5)


def test_one_swapped_pair_of_four_arms_has_its_closed_form():
    """Spearman: 1 - 6·2/(4·15); Kendall: (5 - 1)/6."""
    found = rows({arm: [(mae, error)] for arm, mae, error in (("a", 1, 1), ("b", 2, 3), ("c", 3, 2), ("d", 4, 4))})
    assert across_arms(found, "mae_hu", "dose_error_percent") == pytest.approx((0.8, 4 / 6))


@pytest.mark.parametrize("region", PLANS)
def test_kept_results_belong_to_the_plans_and_make_tables(region):
    content = json.loads((RESULTS / f"{region}.json").read_text())
    assert content["plans"] == json.loads(json.dumps(PLANS[region]))
    assert plan_of(region, "protons").prescription_gy == (2.0 if region == "head" else 3.0)
    arms = {row["arm"] for row in content["rows"]}
    assert {*content["models"], *KNOWN, "constant water", "crude guess (no network)"} <= arms
    assert all(len(model["weights_sha256"]) == 64 for model in content["models"].values())
    text = tables(RESULTS / f"{region}.json")
    assert all(arm in text for arm in arms)
