import json
import os
import re
import subprocess
import sys

import pytest

from creps.cli import main
from creps.io.itk import read_volume, write_volume
from creps.settings import leaf_fields
from tests.conftest import TINY, ball_head

OPTIONS = [
    part
    for key, value in TINY.items()
    if key == "creps.weight" or not key.startswith(("nce.", "creps."))  # refused: these runs have neither term
    for part in (
        f"--{key}",
        "null" if value is None else ",".join(map(str, value)) if isinstance(value, list) else str(value),
    )
]
PREPARE = [x for i in range(0, len(OPTIONS), 2) if OPTIONS[i].startswith("--preparation") for x in OPTIONS[i : i + 2]]
TRAIN = [x for i in range(0, len(OPTIONS), 2) if not OPTIONS[i].startswith("--preparation") for x in OPTIONS[i : i + 2]]


def run(*arguments):
    """Exit code of the command line, run in this process."""
    sys.argv = ["creps", *map(str, arguments)]
    try:
        main()
    except SystemExit as done:
        return done.code or 0
    return 0


@pytest.fixture(scope="module")
def work(tmp_path_factory, head_folders):
    """A cohort, a run and a model made by the verbs themselves."""
    folder = tmp_path_factory.mktemp("work")
    assert run("-q", "prepare", *head_folders, "-o", folder / "cohort", *PREPARE) == 0
    assert run("-q", "train", folder / "cohort", "-o", folder / "run", *TRAIN) == 0
    return folder


def test_the_verbs_make_an_sct_in_the_mrs_format(work, head_folders, tmp_path):
    for suffix in (".nii.gz", ".mha", ".nrrd"):
        write_volume(ball_head(7)[0], tmp_path / f"patient{suffix}")
        assert (
            run("-q", "synthesize", work / "run", tmp_path / f"patient{suffix}", "-o", tmp_path / f"out_{suffix[1:3]}")
            == 0
        )
        sct = read_volume(tmp_path / f"out_{suffix[1:3]}" / f"patient_sct{suffix}")
        assert sct.same_grid_as(ball_head(7)[0])
        assert -1024 <= sct.array.min() < sct.array.max() <= 3000
    record = json.loads((tmp_path / "out_mh" / "patient_sct.json").read_text())
    assert record["input"]["file"] == "patient.mha"
    assert record["patches"]["coverage_min"] >= 2
    assert (tmp_path / "out_mh" / "patient_sct.png").read_bytes().startswith(b"\x89PNG")


def test_several_inputs_and_a_named_file(work, head_folders, tmp_path, capsys):
    inputs = sorted(head_folders[0].iterdir())
    assert run("-q", "synthesize", work / "run" / "model", *inputs, "-o", tmp_path / "all") == 0
    assert len(list((tmp_path / "all").glob("*_sct.nii.gz"))) == 3
    assert run("-q", "synthesize", work / "run" / "model", inputs[0], "-o", tmp_path / "one.nrrd") == 0
    assert read_volume(tmp_path / "one.nrrd").shape == read_volume(inputs[0]).shape
    assert str(tmp_path / "one.nrrd") in capsys.readouterr().out


def test_resume_without_naming_settings_again(work, capsys):
    assert run("train", work / "cohort", "-o", work / "run", "--resume", "auto", "--training.steps", "4") == 0
    assert "steps 4 to 4" in capsys.readouterr().err


@pytest.mark.parametrize(
    "verb",
    ["", "prepare", "train", "synthesize", "evaluate", "settings", "phantom", "demo", "models", "doctor", "export"],
)
def test_help_of_every_verb(verb, capsys):
    assert run(*([verb] if verb else []), "--help") == 0
    out = capsys.readouterr().out
    assert "Usage: creps" in out
    if verb == "train":
        sections = ("generator", "training", "creps", "sampling", "adversarial", "discriminator", "inference")
        for section, name, _ in leaf_fields():
            if section in sections:
                assert f"--{section}.{name}" in out


def test_every_setting_can_be_given_on_the_command_line(capsys):
    """Each to its own default: all are accepted, and the result is the default tree."""
    from creps.settings import ResidualSettings, Settings, load_settings

    arguments = []
    for section, name, field in leaf_fields():
        if section == "generator" and name not in ResidualSettings.model_fields:
            continue  # of another kind: refused beside `residual`
        value = field.default
        arguments += [
            f"--{section}.{name}",
            "null" if value is None else ",".join(map(str, value)) or "[]" if isinstance(value, tuple) else str(value),
        ]
    assert run("settings", "--recipe", "paper", *arguments) == 0
    text = capsys.readouterr().out
    import yaml

    assert Settings.model_validate(yaml.safe_load(text)) == load_settings("brain", overrides={"recipe": "paper"})


