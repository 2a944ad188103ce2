"""What docs/reference/versions.md promises of files that version 0.1 wrote; model folders have tests of their own."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import click
import pytest
import yaml

from creps.cli.verbs import creps as command
from creps.cohort.cohort import Manifest
from creps.settings import load_settings
from creps.settings.choices import RecipeName

DATA = Path(__file__).parent / "data"
SETTINGS = json.loads((DATA / "settings" / "0.1.json").read_text())


@pytest.mark.parametrize("name", SETTINGS)
def test_a_settings_file_of_0_1_means_what_it_meant(tmp_path, name):
    """All settings of a recipe and a preset, as the run's folder keeps them: none is refused, renamed or changed."""
    written = SETTINGS[name]
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(written))
    read = load_settings(file=tmp_path / "settings.yaml").model_dump(mode="json")
    assert {section: _only(read[section], written[section]) for section in written} == written


def _only(read, written):
    return {key: read[key] for key in written} if isinstance(written, dict) else read


def test_the_citation_names_this_version():
    cited = yaml.safe_load((Path(__file__).parents[1] / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == version("creps")
    assert f"## [{cited['version']}] - {cited['date-released']}" in (
        Path(__file__).parents[1] / "CHANGELOG.md"
    ).read_text(encoding="utf-8")


def test_the_settings_of_every_recipe_are_kept():
    assert {name.split()[0] for name in SETTINGS} >= set(get_args(RecipeName))


def test_a_cohort_of_0_1_is_read():
    manifest = Manifest.model_validate_json((DATA / "cohort" / "manifest.json").read_text())
    assert [case.case for case in manifest.cases if case.modality == "mr"] == ["m0", "m1"]
    assert manifest.preparation.spacing_mm == (4.0, 4.0, 4.0)


def test_the_commands_and_options_of_0_1_are_there():
    """A script of today works with the next version, unless the list is changed, and the changelog says why."""
    kept = json.loads((DATA / "commands_0.1.json").read_text())
    context = click.Context(command)
    for verb, options in kept.items():
        found = command.get_command(context, verb)
        assert found is not None, f"creps {verb} is gone"
        there = {name for option in found.params for name in (*option.opts, *option.secondary_opts)}
        assert set(options) <= there, f"creps {verb} lost {sorted(set(options) - there)}"
