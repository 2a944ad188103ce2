"""Training health: made-up histories of every kind of trouble, and quiet where there is none."""

import math
import random

import pytest

from creps.figures.curves import LOSSES, VALIDATION
from creps.training.health import RECENT, decision, diagnose
from creps.training.report import TERM_NAMES
from creps.training.run import monitor


def validations(scores, every=100, **values):
    good = {"place_distance_hu": 40.0, "bone_ratio": 1.0, "spread_ratio": 1.0, "train_eval_difference_hu": 10.0}
    return [{"step": every * (i + 1.0), "validation_score": float(s), **good, **values} for i, s in enumerate(scores)]


def losses(real, fake, rows=20, noise=0.0, suffix="", seed=0):
    rng = random.Random(seed)
    return [
        {
            "step": 10.0 * i,
            f"d_real{suffix}": real + rng.uniform(-noise, noise),
            f"d_fake{suffix}": fake + rng.uniform(-noise, noise),
        }
        for i in range(rows)
    ]


def test_a_run_that_improves_is_healthy():
    history = validations([200, 120, 90, 85, 86, 84, 88, 83]) + losses(0.5, 0.5, noise=0.2)
    for loss in ("bce", "least_squares"):
        assert diagnose(history, loss) == {}
        assert diagnose([], loss) == {}


def test_bone_that_stays_away_is_said_after_three_validations():
    """A real run with 0.27 to 0.18 of the CTs' bone was called healthy, and had lost a third of the skull."""
    assert diagnose(validations([190, 190], bone_ratio=0.2), "bce") == {}
    said = diagnose(validations([190, 190, 190], bone_ratio=0.2), "bce")
    assert "At step 300 the sCT has 0.20 times the bone of the CTs" in said["collapse"]
    assert diagnose(validations([190, 190, 190], bone_ratio=0.6), "bce") == {}


@pytest.mark.parametrize(
    ("values", "words", "setting"),
    [
        ({"spread_ratio": 0.05}, "is nearly constant", "training.seed"),
        ({"bone_ratio": 0.01}, "hardly any bone", "training.steps"),
        ({"spread_ratio": 2.5}, "varies 2.5 times", "training.learning_rate"),
        ({"bone_ratio": 5.0}, "5.0 times the bone", "training.seed"),
        ({"place_distance_hu": 400.0}, "400 HU from the CTs", "training.learning_rate"),
    ],
)
def test_a_collapse_is_said_with_what_to_try(values, words, setting):
    said = diagnose(validations([300, 300], **values), "bce")
    assert list(said) == ["collapse"]
    assert words in said["collapse"]
    assert "At step 200" in said["collapse"]
    assert setting in said["collapse"]


def test_one_bad_validation_is_no_collapse():
    bad = {"spread_ratio": 0.05, "bone_ratio": 0.0, "place_distance_hu": 400.0}
    assert diagnose(validations([300], **bad), "bce") == {}
    assert diagnose(validations([300], **bad) + validations([100, 90]), "bce") == {}


def test_a_drift_is_said_once_it_lasts():
    assert diagnose(validations([100, 50, 80, 90, 95]), "bce") == {}  # three worse ones
    said = diagnose(validations([100, 50, 80, 90, 95, 99]), "bce")["drift"]
    assert "from 50 to 92 HU since step 200" in said
    assert "training.patience" in said
    assert diagnose(validations([100, 50, 52, 53, 51, 54]), "bce") == {}  # a plateau
    assert diagnose(validations([100, 50, 80, 90, 95, 99, 45]), "bce") == {}  # it came back


def test_batch_norm_that_does_not_describe_the_network_is_said():
    said = diagnose(validations([100], train_eval_difference_hu=640.0), "bce")
    assert "640 HU" in said["modes"]
    assert "generator.norm" in said["modes"]


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_a_constant_discriminator_decides_nothing(p):
    assert decision(-math.log(p), -math.log(1 - p), "bce") == pytest.approx(0)
    assert decision((1 - p) ** 2, p**2, "least_squares") == pytest.approx(0)
    assert decision(0.0, 0.0, "bce") == decision(0.0, 0.0, "least_squares") == 1


@pytest.mark.parametrize(("loss", "chance"), [("bce", (math.log(2), math.log(2))), ("least_squares", (0.25, 0.25))])
@pytest.mark.parametrize("suffix", ["", "_mr"])
def test_a_dead_discriminator_is_said(loss, chance, suffix):
    said = diagnose(losses(*chance, suffix=suffix), loss)
    assert list(said) == [f"discriminator{suffix}"]
    assert "it is dead" in said[f"discriminator{suffix}"]
    assert "training.discriminator_learning_rate" in said[f"discriminator{suffix}"]
    assert diagnose(losses(*chance, noise=0.1), loss) == {}  # at chance and moving: a fair fight
    assert diagnose(losses(*chance, rows=RECENT - 1), loss) == {}


@pytest.mark.parametrize("loss", ["bce", "least_squares"])
def test_a_certain_discriminator_is_said(loss):
    said = diagnose(losses(1e-4, 1e-4), loss)["discriminator"]
    assert "certain" in said
    assert "adversarial.gradient_penalty" in said
    assert diagnose(losses(0.1, 0.1), loss) == {}


def test_what_was_not_measured_says_nothing():
    nan = dict.fromkeys(("place_distance_hu", "bone_ratio", "spread_ratio", "train_eval_difference_hu"), math.nan)
    assert diagnose(validations([100] * 6, **nan), "bce") == {}
    assert diagnose([{"step": float(i), "supervised": 0.1} for i in range(50)], "bce") == {}


def test_every_curve_is_drawn():
    assert sorted(TERM_NAMES) == sorted(column for columns in LOSSES.values() for column in columns)
    assert sorted(monitor.VALIDATION) == sorted(column for columns, _ in VALIDATION.values() for column in columns)