def test_hyphens_and_underscores_are_the_same(capsys):
    assert run("settings", "--training.batch-size", "3", "--sampling.patch_size", "32,48,64") == 0
    out = capsys.readouterr().out
    assert "batch_size: 3" in out
    assert "patch_size: [32, 48, 64]" in out


def test_a_settings_file_is_written_once(tmp_path, capsys):
    assert run("settings", "-p", "pelvis", "-o", tmp_path / "s.yaml") == 0
    before = (tmp_path / "s.yaml").read_text()
    assert "2.5" in before
    assert run("settings", "-o", tmp_path / "s.yaml") == 1
    assert (tmp_path / "s.yaml").read_text() == before


def test_bad_input_to_synthesize(work, head_folders, tmp_path, capsys):
    mr, ct = sorted(head_folders[0].iterdir())[0], sorted(head_folders[1].iterdir())[0]
    (tmp_path / "text.nii.gz").write_text("x")
    model, out = work / "run", tmp_path / "out"
    for arguments, message in [
        ([model, tmp_path / "none.nii.gz", "-o", out], "none.nii.gz does not exist"),
        (
            [model, tmp_path / "text.nii.gz", "-o", out],
            "text.nii.gz cannot be read as an image (no NIfTI header: its first 4",
        ),
        ([model, ct, "-o", out], "looks like a CT in HU"),
        ([tmp_path, mr, "-o", out], "is not a model"),
        ([model, mr, mr, "-o", tmp_path / "one.nii.gz"], "is a single file, but there are 2 inputs"),
        ([model, mr, mr, "-o", out], "Two inputs have the same output"),
        ([model, mr, "-o", mr], "is an input MR"),
        ([model, mr, "-o", out, "--inference.fusion", "max"], "inference.fusion"),
        ([model, mr, "-o", out, "--device", "cuda:9"], "Device not available: 'cuda:9'"),
        ([model, mr, "-o", tmp_path / "sct.png"], "sct.png has an unknown file extension"),
    ]:
        assert run("-q", "synthesize", *arguments) == 1, arguments
        printed = capsys.readouterr()
        assert re.fullmatch(r"Error: [^\n]*\n", printed.err), printed.err
        assert message in printed.err
        assert "Traceback" not in printed.err
        assert not out.exists()
    assert run("-q", "synthesize", model, mr, "-o", out) == 0
    written = (out / f"{mr.name.removesuffix('.nii.gz')}_sct.nii.gz").read_bytes()
    assert run("-q", "synthesize", model, mr, "-o", out) == 1
    assert "already exists" in capsys.readouterr().err
    assert run("-q", "synthesize", model, mr, "-o", out, "--overwrite") == 0
    assert (out / f"{mr.name.removesuffix('.nii.gz')}_sct.nii.gz").read_bytes() == written  # the same bytes


def _a_pipe(folder):
    os.mkfifo(folder / "pipe.nii.gz")
    return folder / "pipe.nii.gz"


def _an_empty_folder(folder):
    (folder / "empty").mkdir()
    return folder / "empty"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "none.nii.gz", "none.nii.gz does not exist"),
        (lambda folder: folder / "none.txt", "none.txt does not exist"),
        (_an_empty_folder, "empty"),
        (_a_pipe, "pipe.nii.gz is a pipe or a device"),
    ],
    ids=["missing", "missing, unknown ending", "empty folder", "pipe"],
)
def test_one_mr_that_cannot_be_used_is_named_whatever_the_output(work, tmp_path, capsys, make, message):
    mr = make(tmp_path)
    for output in (tmp_path / "sct.nii.gz", tmp_path / "out"):
        assert run("-q", "synthesize", work / "run", mr, "-o", output) == 1
        printed = capsys.readouterr().err
        assert re.fullmatch(r"Error: [^\n]*\n", printed), printed
        assert message in printed
        assert not output.exists()
    assert run("-q", "evaluate", mr, mr) == 1
    assert message in capsys.readouterr().err


