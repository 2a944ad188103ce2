"""The models that come with creps: undamaged, small, described, and found by name."""

import doctest
import importlib
import json
import logging
import shutil
import zlib
from pathlib import Path

import pytest
import torch

import creps
from creps.errors import ModelError
from creps.model import WEIGHTS, Model, load_plan, load_tensors, save_model, save_tensors
from creps.provenance import sha256_file
from creps.shipped.catalogue import CARD, SCORES, SHIPPED, SUMS, shipped_names, verify, write_sums
from creps.shipped.names import find_model
from tests.conftest import ball_head
from tests.test_cli import run

WHEEL_BYTES = 20_000_000
NAMES = shipped_names()


def test_the_model_of_heads_ships():
    assert "head" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_model_is_complete_and_described(name):
    folder = SHIPPED / name
    model = creps.load(name)
    scores = json.loads((folder / SCORES).read_text(encoding="utf-8"))
    assert model.plan.weights_sha256 == sha256_file(folder / WEIGHTS) == scores["weights_sha256"]
    assert scores["scores"][name]["mae_hu"] < scores["scores"]["constant water"]["mae_hu"]
    card = (folder / CARD).read_text(encoding="utf-8")
    assert model.plan.weights_sha256 in card
    assert "Not for diagnosis" in card
    (listed,) = (one for one in creps.models() if one.name == name)
    assert listed.licence == "Apache-2.0"
    assert listed.region == model.plan.preparation.region
    assert listed.spacing_mm == model.plan.preparation.spacing_mm
    assert "phantoms only" in listed.trained_on


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_model_names_no_place_of_the_machine_that_trained_it(name):
    for path in (SHIPPED / name).iterdir():
        if path.suffix != ".safetensors":
            text = path.read_text(encoding="utf-8")
            assert not any(part in text for part in ("/home/", "/root/", "/work", "/tmp/", "C:\\")), path


def test_every_file_that_ships_has_its_hash():
    assert set(verify()) == {path.relative_to(SHIPPED).as_posix() for path in SHIPPED.glob("*/*") if _ships(path)}


def _ships(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


def test_the_package_fits_into_a_wheel_of_twenty_megabytes():
    """A wheel deflates its files; nothing of it is left out of this sum but the headers."""
    package = Path(creps.__file__).parent
    files = [path for path in package.rglob("*") if _ships(path)]
    assert sum(len(zlib.compress(path.read_bytes(), 6)) for path in files) < WHEEL_BYTES


def test_the_wheel_takes_every_file_of_the_package():
    """The build takes whole packages; only what git ignores is left out."""
    ignored = {line.strip("/ ") for line in (SHIPPED.parents[2] / ".gitignore").read_text().splitlines()}
    for path in SHIPPED.rglob("*"):
        if _ships(path):
            assert not ignored & set(path.relative_to(SHIPPED.parent).parts), path
            assert path.suffix in (".py", ".json", ".md", ".yaml", ".safetensors", "")


@pytest.fixture
def copied(tmp_path):
    shutil.copytree(SHIPPED / "head", tmp_path / "shipped" / "head")
    write_sums(tmp_path / "shipped")
    return tmp_path / "shipped"


def test_a_changed_byte_is_found(copied):
    assert "head/plan.json" in verify(copied)
    weights = copied / "head" / WEIGHTS
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelError, match=rf"{WEIGHTS} is damaged: its SHA-256.*Install creps again\."):
        verify(copied)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "head" / CARD).unlink(), f"{CARD} is missing"),
        (lambda folder: (folder / "head" / "notes.txt").write_text("x"), "notes.txt is not part of creps"),
        (lambda folder: (folder / SUMS).unlink(), f"{SUMS} is missing or damaged"),
        (lambda folder: (folder / SUMS).write_text("nothing\n"), f"{SUMS} is missing or damaged"),
    ],
)
def test_missing_and_added_files_are_found(copied, spoil, message):
    spoil(copied)
    with pytest.raises(ModelError, match=message):
        verify(copied)


