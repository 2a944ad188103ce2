"""The benchmark of the label-free score: its candidates run, and regret is what its name says."""

import sys
from pathlib import Path

import pytest
import torch

from creps.cohort.cohort import load_cohort
from creps.cohort.prepare import prepare
from creps.networks.build import build_generator
from creps.settings import load_settings
from tests.conftest import TINY

BENCHMARK = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def regret(monkeypatch):
    for name in ("accuracy", "score"):
        monkeypatch.syspath_prepend(str(BENCHMARK / name))
    import regret

    yield regret
    for name in ("regret", "candidates", "score", "plan", "options"):
        sys.modules.pop(name, None)


def run(*points):
    """(true MAE, place, disagreement, spread) of each checkpoint."""
    parts = ("place_distance_hu", "disagreement_hu", "spread_ratio")
    return {
        str(100 * (i + 1)): {
            "parts": dict(zip(parts, values, strict=True)) | {"texture": 0.0, "simulated": 0.0},
            "true": {"mae_hu": mae},
        }
        for i, (mae, *values) in enumerate(points)
    }


def test_regret_is_the_error_of_the_choice_over_that_of_the_best(regret):
    runs = {
        "a": run((200.0, 90.0, 10.0, 1.0), (100.0, 50.0, 10.0, 1.0), (150.0, 40.0, 40.0, 1.0)),
        "b": run((300.0, 80.0, 80.0, 0.9), (120.0, 90.0, 0.0, 0.1)),
    }
    for point in (point for one in runs.values() for point in one.values()):
        point["parts"] = regret.combinations(point["parts"]) | point["parts"]
    found = regret.verdicts(runs)
    assert found["take the last"]["mean_regret"] == pytest.approx((1.5 + 1.0) / 2)
    assert found["place + disagreement"]["largest_regret"] == 1
    assert found["place_distance_hu"]["largest_regret"] == pytest.approx(2.5)
    assert found["score"]["largest_regret"] == pytest.approx(2.5)  # it takes no blank image, however good its MAE
    kept = {name: regret.without_blank(one) for name, one in runs.items()}
    assert regret.verdicts(kept)["score"]["largest_regret"] == 1
    assert list(kept["b"]) == ["100"]


def test_the_candidates_look_at_held_out_cases(regret, head_folders, tmp_path):
    settings = load_settings(overrides=TINY | {"preparation.validation_fraction": 0})
    prepare(head_folders, tmp_path / "c", settings=settings)
    cohort = regret.hold_out(load_cohort(tmp_path / "c"))
    assert len(cohort.cases("mr", "validation")) == len(cohort.cases("ct", "validation")) == 3
    torch.manual_seed(0)
    parts = regret.Candidates(cohort, (16, 16, 16))(build_generator(settings.generator))
    assert parts.keys() >= {"place_distance_hu", "disagreement_hu", "simulated", "mind", "texture", "spread_ratio"}
    assert all(value >= 0 for value in parts.values())
