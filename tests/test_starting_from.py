"""``train --from`` something that cannot be started from: one sentence each, before anything is written."""

import json
import os
import shutil
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from creps.errors import CrepsError, TrainingError
from creps.model import PLAN, WEIGHTS, Model, Plan, save_model
from creps.networks.build import build_generator
from creps.provenance import sha256_file
from creps.training import state
from creps.training.run.train import train
from tests.conftest import TINY, tiny
from tests.test_cli import run


@dataclass
class Folder:
    """A model folder that a case may spoil."""

    path: Path

    def plan(self, section, **changes):
        """Change values of a section of the plan."""
        plan = json.loads((self.path / PLAN).read_text())
        plan[section] |= changes
        (self.path / PLAN).write_text(json.dumps(plan))

    def weights(self, content):
        """Replace the weights, and say their hash in the plan."""
        (self.path / WEIGHTS).write_bytes(content)
        plan = json.loads((self.path / PLAN).read_text())
        (self.path / PLAN).write_text(json.dumps(plan | {"weights_sha256": sha256_file(self.path / WEIGHTS)}))

    def tensors(self, tensors):
        """Replace the weights by these tensors."""
        save_file(tensors, str(self.path / "new"))
        self.weights((self.path / "new").read_bytes())


@pytest.fixture
def folder(tmp_path, cohort):
    settings = tiny()
    plan = Plan(
        preparation=cohort.manifest.preparation,
        generator=settings.generator,
        patch_size=settings.sampling.patch_size,
        inference=settings.inference,
        training={"settings": settings.model_dump(mode="json")},
    )
    (tmp_path / "model").mkdir()
    save_model(tmp_path / "model", dict(build_generator(plan.generator).state_dict()), plan)
    return Folder(tmp_path / "model")


def truncate(folder):
    content = (folder.path / WEIGHTS).read_bytes()
    (folder.path / WEIGHTS).write_bytes(content[:-100])


def pickled(folder):
    torch.save({"weight": torch.ones(3)}, folder.path / "foreign.pt")
    folder.weights((folder.path / "foreign.pt").read_bytes())


SPOILT = {
    "another region": (
        lambda f: f.plan("preparation", region="pelvis"), "is a model of the pelvis, the cohort shows the brain",
    ),
    "another spacing": (
        lambda f: f.plan("preparation", spacing_mm=[1, 1, 1]), r"trained with preparation\.spacing_mm = \(1\.0, 1\.0, ",
    ),
    "a cut file": (truncate, r"does not match its plan \(different SHA-256\)\. Copy the whole model folder again"),
    "weights without end": (lambda f: os.truncate(f.path / WEIGHTS, 4 * 10**12), "larger than any model of creps"),
    "no weights": (lambda f: (f.path / WEIGHTS).unlink(), f"has a plan but no {WEIGHTS}"),
    "a pickle": (pickled, "cannot be read as safetensors"),
    "another network's tensors": (
        lambda f: f.tensors({"conv1.weight": torch.ones(3, 3)}), r"does not fit the generator of its plan \(residual\)",
    ),
    "tensors of another shape": (
        lambda f: f.tensors({n: t[:1] for n, t in Model.load(f.path).generator.state_dict().items() if t.ndim}),
        "does not fit the generator of its plan",
    ),
    "a plan of a newer schema": (
        lambda f: (f.path / PLAN).write_text(json.dumps({"schema_version": 99})), "has schema version 99.*Update creps",
    ),
    "a plan that is no JSON": (lambda f: (f.path / PLAN).write_text("{"), f"{PLAN} is damaged"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "message"), SPOILT.values(), ids=SPOILT.keys())
def test_a_model_that_does_not_fit_is_refused_in_a_line(folder, cohort, tmp_path, capsys, spoil, message):
    spoil(folder)
    with pytest.raises(CrepsError, match=message):
        train(cohort, tmp_path / "run", overrides=_method(), model=folder.path)
    assert not (tmp_path / "run").exists()
    options = [part for key, value in _method().items() for part in (f"--{key}", str(value).lower())]
    assert run("-q", "train", cohort.folder, "--from", folder.path, "-o", tmp_path / "run", *options) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def _method():
    return {key: TINY[key] for key in ("training.steps", "training.device")}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("foreign.pt", "foreign.pt is a PyTorch file of pickled objects, which creps never opens"),
        ("foreign.safetensors", rf"foreign.safetensors is a file, not a folder with {PLAN} and {WEIGHTS}"),
        ("missing", "missing is not a folder"),
    ],
)
def test_a_file_of_weights_is_no_model(cohort, tmp_path, name, message):
    torch.save({"weight": torch.ones(3)}, tmp_path / "foreign.pt")
    save_file({"weight": torch.ones(3)}, str(tmp_path / "foreign.safetensors"))
    with pytest.raises(CrepsError, match=message):
        train(cohort, tmp_path / "run", overrides=_method(), model=tmp_path / name)


def test_another_network_is_refused_by_name(folder, cohort, tmp_path):
    for changes, message in (
        ({"generator.kind": "unet"}, r"has generator\.kind = residual, the settings ask for unet"),
        ({"generator.width": 2}, r"has generator\.width = 4, the settings ask for 2"),
    ):
        with pytest.raises(CrepsError, match=message):
            train(cohort, tmp_path / "run", overrides=_method() | changes, model=folder.path)


def test_a_disk_too_small_for_the_run_is_met_before_the_first_step(folder, cohort, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(state.shutil, "disk_usage", lambda _: usage(10**9, 10**9, 100_000))
    with pytest.raises(TrainingError, match=r"The run needs \d+ MB in .*has 0 MB free\. Free some"):
        train(cohort, tmp_path / "run", overrides=_method(), model=folder.path)
    assert not (tmp_path / "run" / "curves.csv").exists()


def test_the_same_model_untouched_can_be_started_from(folder, cohort, tmp_path):
    """The counter-example: what the cases above refuse is refused for what they spoil."""
    shutil.copytree(folder.path, tmp_path / "copy")
    train(cohort, tmp_path / "run", overrides=_method() | {"training.steps": 1}, model=tmp_path / "copy")
    assert (tmp_path / "run" / "model" / PLAN).is_file()
