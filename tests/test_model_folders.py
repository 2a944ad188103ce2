"""Models that people have: a folder written by an earlier creps loads and gives the sCT that it gave, or is refused."""

import json
import shutil

import numpy as np
import pytest
import torch

import creps
from creps.errors import ModelError
from creps.model import PLAN, WEIGHTS, Plan, load_tensors
from tests.data.model_folders import FOLDER, FORMER, GENERATORS, SMALL, sct_of

TOLERANCE_HU = 0.5
"""Machines and versions of PyTorch differ by the rounding of float32; three instruction sets agreed to .01."""

FOLDERS = [*sorted(path.parent for path in FOLDER.glob("*/sct.npy")), FORMER]


def test_there_is_a_folder_of_every_generator():
    assert {path.name for path in FOLDERS} >= set(GENERATORS)
    assert all(load_tensors(FOLDER / kind / WEIGHTS)["stem.weight"].dtype == torch.bfloat16 for kind in SMALL)
    assert creps.load(FORMER).plan.intake is not None
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 300_000


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_stored_model_gives_the_sct_that_it_gave(folder):
    expected_hu = np.load(folder / "sct.npy").astype(np.float64) / 10
    assert len(np.unique(expected_hu)) > 1000  # not air alone
    np.testing.assert_allclose(sct_of(folder), expected_hu, rtol=0, atol=TOLERANCE_HU)


@pytest.mark.parametrize(("version", "message"), [(0, "which reads schema version 1"), (2, "Update creps")])
def test_a_folder_of_another_schema_is_refused_by_its_number(tmp_path, version, message):
    shutil.copytree(FOLDER / "unet", tmp_path / "m")
    plan = json.loads((tmp_path / "m" / PLAN).read_text())
    (tmp_path / "m" / PLAN).write_text(json.dumps(plan | {"schema_version": version}))
    with pytest.raises(ModelError, match=rf"has schema version {version}.*{message}"):
        creps.load(tmp_path / "m")


def test_a_new_schema_comes_with_new_folders():
    """Whoever raises the version keeps these folders and adds some, see `tests.data.model_folders`."""
    current = Plan.model_fields["schema_version"].default
    assert any(json.loads((path / PLAN).read_text())["schema_version"] == current for path in FOLDERS)
