"""The label-free score: what it is made of, that better images score better, and that patience stops a run by it."""

import csv
import json
import logging
import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.stats import wasserstein_distance
from torch import nn

from creps.cohort.cohort import load_cohort
from creps.cohort.prepare import prepare
from creps.io.itk import write_volume
from creps.label_free.patches import HEIGHTS, PLACES, FixedPatch, fixed_patches
from creps.label_free.score import ByPlace, Score, combined
from creps.label_free.validation import PatchValidation
from creps.model import load_plan
from creps.networks.build import build_generator
from creps.preprocessing.intensity import network_to_hu
from creps.settings import load_settings
from creps.training.loop import SCORE
from creps.training.run.train import train
from tests.conftest import TINY, ball_head


def settings(**changes):
    return load_settings(overrides=TINY | changes)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Five people with both images: the first three give MRs (and their true CTs), the others CTs."""
    folder = tmp_path_factory.mktemp("pairs")
    for i in range(6):
        mr, ct = ball_head(20 + i)
        write_volume(mr, folder / "mr" / f"p{i}.nii.gz")
        write_volume(ct, folder / "ct" / f"p{i}.nii.gz")
    prepare((folder / "mr", folder / "ct"), folder / "c", settings=settings(**{"preparation.validation_fraction": 0}))
    cohort = load_cohort(folder / "c")
    mrs, cts = (fixed_patches(cohort, m, 6, (16, 16, 16)) for m in ("mr", "ct"))
    first = [i for i in range(len(mrs)) if i % 6 < 3]
    others = [i for i in range(len(mrs)) if i % 6 >= 3]
    return [mrs[i] for i in first], [cts[i] for i in first], [cts[i] for i in others]


def scored(pairs, change):
    """The score of the true CTs after a change."""
    mrs, truth, cts = pairs
    return Score(mrs, cts)([change(t.array) for t in truth], [change(t.shifted) for t in truth])


def test_a_better_image_has_a_better_score(pairs):
    rng = np.random.default_rng(0)
    changes = {
        "truth": lambda ct: ct,
        "blurred": lambda ct: ndimage.gaussian_filter(ct, 2.0),
        "darker": lambda ct: ct - 0.3,
        "no bone": lambda ct: np.minimum(ct, 0.1),
        "water": np.zeros_like,
        "nearly water": lambda ct: 0.1 * ct,
        "noise": lambda ct: ct + rng.normal(0, 0.4, ct.shape),
        "another place": lambda ct: np.roll(ct, 5, axis=1),
    }
    scores = {name: scored(pairs, change)[SCORE] for name, change in changes.items()}
    assert min(scores, key=scores.get) == "truth"
    assert scores["truth"] < 100
    assert all(value > 1.5 * scores["truth"] for name, value in scores.items() if name != "truth"), scores
    assert scored(pairs, lambda ct: ct - 0.6)[SCORE] > scores["darker"]
    assert max(scores, key=scores.get) == "water"


def test_the_parts_say_what_is_wrong(pairs):
    good, water = scored(pairs, lambda ct: ct), scored(pairs, np.zeros_like)
    assert good["bone_ratio"] == pytest.approx(1, abs=0.15)
    assert good["spread_ratio"] == pytest.approx(1, abs=0.15)
    assert (water["bone_ratio"], water["spread_ratio"], water["disagreement_hu"]) == (0, 0, 0)
    assert good["disagreement_hu"] == 0  # both patches show the same CT
    assert water[SCORE] == 1000 + water["place_distance_hu"]  # as good as no image
    assert scored(pairs, lambda ct: ct - 0.3)["place_distance_hu"] == pytest.approx(300, abs=90)


def test_the_distance_is_that_of_wasserstein_in_each_place():
    rng = np.random.default_rng(1)
    place = np.zeros((8, 8, 8), dtype=np.int8)
    place[:4] = 3
    place[:, :2] = -1  # outside
    a, b = (rng.normal(m, 0.1, (8, 8, 8)).astype(np.float32) for m in (0.0, 0.2))
    mr, ct = (FixedPatch(x, place, x, (0, 0, 0)) for x in (a, b))
    by_hand = np.mean(
        [wasserstein_distance(network_to_hu(a[place == p]), network_to_hu(b[place == p])) for p in (0, 3)]
    )
    assert ByPlace(network_to_hu, [ct])([a], [mr]) == pytest.approx(by_hand, rel=0.03)
    nowhere = FixedPatch(b, np.full_like(place, -1), b, (0, 0, 0))
    assert np.isnan(ByPlace(network_to_hu, [nowhere])([a], [mr]))


def test_a_part_that_cannot_be_known_adds_nothing():
    assert combined(40.0, 20.0, 1.0) == 60
    assert combined(40.0, math.nan, 1.0) == combined(40.0, 0.0, math.nan) == 40
    assert math.isnan(combined(math.nan, 20.0, 1.0))


def test_the_shifted_patch_shows_the_same_place(pairs):
    for patch in pairs[0]:
        here, there = patch.common
        assert any(patch.shift)
        assert np.array_equal(patch.array[here], patch.shifted[there])
        assert patch.place.max() < PLACES


def test_the_disagreement_is_that_of_two_looks_at_one_voxel(pairs):
    mrs, truth, cts = pairs
    scts = [t.array for t in truth]
    assert Score(mrs, cts)(scts, [t.shifted + 0.05 for t in truth])["disagreement_hu"] == pytest.approx(50, abs=0.1)


def test_the_validation_scores_the_network_and_leaves_it_as_it_is(cohort):
    validation = PatchValidation(cohort, settings(), torch.device("cpu"))
    generator = network()
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    values, picture = validation(generator, generator)
    assert values[SCORE] > 100  # an untrained network makes water of everything
    assert values["train_eval_difference_hu"] > 0
    assert picture.shape[-1] == 3
    assert values == pytest.approx(validation(generator, generator)[0], nan_ok=True)  # the same patches each time
    assert all(torch.equal(tensor, before[name]) for name, tensor in generator.state_dict().items())
    assert len(validation.mr) % len(HEIGHTS) == 0
    by_hand = [in_eval(generator, mr.array) for mr in validation.mr]
    assert values["place_distance_hu"] == pytest.approx(validation.score.distance(by_hand, validation.mr), rel=1e-3)


@torch.no_grad()
def in_eval(generator, mr):
    return generator.eval()(torch.from_numpy(mr)[None, None])[0, 0].numpy()


def network() -> nn.Module:
    torch.manual_seed(0)
    return build_generator(settings().generator)


def with_scores(monkeypatch, scores):
    given = iter(scores)
    original = PatchValidation.__call__

    def looked(self, *networks):
        values, picture = original(self, *networks)
        return values | {SCORE: next(given)}, picture

    monkeypatch.setattr(PatchValidation, "__call__", looked)


PATIENT = {"training.validate_every": 1, "training.patience": 2, "training.steps": 9}


def told(run):
    return json.loads((run / "record.json").read_text())


def test_patience_stops_a_run_that_no_longer_improves_and_its_model_is_written(cohort, tmp_path, monkeypatch, caplog):
    with_scores(monkeypatch, [30.0, 20.0, 25.0, 21.0, 1.0])
    with caplog.at_level(logging.INFO, logger="creps"):
        train(cohort, tmp_path / "run", settings(**PATIENT, **{"training.model": "best"}))
    assert "stopped at step 4: no better score in 2 validations since step 2" in caplog.text
    story = told(tmp_path / "run")
    assert (story["status"], story["sessions"][-1]["to_step"], story["best"]["step"]) == ("finished", 4, 2)
    assert load_plan(tmp_path / "run").training["steps"] == 2
    assert load_plan(tmp_path / "run" / "last").training["steps"] == 4
    assert (tmp_path / "run" / "checkpoints" / "step_00000004").is_dir()


def test_a_resumed_run_keeps_its_patience(cohort, tmp_path, monkeypatch):
    with_scores(monkeypatch, [30.0, 20.0, 25.0, 21.0, 19.0, 22.0])
    train(cohort, tmp_path / "run", settings(**PATIENT | {"training.steps": 3}))
    train(cohort, tmp_path / "run", settings(**PATIENT), resume=True)
    assert told(tmp_path / "run")["sessions"][-1]["to_step"] == 4  # one validation before, one after
    train(cohort, tmp_path / "run", settings(**PATIENT), resume=True)
    assert told(tmp_path / "run")["sessions"][-1]["to_step"] == 4  # it has stopped
    train(cohort, tmp_path / "run", settings(**PATIENT | {"training.patience": 3, "training.steps": 6}), resume=True)
    assert told(tmp_path / "run")["best"] == {"step": 5, "score": 19.0}
    assert told(tmp_path / "run")["sessions"][-1]["to_step"] == 6


def test_without_patience_nothing_stops(cohort, tmp_path, monkeypatch):
    with_scores(monkeypatch, [1.0, 2.0, 3.0, 4.0])
    train(cohort, tmp_path / "run", settings(**PATIENT | {"training.patience": None, "training.steps": 4}))
    assert told(tmp_path / "run")["sessions"][-1]["to_step"] == 4


def test_a_score_that_is_unknown_is_never_the_best(cohort, tmp_path, monkeypatch):
    with_scores(monkeypatch, [float("nan")] * 3)
    train(cohort, tmp_path / "run", settings(**PATIENT | {"training.steps": 3}))
    assert told(tmp_path / "run")["best"] is None


def test_the_parts_and_the_health_are_kept(cohort, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="creps"):
        train(cohort, tmp_path / "run", settings(**{"training.validate_every": 1}))
    rows = list(csv.DictReader((tmp_path / "run" / "curves.csv").read_text().splitlines()))
    parts = ("validation_score", "place_distance_hu", "disagreement_hu", "bone_ratio", "spread_ratio")
    assert all(float(row[name]) >= 0 for row in rows for name in parts)
    story = told(tmp_path / "run")
    assert any("constant" in sentence for sentence in story["health"])  # three steps: water everywhere
    assert "training health: At step 3 the sCT is nearly constant" in (tmp_path / "run" / "log.txt").read_text()