def test_a_region_without_a_phantom_is_a_usage_error(capsys, tmp_path):
    assert run("phantom", tmp_path / "p", "--region", "liver") == 2
    assert "'liver' is not one of 'head', 'pelvis'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prepare", "nowhere", "nowhere", "-o", "c"], "nowhere is not a folder"),
        (["train", "nowhere", "-o", "r"], "is not a prepared cohort"),
        (["phantom", "p", "--spacing", "-1"], "spacing"),
        (["settings", "-p", "liver"], "Unknown preset 'liver'"),
        (["settings", "-s", "none.yaml"], "does not exist"),
        (["settings", "--training.steps", "many"], "training.steps"),
        (["settings", "--training.steps", ""], "--training.steps was given without a value"),
    ],
)
def test_bad_input_to_the_other_verbs(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert run("-q", *arguments) == 1
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_unknown_option_names_the_nearest(capsys):
    assert run("train", "c", "-o", "r", "--training.batchsize", "3") == 2
    assert "--training.batch_size" in capsys.readouterr().err


@pytest.mark.process
def test_python_dash_m():
    done = subprocess.run([sys.executable, "-m", "creps", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("creps, version 0.")


def test_phantoms_of_a_verb(tmp_path):
    arguments = ["--mr", "1", "--ct", "1", "--test", "1", "--spacing", "5"]
    assert run("-q", "phantom", tmp_path / "p", *arguments) == 0
    assert len(list((tmp_path / "p" / "train").iterdir())) == 2
    assert (tmp_path / "p" / "test" / "1HT001" / "ct_noise_free.nii.gz").is_file()


def test_records_never_collide_and_failures_leave_nothing(work, tmp_path, capsys, monkeypatch):
    mr = ball_head(7)[0]
    write_volume(mr, tmp_path / "x" / "p.nii.gz")
    write_volume(mr, tmp_path / "y" / "p.mha")
    out = tmp_path / "out"
    assert run("-q", "synthesize", work / "run", tmp_path / "x" / "p.nii.gz", tmp_path / "y" / "p.mha", "-o", out) == 1
    assert "have the same output" in capsys.readouterr().err
    (tmp_path / "p_ct.json").write_text("{}")  # somebody's sidecar
    assert run("-q", "synthesize", work / "run", tmp_path / "x" / "p.nii.gz", "-o", tmp_path / "p_ct.nii.gz") == 1
    assert "p_ct.json already exists" in capsys.readouterr().err

    def full(*arguments, **options):
        raise OSError(28, "No space left on device", "p_sct.png")

    monkeypatch.setattr("creps.synthesis.writing.synthesis_figure", full)
    assert run("-q", "synthesize", work / "run", tmp_path / "x" / "p.nii.gz", "-o", out) == 1
    assert "No space left" in capsys.readouterr().err
    assert not out.exists() or not list(out.iterdir())


def test_an_internal_error_is_one_line_unless_details_are_asked_for(work, tmp_path, capsys, monkeypatch):
    def surprise(*arguments, **options):
        raise RuntimeError("a surprise")

    monkeypatch.setattr("creps.io.image.ImageSource.read", surprise)
    write_volume(ball_head(7)[0], tmp_path / "p.nii.gz")
    assert run("synthesize", work / "run", tmp_path / "p.nii.gz", "-o", tmp_path / "o") == 70
    assert "Internal error: RuntimeError: a surprise" in capsys.readouterr().err
    assert run("-v", "synthesize", work / "run", tmp_path / "p.nii.gz", "-o", tmp_path / "o") == 70
    assert "Traceback" in capsys.readouterr().err


def test_a_preset_for_another_region_is_refused(work, capsys):
    assert run("-q", "train", work / "cohort", "-o", work / "other", "-p", "pelvis") == 1
    assert "Preset 'pelvis' is for region pelvis, the cohort (preset 'brain') for brain" in capsys.readouterr().err


def test_the_data_file_of_a_header_is_not_overwritten(work, tmp_path, capsys):
    write_volume(ball_head(7)[0], tmp_path / "p.nii.gz")
    (tmp_path / "s.zraw").write_text("precious")
    assert run("-q", "synthesize", work / "run", tmp_path / "p.nii.gz", "-o", tmp_path / "s.mhd") == 1
    assert "s.zraw already exists" in capsys.readouterr().err
    assert (tmp_path / "s.zraw").read_text() == "precious"


def test_help_lists_options_alone_and_what_a_training_takes_from_its_cohort():
    from click.testing import CliRunner

    from creps.cli.verbs import creps

    def help_of(verb):
        return " ".join(CliRunner().invoke(creps, [verb, "--help"], terminal_width=200).output.split())

    for verb in ("prepare", "train", "synthesize"):
        assert "Options: -o, --output" in help_of(verb)
    assert help_of("train").count("default: the cohort's.") == 2
    assert "default: anatomy." in help_of("prepare")


def test_a_list_of_numbers_in_several_words_is_told_from_folders(tmp_path, capsys):
    code = run("prepare", tmp_path, tmp_path, "-o", tmp_path / "c", "--preparation.spacing_mm", "2", "2", "2")
    assert code == 2
    assert "'2' is not a folder: write a list of numbers as one word, 2,2,2." in " ".join(
        capsys.readouterr().err.split()
    )
