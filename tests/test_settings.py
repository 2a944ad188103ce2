import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from creps.errors import SettingsError
from creps.settings import ResidualSettings, Settings, leaf_fields, load_settings, preset_names, to_markdown, to_yaml


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads_and_survives_a_file(name, tmp_path):
    settings = load_settings(name)
    assert settings.preset == name
    (tmp_path / "s.yaml").write_text(to_yaml(settings, "header"))
    assert load_settings(file=tmp_path / "s.yaml") == settings


def test_every_field_is_explained_in_a_written_file():
    text, of_a_u_net = (
        to_yaml(load_settings(overrides={"recipe": "paper", "generator.kind": kind})) for kind in ("residual", "unet")
    )
    for section, name, field in leaf_fields():
        assert field.description, f"{section}.{name}"
        only_in_a_u_net = section == "generator" and name not in ResidualSettings.model_fields
        assert f"# {field.description}\n  {name}: " in (of_a_u_net if only_in_a_u_net else text)


def test_layers(tmp_path):
    file = tmp_path / "site.yaml"
    file.write_text("preset: pelvis\ntraining:\n  steps: 7\n  batch_size: 3\n")
    before = file.read_bytes()
    settings = load_settings(file=file, overrides={"training.batch_size": 2})
    assert settings.preparation.region == "pelvis"
    assert (settings.training.steps, settings.training.batch_size) == (7, 2)
    assert load_settings("brain", file).preparation.region == "brain"
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training: {batchsize: 2}", "Unknown setting 'training.batchsize' in .*Did you mean 'training.batch_size'"),
        ("trainig: {batch_size: 2}", "Unknown setting 'trainig' in .*Did you mean 'training'"),
        ("training: {patch_size: [1, 2, 3]}", "Did you mean 'sampling.patch_size'"),
        ("training: {batch_size: none}", "training.batch_size.*integer"),
        ("training: {batch_size: 0}", "greater than or equal to 1"),
        ("preparation: {spacing_mm: [1, 0, 1]}", "greater than 0"),
        ("training: {learning_rate: .nan}", "training.learning_rate"),
        ("sampling: {patch_size: [1, 2]}", "sampling.patch_size"),
        ("adversarial: {loss: wasserstein}", "'bce' or 'least_squares'"),
        ("recipe: paper\nadversarial: {weight: 0}\ncreps: {weight: 0}", "nothing would be learnt"),
        ("discriminator: {conditional: true}", "colocated"),
        ("inference: {patch_overlap: [196, 0, 0]}", "patch_overlap"),
        ("creps: {weights_sha256: xyz}", "hexadecimal"),
        ("- 1\n- 2", "does not hold settings"),
        ("training: [", "cannot be read as YAML"),
        ("preset: liver", "Unknown preset 'liver'.*brain"),
        ("training: 5", "training"),
        ("training: {steps: 3}\ntraining: {batch_size: 7}", "'training' occurs twice"),
        ("training: {steps: true}", "whole number"),
    ],
)
def test_a_wrong_file_is_one_sentence_with_a_remedy(tmp_path, text, message):
    file = tmp_path / "site.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=message) as caught:
        load_settings(file=file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"file": 5}, "5 is not a settings file"),
        ({"preset": 5}, "preset is of the type int"),
        ({"overrides": "training.steps=3"}, "are not settings"),
        ({"overrides": {3: 4}}, "are not settings"),
        ({"recipe": 5}, "'anatomy', 'paper'"),
        ({"file": "no such file.yaml"}, "does not exist"),
    ],
)
def test_wrong_arguments_are_a_settings_error(arguments, message):
    with pytest.raises(SettingsError, match=message):
        load_settings(**arguments)


def test_a_file_may_be_named_by_text(tmp_path):
    (tmp_path / "s.yaml").write_text("training: {steps: 7}")
    assert load_settings(file=str(tmp_path / "s.yaml")).training.steps == 7


def test_scientific_notation_is_a_number(tmp_path):
    (tmp_path / "s.yaml").write_text("training: {learning_rate: 1e-3, steps: 1e3}")  # YAML 1.1 reads these as text
    assert load_settings(file=tmp_path / "s.yaml").training.learning_rate == 1e-3
    assert load_settings(file=tmp_path / "s.yaml").training.steps == 1000


def test_a_cohorts_preparation_stands():
    prepared = load_settings("pelvis", overrides={"preparation.mr_scale": "auto"})
    settings = load_settings(overrides={"training.steps": 2}, prepared=prepared)
    assert settings.preset == "pelvis"
    assert settings.preparation == prepared.preparation
    with pytest.raises(SettingsError, match=r"prepared with preparation.mr_scale = auto"):
        load_settings(overrides={"preparation.mr_scale": 500}, prepared=prepared)


def test_a_sites_file_is_short():
    """What a hospital with MRs in other units would write."""
    site = {"preset": "pelvis", "preparation": {"mr_scale": "auto"}, "training": {"batch_size": 4, "device": "cuda"}}
    assert len(yaml.safe_dump(site).splitlines()) < 20
    Settings.model_validate(site)


@pytest.mark.process
@pytest.mark.parametrize("code", ["import creps", "import creps.cli"])
def test_start_up_is_light(code):
    heavy = "torch numpy scipy SimpleITK pydantic matplotlib skimage torchvision tensorboard"
    code += f"\nimport sys\nprint(*[m for m in '{heavy}'.split() if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_reference_page_is_that_of_the_code():
    """Remake it with: creps settings --markdown > docs/reference/settings.md."""
    page = Path(__file__).parents[1] / "docs" / "reference" / "settings.md"
    assert page.read_text(encoding="utf-8") == to_markdown()
