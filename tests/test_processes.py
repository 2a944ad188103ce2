"""Several processes are one: two gloo processes on the CPU against one with the same global batch."""

import csv
import logging
import os
import subprocess
import sys

import pytest

from creps.errors import SettingsError
from creps.model import load_tensors
from creps.settings import load_settings, to_yaml
from creps.training.processes import first_host, process_number, start_processes
from creps.training.run.train import train
from tests.conftest import TINY_PAPER

pytestmark = [pytest.mark.process, pytest.mark.slow]

RECIPE = {
    "training.batch_size": 4, "training.steps": 3, "adversarial.gradient_penalty": 0.5, "training.ema_decay": 0.5,
    "creps.balance_steps": 2, "training.validate_every": 2, "generator.width": 4,
    "creps.weight": 20.0, "training.learning_rate": 1e-5,
}  # fmt: skip
"""The paper's batch norm in both networks, and all that is hard to share: a penalty, a balance, an average.

Small steps: AdamW makes a whole update of a gradient near 0 whose sign is rounding, and CPUs round differently."""

WITHOUT_BATCH_NORM = {"generator.norm": "instance", "discriminator.norm": "none"}
"""With batch norm the gradients of the two agree to some per cent only: docs/concepts/recipes.md, Limits."""

TOLERANCE = 1e-4
"""Relative, of every loss term: float32 sums in another order, carried through three updates of both networks."""


def settings(**changes):
    return load_settings(overrides=TINY_PAPER | RECIPE | changes)