def test_the_command_lists_the_models(capsys):
    assert run("models", "--verify") == 0
    printed = capsys.readouterr()
    assert "Apache-2.0" in printed.out
    assert "as they were shipped" in printed.err
    assert run("models", "--json") == 0
    assert [model["name"] for model in json.loads(capsys.readouterr().out)] == NAMES


def test_the_readmes_table_is_what_the_command_prints(capsys):
    assert run("models") == 0
    printed = [line.split() for line in capsys.readouterr().out.splitlines() if "phantoms" in line]
    readme = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
    rows = [f"| {water} | **{mae}** | {dice.removeprefix('0')} |" for *_, water, mae, dice in printed[:-1]]
    assert len(rows) == 2 * len(NAMES)
    assert [row for row in rows if row not in readme] == []


def test_the_page_of_model_cards_has_each_models_weights_and_scores():
    page = (Path(__file__).resolve().parents[1] / "docs" / "models.md").read_text(encoding="utf-8")
    for name in NAMES:
        card = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
        scores = json.loads((SHIPPED / name / SCORES).read_text(encoding="utf-8"))
        own, water = scores["scores"][name], scores["scores"]["constant water"]
        dice = f"{own['bone_dice']:.2f}".removeprefix("0")
        assert f"`{scores['weights_sha256']}`" in card
        assert f"| {own['mae_hu']:.0f} | {scores['worst_mae_hu']:.0f} | {own['bias_hu']:.0f} | {dice} |" in card
        assert f"{water['mae_hu']:.0f} HU, bias {water['bias_hu']:.0f}" in card


def test_the_command_says_which_file_is_damaged(capsys, monkeypatch, copied):
    (copied / "head" / CARD).write_text("other\n")
    monkeypatch.setattr(verify, "__defaults__", (copied,))
    assert run("models", "--verify") == 1
    error = capsys.readouterr().err
    assert f"{CARD} is damaged" in error
    assert len(error.splitlines()) == 1


