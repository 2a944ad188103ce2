"""TensorBoard, which is an extra."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from creps.errors import SettingsError
from creps.settings import load_settings
from creps.training.run import tensorboard
from creps.training.run.train import train
from tests.conftest import TINY

TENSORBOARD = TINY | {"recipe": "anatomy", "training.loggers": ["tensorboard"], "training.validate_every": 2}


def test_tensorboard_gets_curves_and_pictures_of_both_sessions(cohort, tmp_path):
    train(cohort, tmp_path / "run", load_settings(overrides=TENSORBOARD | {"training.steps": 2}))
    train(cohort, tmp_path / "run", load_settings(overrides=TENSORBOARD | {"training.steps": 3}), resume=True)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert [point.step for point in events.Scalars("loss/simulated")] == [1, 2, 3]
    assert [point.step for point in events.Scalars("validation/validation_score")] == [2, 3]
    assert [image.step for image in events.Images("validation")] == [2, 3]


def test_tensorboard_that_is_not_installed_is_named_with_its_extra(cohort, tmp_path, monkeypatch):
    monkeypatch.setattr(tensorboard, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"names 'tensorboard'.*pip install 'creps\[tensorboard\]'"):
        train(cohort, tmp_path / "run", load_settings(overrides=TENSORBOARD))
    assert not (tmp_path / "run").exists()


def test_a_run_writes_no_event_files_unasked(cohort, tmp_path):
    train(cohort, tmp_path / "run", load_settings(overrides=TINY | {"recipe": "anatomy", "training.steps": 1}))
    assert (tmp_path / "run" / "curves.csv").is_file()
    assert not (tmp_path / "run" / "tensorboard").exists()
