"""Tiny cohorts and volumes that the tests share."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import hypothesis
import numpy as np
import pytest

import creps
from creps.cohort.cohort import Cohort, load_cohort
from creps.cohort.prepare import prepare
from creps.io.itk import write_volume
from creps.settings import Settings, load_settings
from creps.volume import Volume

hypothesis.settings.register_profile("creps", deadline=None)  # a loaded machine is no failure
hypothesis.settings.load_profile("creps")

SHARED = Path(__file__).resolve().parents[2] / "shared"

TINY = {
    "recipe": "paper",
    "preparation.spacing_mm": [4, 4, 4],
    "preparation.mr_scale": "auto",
    "generator.width": 4,
    "generator.residual_blocks": 1,
    "discriminator.widths": [4, 4, 4, 4],
    "nce.features": ["input", "stem", "down", "block1"],
    "nce.patches": 32,
    "nce.width": 8,
    "creps.weights": "random",
    "creps.layers": ["features.1.0.block.5"],
    "creps.image_size": None,
    "creps.slice_step": 8,
    "sampling.patch_size": [24, 24, 24],
    "training.batch_size": 2,
    "training.steps": 3,
    "training.log_every": 1,
    "training.precision": "fp32",
    "training.validate_every": 100,
    "inference.precision": "fp32",
    "inference.device": "cpu",
    "training.device": "cpu",
}
"""Settings with which a step takes a fraction of a second."""


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
def head_folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of three MRs and one of four CTs, of seven people."""
    folder = tmp_path_factory.mktemp("heads")
    for i in range(3):
        write_volume(ball_head(i)[0], folder / "mr" / f"m{i}.nii.gz")
    for i in range(4):
        write_volume(ball_head(10 + i)[1], folder / "ct" / f"c{i}.mha", integer=True)
    return folder / "mr", folder / "ct"


@pytest.fixture(scope="session")
def cohort(head_folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Those seven people, prepared."""
    folder = tmp_path_factory.mktemp("cohort") / "c"
    prepare(head_folders, folder, settings=load_settings(overrides=TINY))
    return load_cohort(folder)


@pytest.fixture(scope="session")
def demo_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model, whose sCTs have bone, without a profile: these heads are none of its kind."""
    folder = tmp_path_factory.mktemp("model") / "m"
    shutil.copytree(Path(creps.__file__).parent / "demo" / "model", folder)
    plan = json.loads((folder / "plan.json").read_text())
    (folder / "plan.json").write_text(json.dumps({**plan, "intake": None}))
    return folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real volumes beside the project; users do not have them."""
    if not SHARED.is_dir():
        pytest.skip("no shared folder with real volumes beside the project")
    return SHARED


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
    there = [f"{name} {'is' if shutil.which(name) else 'is not'} installed" for name in ("dciodvfy", "Orthanc")]
    terminalreporter.write_line(f"checks of DICOM by other programs: {', '.join(there)}")