def test_a_name_finds_the_shipped_model_and_a_path_the_folder(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    assert find_model("head") == SHIPPED / "head"
    assert not caplog.records
    Path("head").mkdir()
    with caplog.at_level(logging.INFO, "creps"):
        assert find_model("head") == SHIPPED / "head"
    assert "using the shipped model head, not the folder of that name" in caplog.text
    assert find_model("./head") == find_model(Path("head")) == Path("head")
    Path("mine").mkdir()
    assert find_model("mine") == Path("mine")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("haed", r"'haed' does not exist.*Did you mean 'head'\?.*creps models"),
        ("HEAD2", r"Did you mean 'head'\?"),
        ("brain", r"Did you mean 'head'\?"),
        ("prostate", r"Did you mean 'pelvis'\?"),
        ("liver-xyz", r"'liver-xyz' does not exist.*'creps models', or give the model folder"),
        ("", "empty"),
        ("a\0", "null character"),
        (3, "of the type int"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(given, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=message):
        find_model(given)


def test_verbs_take_names(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    creps.write_volume(ball_head(1)[0], "mr.nii.gz")
    common = ["mr.nii.gz", "-o", "sct.nii.gz", "--force", "--device", "cpu"]
    assert run("-q", "synthesize", "haed", *common) == 1
    assert "Did you mean 'head'?" in capsys.readouterr().err
    assert run("-q", "synthesize", "head", *common) == 0
    record = json.loads(Path("sct.json").read_text(encoding="utf-8"))
    assert record["model"]["weights_sha256"] == sha256_file(SHIPPED / "head" / WEIGHTS)
    assert run("-q", "synthesize", "./head", *common, "--overwrite") == 1
    assert "is not a folder" in capsys.readouterr().err
    assert run("-q", "export", "haed", "-o", "m.onnx") == 1
    assert "Did you mean 'head'?" in capsys.readouterr().err
    assert run("-q", "train", "cohort", "--from", "haed", "-o", "r") == 1
    assert run("-q", "prepare", "mr", "ct", "--from", "haed", "-o", "c") == 1
    assert "Did you mean 'head'?" in capsys.readouterr().err


def test_a_damaged_model_prepares_no_cohort(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(SHIPPED / "head", "damaged")
    weights = Path("damaged") / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert run("-q", "prepare", "mr", "ct", "--from", "./damaged", "-o", "c") == 1
    said = capsys.readouterr().err
    assert "does not match its plan" in said
    assert "Copy the whole model folder again" in said
    assert not Path("c").exists()


def test_a_damaged_shipped_model_is_to_be_installed_again(tmp_path, monkeypatch):
    shutil.copytree(SHIPPED, tmp_path / "shipped")
    monkeypatch.setattr("creps.model.SHIPPED", tmp_path / "shipped")
    (tmp_path / "shipped" / "head" / WEIGHTS).unlink()
    with pytest.raises(ModelError, match="Install creps again"):
        Model.load(tmp_path / "shipped" / "head")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_weights_of_any_floating_type_load_as_float32(tmp_path, dtype):
    """The plan's hash is that of the stored file, whatever its type."""
    model = Model.load("head")
    tensors = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in model.generator.state_dict().items()
    }
    plan = save_model(tmp_path, tensors, model.plan)
    assert plan.weights_sha256 == sha256_file(tmp_path / WEIGHTS)
    loaded = Model.load(tmp_path).generator.state_dict()
    for name, tensor in loaded.items():
        assert tensor.dtype == (torch.float32 if tensor.is_floating_point() else torch.int64)
        torch.testing.assert_close(tensor, tensors[name].to(tensor.dtype), rtol=0, atol=0)


def test_small_weights_are_half_the_size_and_nearly_the_same(tmp_path):
    model = Model.load("head")
    for name, small in (("large", False), ("small", True)):
        (tmp_path / name).mkdir()
        save_model(tmp_path / name, dict(model.generator.state_dict()), model.plan, small=small)
    sizes = [(tmp_path / name / WEIGHTS).stat().st_size for name in ("small", "large")]
    assert sizes[0] < 0.52 * sizes[1]
    stored = load_tensors(tmp_path / "small" / WEIGHTS)
    for name, tensor in model.generator.state_dict().items():
        assert stored[name].dtype == (torch.bfloat16 if tensor.ndim > 1 else tensor.dtype)
        torch.testing.assert_close(stored[name].to(tensor.dtype), tensor, rtol=2**-8, atol=0)
    assert load_plan(tmp_path / "small").weights_sha256 == sha256_file(tmp_path / "small" / WEIGHTS)


def test_whole_numbers_are_no_weights(tmp_path):
    model = Model.load("head")
    save_model(
        tmp_path, {name: tensor.to(torch.int8) for name, tensor in model.generator.state_dict().items()}, model.plan
    )
    with pytest.raises(
        ModelError, match=rf"{WEIGHTS} does not fit the generator of its plan \({model.plan.generator.kind}\)"
    ):
        Model.load(tmp_path)


@pytest.mark.parametrize("name", ["shipped.names", "shipped.catalogue", "doctor", "demo.patients", "demo.scanners"])
def test_the_examples_of_the_docstrings_run(name):
    failed, attempted = doctest.testmod(importlib.import_module(f"creps.{name}"), extraglobs={"creps": creps})
    assert attempted
    assert failed == 0


def test_save_tensors_keeps_the_type(tmp_path):
    save_tensors(tmp_path / "t.safetensors", {"a": torch.ones(2, 2, dtype=torch.bfloat16)})
    assert load_tensors(tmp_path / "t.safetensors")["a"].dtype == torch.bfloat16
