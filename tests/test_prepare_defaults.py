"""Preparing and training from Python: defaults that fit together, text as paths, wrong calls."""

import sys
from pathlib import Path

import pytest
import yaml

from creps.cohort.cohort import load_cohort
from creps.cohort.prepare import prepare
from creps.errors import CrepsError, InputError, OutputExistsError, SettingsError
from creps.settings import load_settings
from creps.training.run.settings import run_settings
from creps.training.run.train import train
from tests.conftest import TINY
from tests.test_cli import TRAIN, run

COARSE = {"preparation.spacing_mm": [4, 4, 4]}
SHORT = {key: value for key, value in TINY.items() if key.startswith(("generator", "training", "sampling.patch"))}


@pytest.fixture(scope="module")
def cohorts(head_folders, tmp_path_factory):
    """The same people, prepared for the default recipe and for the paper's."""
    folder = tmp_path_factory.mktemp("cohorts")
    names = [str(path) for path in head_folders]
    prepare(names, str(folder / "ours"), overrides=COARSE)
    prepare(names, str(folder / "paper"), recipe="paper", overrides=COARSE | {"preparation.mr_scale": 500})
    return {name: load_cohort(str(folder / name)) for name in ("ours", "paper")}


def test_the_default_preparation_suits_the_default_recipe(cohorts, tmp_path, caplog):
    ours = cohorts["ours"].manifest
    assert (ours.recipe, ours.preparation.mr_scale, ours.preparation.remove_couch) == ("anatomy", "auto", True)
    with caplog.at_level("WARNING", "creps"):
        train(str(cohorts["ours"].folder), str(tmp_path / "run"), overrides=SHORT)
    assert "prepare" not in caplog.text
    written = yaml.safe_load((tmp_path / "run" / "settings.yaml").read_text())
    assert (written["recipe"], written["preparation"]["mr_scale"]) == ("anatomy", "auto")


def test_a_cohort_for_the_paper_is_trained_as_the_paper(cohorts):
    chosen = run_settings(
        cohorts["paper"], Path("run"), None, recipe=None, preset=None, overrides=None, model=None, resume=False
    )
    assert chosen.recipe == "paper"
    assert (chosen.preparation.mr_scale, chosen.preparation.remove_couch) == (500, False)


def test_another_recipe_than_the_cohorts_is_reported_once(cohorts, tmp_path, caplog):
    with caplog.at_level("WARNING", "creps"):
        train(cohorts["paper"], tmp_path / "run", recipe="anatomy", overrides=SHORT)
    (said,) = [line for line in caplog.messages if "prepare" in line]
    assert "preparation.mr_scale is 500, not auto and preparation.remove_couch is false, not true" in said
    assert "run 'creps prepare SOURCES -o COHORT -p brain --recipe anatomy'" in said
    assert said in (tmp_path / "run" / "log.txt").read_text()


def test_the_command_line_has_the_papers_preparation_under_its_name(head_folders, tmp_path, capsys):
    spacing = ["--preparation.spacing_mm", "4,4,4"]
    arguments = ["-q", "prepare", *head_folders, "-o", tmp_path / "c", "--recipe", "paper", *spacing]
    assert run(*arguments, "--preparation.mr_scale", "500") == 0
    assert load_cohort(tmp_path / "c").manifest.recipe == "paper"
    assert run("train", tmp_path / "c", "-o", tmp_path / "run", "--recipe", "anatomy", "--training.steps", "0") == 1
    assert "training.steps" in capsys.readouterr().err
    assert run("-q", "train", tmp_path / "c", "-o", tmp_path / "run", *TRAIN) == 0
    assert "prepared for recipe" not in capsys.readouterr().err


def test_settings_as_a_file_or_complete(head_folders, tmp_path):
    (tmp_path / "s.yaml").write_text("preparation: {spacing_mm: [4, 4, 4], crop_margin_mm: 8}\n")
    cohort = prepare(head_folders, tmp_path / "a", settings=str(tmp_path / "s.yaml"))
    assert cohort.manifest.preparation.crop_margin_mm == 8
    whole = load_settings(file=tmp_path / "s.yaml")
    assert prepare(list(head_folders), tmp_path / "b", settings=whole).manifest.cases == cohort.manifest.cases
    again = prepare(head_folders, tmp_path / "c", like=cohort.settings(), overrides={"preparation.seed": 3})
    assert again.manifest.preparation == cohort.manifest.preparation.model_copy(update={"seed": 3})


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"sources": None}, InputError, "not the sources of a cohort"),
        ({"sources": 5}, InputError, "not the sources of a cohort"),
        ({"sources": ["a", "b", "c"]}, InputError, "not the sources of a cohort"),
        ({"sources": [None, "b"]}, InputError, "not the sources of a cohort"),
        ({"sources": "nowhere"}, InputError, "not a folder"),
        ({"output": None}, InputError, "not a folder"),
        ({"output": "."}, OutputExistsError, "already exists"),
        ({"settings": 5}, SettingsError, "not a settings file"),
        ({"overrides": "x"}, SettingsError, "are not settings"),
        ({"preset": 5}, SettingsError, "preset is of the type int"),
        ({"recipe": 5}, SettingsError, "recipe"),
        ({"jobs": "two"}, SettingsError, "not a number of jobs"),
        ({"jobs": 0}, SettingsError, "not a number of jobs"),
        ({"settings": load_settings(), "preset": "pelvis"}, SettingsError, "but preset is given as well"),
    ],
)
def test_wrong_calls_of_prepare_are_one_sentence_with_a_remedy(head_folders, tmp_path, changes, error, message):
    arguments = {"sources": head_folders, "output": tmp_path / "c"} | changes
    with pytest.raises(error, match=message):
        prepare(**arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cohort": None}, "not a cohort"),
        ({"cohort": "nowhere"}, "not a prepared cohort"),
        ({"output": None}, "not a folder"),
        ({"settings": 5}, "not a settings file"),
        ({"overrides": ["training.steps"]}, "are not settings"),
        ({"overrides": {"training.stepz": 3}}, "Did you mean 'training.steps'"),
        ({"model": "nowhere"}, "not a folder|does not exist|not a model"),
        ({"overrides": {"nce.width": 3}}, "nce.width has no effect"),
    ],
)
def test_wrong_calls_of_train_are_one_sentence_with_a_remedy(cohorts, tmp_path, changes, message):
    arguments = {"cohort": cohorts["ours"], "output": tmp_path / "run"} | changes
    with pytest.raises(CrepsError, match=message):
        train(**arguments)
    assert not list(tmp_path.iterdir())


def test_progress_on_a_terminal_is_a_bar(monkeypatch, capsys):
    from creps.cli.console import progress_bar

    assert progress_bar(True, "preparing") is None
    assert progress_bar(False, "preparing") is None  # not a terminal
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    bar = progress_bar(False, "preparing")
    for _ in range(2):  # one bar after the other
        for done in range(3):
            bar(done, 2, f"case {done}")
    printed = capsys.readouterr().err
    assert "preparing" in printed
    assert printed.count("2/2") >= 2
    assert "case 2" in printed
