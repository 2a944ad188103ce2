"""MLflow and W&B, in processes of their own: they warn of other libraries' affairs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from creps.errors import SettingsError
from creps.settings import load_settings, to_yaml
from creps.training.run import trackers
from creps.training.run.train import train
from tests.conftest import TINY

pytestmark = [pytest.mark.process, pytest.mark.slow]


def train_with(logger, cohort, tmp_path, steps, *options):
    chosen = load_settings(
        overrides=TINY | {"training.loggers": [logger], "training.steps": steps, "training.validate_every": 2}
    )
    (tmp_path / "s.yaml").write_text(to_yaml(chosen))
    command = [sys.executable, "-m", "creps", "train", str(cohort.folder), "-o", str(tmp_path / "run")]
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(
        [*command, "-s", str(tmp_path / "s.yaml"), *options],
        capture_output=True, text=True, timeout=300, check=False, env=environment | {"WANDB_MODE": "offline"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_mlflow_keeps_curves_settings_and_pictures_of_both_sessions(cohort, tmp_path):
    train_with("mlflow", cohort, tmp_path, 2)
    train_with("mlflow", cohort, tmp_path, 3, "--resume", "auto")
    script = f"""
import mlflow
client = mlflow.MlflowClient("sqlite:///{tmp_path / "run" / "mlflow.db"}")
runs = client.search_runs([client.get_experiment_by_name("creps").experiment_id])
assert len(runs) == 1, runs
steps = [m.step for m in client.get_metric_history(runs[0].info.run_id, "loss/adversarial")]
assert steps == [1, 2, 3], steps
assert runs[0].data.params["training.batch_size"] == "2"
assert runs[0].data.metrics["validation/validation_score"] > 0
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
    assert sorted(p.name for p in (tmp_path / "run" / "mlflow").rglob("step_*.png")) == [
        "step_00000002.png", "step_00000003.png"
    ]  # fmt: skip


def test_wandb_writes_offline_and_tells_nothing_of_the_machine(cohort, tmp_path):
    train_with("wandb", cohort, tmp_path, 2)
    (written,) = (tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb")
    content = written.read_bytes()
    assert b"loss/adversarial" in content
    assert str(Path.home()).encode() not in content
    assert os.uname().nodename.encode() not in content


def test_a_tracker_that_is_not_installed_is_named_with_its_extra(cohort, tmp_path, monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda name: None if name == "wandb" else name)
    chosen = load_settings(overrides=TINY | {"training.loggers": ["tensorboard", "wandb"]})
    with pytest.raises(SettingsError, match=r"names 'wandb'.*pip install 'creps\[wandb\]'"):
        train(cohort, tmp_path / "run", chosen)
    assert not (tmp_path / "run").exists()
