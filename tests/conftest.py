"""Tiny cohorts and volumes that the tests share."""

from __future__ import annotations

import functools
import json
import logging
import multiprocessing
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from creps.cohort.cohort import Cohort, load_cohort
from creps.cohort.prepare import prepare
from creps.io.itk import write_volume
from creps.settings import Settings, load_settings
from creps.telemetry import ONNX_RUNTIME
from creps.volume import Volume
from tests import components, once

os.environ.update(ONNX_RUNTIME)  # tests import it before creps does
hypothesis.settings.register_profile("creps", deadline=None)  # a loaded machine is no failure
hypothesis.settings.load_profile("creps")

TINY = {
    "recipe": "paper",
    "preparation.spacing_mm": [4, 4, 4],
    "preparation.mr_scale": "auto",
    "preparation.remove_couch": False,
    "generator.kind": "residual",
    "generator.width": 4,
    "generator.residual_blocks": 1,
    "discriminator.widths": [4, 4, 4, 4],
    "nce.features": ["input", "stem", "down", "block1"],
    "nce.patches": 32,
    "nce.width": 8,
    "creps.weight": 0.0,
    "creps.weights": "random",
    "creps.layers": ["features.1.0.block.5"],
    "creps.image_size": None,
    "creps.slice_step": 8,
    "simulation.phantoms": 2,
    "sampling.patch_size": [24, 24, 24],
    "training.batch_size": 2,
    "training.steps": 3,
    "training.log_every": 1,
    "training.precision": "fp32",
    "training.bone_weight": 1.0,
    "training.validate_every": 100,
    "inference.precision": "fp32",
    "inference.device": "cpu",
    "training.device": "cpu",
}
"""Settings with which a step takes a fraction of a second: the adversarial term alone, no perceptual network."""

TINY_PAPER = {name: value for name, value in TINY.items() if name != "creps.weight"}
"""The weights of all terms as the recipe says, so with the paper's perceptual loss: every run builds a ConvNeXt."""


def pytest_configure(config: pytest.Config) -> None:
    """Processes start as CREPS_START_METHOD says: ``spawn`` is what Windows and macOS do."""
    components.required()
    method = os.environ.get("CREPS_START_METHOD")
    if method:
        multiprocessing.set_start_method(method, force=True)


@pytest.fixture(scope="session", autouse=True)
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One folder for all processes of this run."""
    own = tmp_path_factory.getbasetemp()
    once.RUN[:] = [own.parent if "PYTEST_XDIST_WORKER" in os.environ else own]
    yield once.RUN[0]
    once.RUN.clear()


@pytest.fixture(autouse=True)
def logging_as_at_the_start() -> None:
    """The command line sets up logging for a program; here the next test follows in the same one."""
    logger = logging.getLogger("creps")
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


@pytest.fixture(scope="session", autouse=True)
def memory_is_estimated_once_for_the_same_settings() -> Iterator[None]:
    """Most runs have the same settings, and the probes of an estimate cost more than the steps."""
    module = sys.modules.get("creps.training.run.forecast")
    if module is None:  # no test of training among those that were chosen
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        for name in ("estimate_memory", "settings_that_fit"):
            patch.setattr(module, name, _remembered(getattr(module, name)))
        yield


def _remembered(function):
    known = {}

    @functools.wraps(function)
    def remembered(settings, style, *arguments):
        key = (settings.model_dump_json(), style is None, arguments)
        if key not in known:
            known[key] = function(settings, style, *arguments)
        return known[key]

    return remembered


@pytest.fixture
def tiny_settings() -> Settings:
    return load_settings(overrides=TINY)


def ball_head(seed: int, *, shape: tuple[int, int, int] = (30, 34, 28)) -> tuple[Volume, Volume]:
    """An MR and a CT of one simple head: a brain in a skull in skin, 4 mm voxels."""
    rng = np.random.default_rng(seed)
    centre = (np.array(shape) - 1) / 2 + rng.uniform(-1, 1, 3)
    radii = np.array(shape) * rng.uniform(0.38, 0.42, 3)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    r = np.linalg.norm((index - centre) / radii, axis=-1)
    mr = np.select([r < 0.75, r < 0.9, r < 1.0], [600.0, 60.0, 900.0], 0.0) + rng.uniform(0, 20, shape)
    ct = np.select([r < 0.75, r < 0.9, r < 1.0], [35.0, 1100.0, -20.0], -1000.0) + rng.normal(0, 10, shape)
    return Volume(mr.astype(np.float32), (4, 4, 4)), Volume(ct.astype(np.float32), (4, 4, 4))


@pytest.fixture(scope="session")
def head_folders() -> tuple[Path, Path]:
    """A folder of three MRs and one of four CTs, of seven people."""

    def make(folder: Path) -> None:
        for i in range(3):
            write_volume(ball_head(i)[0], folder / "mr" / f"m{i}.nii.gz")
        for i in range(4):
            write_volume(ball_head(10 + i)[1], folder / "ct" / f"c{i}.mha", integer=True)

    folder = once.folder_made_once("heads", make)
    return folder / "mr", folder / "ct"


@pytest.fixture(scope="session")
def cohort(head_folders: tuple[Path, Path]) -> Cohort:
    """Those seven people, prepared."""
    folder = once.folder_made_once("cohort", lambda folder: prepare(head_folders, folder / "c", settings=tiny()))
    return load_cohort(folder / "c")


def tiny(**changes: object) -> Settings:
    return load_settings(overrides=TINY | changes)


@pytest.fixture(scope="session")
def demo_model() -> Path:
    """A small residual model whose sCTs have bone, without a profile: these heads are none of its kind."""

    def make(folder: Path) -> None:
        shutil.copytree(Path(__file__).parent / "data" / "former", folder / "m")
        plan = json.loads((folder / "m" / "plan.json").read_text())
        (folder / "m" / "plan.json").write_text(json.dumps({**plan, "intake": None}))

    return once.folder_made_once("model", make) / "m"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real volumes beside the project; users do not have them."""
    components.need("shared")
    return components.SHARED


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        components.need(*marker.args)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "shared" in getattr(item, "fixturenames", ()):
            item.user_properties.append(("real data", True))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many of the tests on real scans ran."""

    def count(outcome: str) -> int:
        reports = terminalreporter.getreports(outcome)
        return sum(("real data", True) in getattr(report, "user_properties", ()) for report in reports)

    ran, skipped = count("passed") + count("failed"), count("skipped")
    terminalreporter.write_line(f"tests on real scans: {ran} ran, {skipped} skipped (no shared folder)")
    there = [f"{name} {'is' if components.is_there(name) else 'is not'} there" for name in components.HOW_TO_GET]
    terminalreporter.write_line(f"what some tests need: {', '.join(there)}")
