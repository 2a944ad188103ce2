"""Several processes are one: two gloo processes on the CPU against one with the same global batch."""

import csv
import os
import subprocess
import sys

import pytest

from creps.model import load_tensors
from creps.settings import load_settings, to_yaml
from tests.conftest import TINY_PAPER

pytestmark = [pytest.mark.process, pytest.mark.slow]

RECIPE = {
    "training.batch_size": 4, "training.steps": 3, "adversarial.gradient_penalty": 0.5, "training.ema_decay": 0.5,
    "creps.balance_steps": 2, "training.validate_every": 2, "generator.width": 4,
}  # fmt: skip
"""The paper's batch norm in both networks, and all that is hard to share: a penalty, a balance, an average."""

WITHOUT_BATCH_NORM = {"generator.norm": "instance", "discriminator.norm": "none"}
"""With batch norm the gradients of the two agree to some per cent only: docs/concepts/recipes.md, Limits."""

TOLERANCE = 1e-4
"""Relative, of every loss term: float32 sums in another order, carried through three updates of both networks."""


def run_training(cohort, folder, tmp_path, *options, **changes):
    (tmp_path / "s.yaml").write_text(to_yaml(load_settings(overrides=TINY_PAPER | RECIPE | changes)))
    command = [sys.executable, "-m", "creps", "train", str(cohort.folder), "-o", str(folder)]
    return subprocess.run(
        [*command, "-s", str(tmp_path / "s.yaml"), *options],
        capture_output=True, text=True, timeout=300, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def both(cohort, tmp_path_factory):
    return in_one_and_two(cohort, tmp_path_factory.mktemp("processes"))


def in_one_and_two(cohort, folder, **changes):
    for name, devices in (("one", 1), ("two", 2)):
        done = run_training(cohort, folder / name, folder, **changes, **{"training.devices": devices})
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("step 3/3  d_real") == 1  # one process speaks
        assert done.stdout.count("model:") == 1
    return folder / "one", folder / "two"


def assert_same_losses(both):
    one, two = (list(csv.DictReader((run / "curves.csv").read_text().splitlines())) for run in both)
    assert [row["step"] for row in one] == [row["step"] for row in two] == ["1", "2", "3"]
    for ours, theirs in zip(one, two, strict=True):
        for name, value in ours.items():
            if value and name not in ("seconds_per_step",):
                assert float(theirs[name]) == pytest.approx(float(value), rel=TOLERANCE, abs=1e-6), name


def assert_same_networks(both):
    """Gradients (AdamW's moments) and running statistics of all networks; weights within a step of AdamW."""
    one, two = (load_tensors(run / "checkpoints" / "step_00000003" / "training.safetensors") for run in both)
    assert one.keys() == two.keys()
    compared = 0
    for name, value in one.items():
        largest = float(value.abs().max())
        if name.endswith((":exp_avg", "running_mean", "running_var")):
            assert float((value - two[name]).abs().max()) <= 100 * TOLERANCE * largest + 1e-7, name
            compared += 1
        elif name.endswith(".weight") and value.dtype.is_floating_point:
            assert float((value - two[name]).abs().max()) <= 2e-4, name
    assert compared > 20


def test_two_processes_report_the_losses_of_one(both):
    assert_same_losses(both)


def test_two_processes_train_the_networks_of_one(both):
    assert_same_networks(both)


@pytest.mark.parametrize("recipe", ["cyclegan", "cut"])
def test_two_processes_are_one_with_further_networks(cohort, tmp_path, recipe):
    both = in_one_and_two(cohort, tmp_path, recipe=recipe, **WITHOUT_BATCH_NORM)
    assert_same_losses(both)
    assert_same_networks(both)


def test_a_users_error_ends_every_process_with_one_sentence(cohort, both, tmp_path):
    done = run_training(cohort, both[0], tmp_path, **{"training.devices": 2})
    assert done.returncode == 1
    assert done.stderr.count("is already there") == 1
    assert "Traceback" not in done.stderr


def test_a_run_of_two_processes_resumes_as_one(cohort, both, tmp_path):
    done = run_training(cohort, both[1], tmp_path, "--resume", "auto", **{"training.devices": 1, "training.steps": 4})
    assert done.returncode == 0, done.stderr
    assert "step 4/4" in done.stderr


def test_what_ends_one_process_is_said_and_ends_the_others(cohort, tmp_path):
    """Memory that runs out in the second process only: its own message, no hang, no traceback."""
    script = tmp_path / "fails.py"
    script.write_text(
        "import os, sys\n"
        "from creps.training.step import TrainingStep\n"
        "original = TrainingStep.__call__\n"
        "def step(self, *arguments):\n"
        "    if self.processes.rank == 1:\n"
        '        raise RuntimeError("DefaultCPUAllocator: can\'t allocate memory")\n'
        "    return original(self, *arguments)\n"
        "TrainingStep.__call__ = step\n"
        "from creps.cli import main\n"
        "main()\n"
    )
    chosen = load_settings(overrides=TINY_PAPER | RECIPE | {"training.devices": 2})
    (tmp_path / "s.yaml").write_text(to_yaml(chosen))
    done = subprocess.run(
        [sys.executable, script, "train", cohort.folder, "-o", tmp_path / "run", "-s", tmp_path / "s.yaml"],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode != 0
    assert "Process 1: Error: Out of memory on cpu at step 1" in done.stderr
    assert "Traceback" not in done.stderr
