"""A SLURM for the tests of this folder."""

import logging
import os

import pytest

from creps.cluster import runner
from creps.cluster.folder import JobFolder
from creps.cluster.options import SlurmOptions
from creps.cluster.runner import SlurmRunner
from tests import components
from tests.cluster.node import PROJECT, slurm_node


@pytest.fixture(scope="session")
def slurm_configuration():
    components.need("slurmctld", "submitit")
    with slurm_node() as configuration:
        yield configuration


@pytest.fixture
def slurm(slurm_configuration, monkeypatch):
    """SLURM's commands find the node, and its jobs this source tree; cases are short, so results are sought often."""
    monkeypatch.setenv("SLURM_CONF", str(slurm_configuration))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PROJECT / "src"), str(PROJECT)]))
    monkeypatch.setattr(runner, "LOOK_SECONDS", 0.2)
    logging.getLogger("creps").setLevel(logging.INFO)
    return slurm_configuration


@pytest.fixture
def kept(monkeypatch):
    """Job folders stay, so that a test can look into them."""
    monkeypatch.setattr(JobFolder, "delete", lambda _: None)


@pytest.fixture
def on_node(slurm, tmp_path):
    """A function that makes a runner for jobs of one core."""

    def make(**options):
        return SlurmRunner(SlurmOptions(cpus=1, **options), "test", tmp_path / "jobs.slurm")

    return make