def train_with_two(cohort, folder, tmp_path, *options, **changes):
    (tmp_path / "s.yaml").write_text(to_yaml(settings(**changes, **{"training.devices": 2})))
    command = [sys.executable, "-m", "creps", "train", str(cohort.folder), "-o", str(folder)]
    return subprocess.run(
        [*command, "-s", str(tmp_path / "s.yaml"), *options],
        capture_output=True, text=True, timeout=300, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def both(cohort, tmp_path_factory):
    return in_one_and_two(cohort, tmp_path_factory.mktemp("processes"))


def in_one_and_two(cohort, folder, **changes):
    train(cohort, folder / "one", settings(**changes))
    done = train_with_two(cohort, folder / "two", folder, **changes)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("step 3/3  d_real") == 1  # the first process alone reports
    assert done.stdout.count("model:") == 1
    return folder / "one", folder / "two"


def assert_same_losses(both):
    one, two = (list(csv.DictReader((run / "curves.csv").read_text().splitlines())) for run in both)
    assert [row["step"] for row in one] == [row["step"] for row in two] == ["1", "2", "3"]
    for ours, theirs in zip(one, two, strict=True):
        for name, value in ours.items():
            if value and name not in ("seconds_per_step",):
                assert float(theirs[name]) == pytest.approx(float(value), rel=TOLERANCE, abs=1e-6), name


def assert_same_networks(both, gradients=100 * TOLERANCE):
    """Gradients (AdamW's moments) and running statistics of all networks; weights within a step of AdamW."""
    one, two = (load_tensors(run / "checkpoints" / "step_00000003" / "training.safetensors") for run in both)
    assert one.keys() == two.keys()
    compared = 0
    for name, value in one.items():
        largest = float(value.abs().max())
        if name.endswith((":exp_avg", "running_mean", "running_var")):
            assert float((value - two[name]).abs().max()) <= gradients * largest + 1e-7, name
            compared += 1
        elif name.endswith(".weight") and value.dtype.is_floating_point:
            assert float((value - two[name]).abs().max()) <= 2e-4, name
    assert compared > 20


def test_two_processes_report_the_losses_of_one(both):
    assert_same_losses(both)


def test_two_processes_train_the_networks_of_one(both):
    """Through batch norm and a gradient penalty: 1.2 to 1.6 % apart on a CPU with AVX-512, below 1 % on others."""
    assert_same_networks(both, gradients=0.03)


def test_two_processes_are_one_with_further_networks(cohort, tmp_path):
    """A cycle and PatchNCE: every network that a recipe can have."""
    further = {"recipe": "cyclegan", "nce.weight": 1, "nce.identity_weight": 1, "creps.weight": 0}
    both = in_one_and_two(cohort, tmp_path, **further, **WITHOUT_BATCH_NORM)
    assert_same_losses(both)
    assert_same_networks(both)


def test_a_users_error_ends_every_process_with_one_sentence(cohort, both, tmp_path):
    done = train_with_two(cohort, both[0], tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("already exists") == 1
    assert "Traceback" not in done.stderr


def test_a_run_of_two_processes_resumes_as_one(cohort, both, tmp_path):
    train(cohort, both[1], settings(**{"training.steps": 4}), resume=True)
    assert (both[1] / "checkpoints" / "step_00000004").is_dir()


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
    (tmp_path / "s.yaml").write_text(to_yaml(settings(**{"training.devices": 2})))
    done = subprocess.run(
        [sys.executable, script, "train", cohort.folder, "-o", tmp_path / "run", "-s", tmp_path / "s.yaml"],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode != 0
    assert "Process 1: Error: Out of memory on cpu at step 1" in done.stderr
    assert "Traceback" not in done.stderr


SRUN = {
    "SLURM_JOB_ID": "70042", "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "1",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
}  # fmt: skip
TORCHRUN = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "gpu07", "MASTER_PORT": "10042"}


@pytest.mark.parametrize("environment", [SRUN, TORCHRUN], ids=["srun", "torchrun"])
def test_a_process_finds_its_place_in_what_a_cluster_started(monkeypatch, environment):
    assert process_number() == 0
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert process_number() == 3
    joined = []
    monkeypatch.setattr("torch.distributed.init_process_group", lambda *a, **k: joined.append((a, k)))
    monkeypatch.setenv("MASTER_PORT", "10042")
    log, level = logging.getLogger("creps"), logging.getLogger("creps").level
    processes = start_processes(settings(**{"training.devices": 2, "training.nodes": 2}).training)
    assert log.level == logging.ERROR  # the first process alone reports
    log.setLevel(level)
    assert (processes.rank, processes.count, processes.is_first) == (3, 4, False)
    assert joined == [(("gloo",), {"init_method": "tcp://gpu07:10042", "rank": 3, "world_size": 4})]


@pytest.mark.parametrize("environment", [SRUN, TORCHRUN], ids=["srun", "torchrun"])
def test_a_cluster_that_started_another_number_of_processes_is_refused(monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for devices in (1, 2):  # on one node
        with pytest.raises(SettingsError, match=rf"run started 4 tasks, but the settings require {devices}"):
            start_processes(settings(**{"training.devices": devices}).training)


@pytest.mark.parametrize(("name", "made_current"), [("cuda", []), ("cuda:1", ["cuda:1"])])
def test_one_gpu_is_made_current_only_if_it_has_a_number(monkeypatch, name, made_current):
    """Torch refuses a GPU without a number there."""
    current = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.set_device", lambda device: current.append(str(device)))
    processes = start_processes(settings(**{"training.device": name, "training.devices": 1}).training)
    assert (str(processes.device), processes.count, current) == (name, 1, made_current)


def test_several_nodes_need_a_launcher():
    with pytest.raises(SettingsError, match="nothing started this process on the other nodes"):
        start_processes(settings(**{"training.nodes": 2}).training)


@pytest.mark.parametrize(
    ("hosts", "first"),
    [("node3", "node3"), ("a,b", "a"), ("gpu[07-09,12],login", "gpu07"), ("n[5]-ib,m", "n5-ib"), ("r1n[2,4]", "r1n2")],
)
def test_the_first_of_slurms_hosts(hosts, first):
    assert first_host(hosts) == first
