"""``creps evaluate`` never loses an input or a result, and says what is wrong with --against."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

from creps.errors import InputError, OutputExistsError
from creps.evaluation import report as evaluation_report
from creps.evaluation.document import read_document
from creps.io.itk import write_volume
from creps.io.outputs import check_targets
from creps.preprocessing.mask import body_mask_ct
from tests.conftest import ball_head
from tests.test_cli import run
from tests.test_dicom import write_series


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One case in every role, as files and in folders."""
    folder = tmp_path_factory.mktemp("targets")
    ct = ball_head(1)[1]
    write_volume(ct, folder / "data" / "p1" / "ct.mha", integer=True)
    write_volume(ct.with_array(body_mask_ct(ct)), folder / "data" / "p1" / "mask.mha", integer=True)
    write_volume(ct.with_array(ct.array > 600), folder / "data" / "p1" / "organs.mha", integer=True)
    for model in ("a", "b"):
        write_volume(ct.with_array(ct.array + 5), folder / model / "p1_sct.nii.gz", integer=True)
    (folder / "names.json").write_text('{"1": "bone"}')
    assert run("-q", "evaluate", folder / "a", folder / "data", "--json", folder / "old.json") == 0
    return folder


@pytest.fixture
def files(made, tmp_path):
    shutil.copytree(made, tmp_path / "w")
    return tmp_path / "w"


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


INPUTS = [
    "a/p1_sct.nii.gz",
    "b/p1_sct.nii.gz",
    "data/p1/ct.mha",
    "data/p1/mask.mha",
    "data/p1/organs.mha",
    "names.json",
    "data/../names.json",
    "link.json",
    "hard.json",
]


@pytest.mark.parametrize("option", ["--json", "--csv"])
@pytest.mark.parametrize("target", INPUTS)
def test_no_input_is_ever_overwritten(files, option, target, capsys):
    (files / "link.json").symlink_to(files / "data" / "p1" / "ct.mha")
    os.link(files / "names.json", files / "hard.json")
    before = contents(files)
    labels = ["--labels", "organs", "--label-names", files / "names.json"]
    folders = [files / "a", files / "data", "--against", files / "b", *labels]
    sct, ct = files / "a" / "p1_sct.nii.gz", files / "data" / "p1" / "ct.mha"
    labels[1] = ct.with_name("organs.mha")
    single = [sct, ct, "--mask", ct.with_name("mask.mha"), "--against", files / "b" / "p1_sct.nii.gz", *labels]
    for arguments in (folders, single):
        assert run("-q", "evaluate", *arguments, option, files / target, "--overwrite") == 1
        assert "is an input of this evaluation" in capsys.readouterr().err
    assert contents(files) == before


def test_the_other_models_figures_and_a_dicom_series_are_inputs(files, capsys):
    sct, ct = files / "a" / "p1_sct.nii.gz", ball_head(1)[1]
    write_series(files / "dicom", np.maximum(ct.array + 1024, 0), spacing=ct.spacing_mm, origin=ct.origin_mm)
    slice_file = next(path for path in (files / "dicom").rglob("*") if path.is_file())
    bare = slice_file.rename(slice_file.with_name("IM0001"))
    before = contents(files)
    old = files / "old.json"
    assert run("-q", "evaluate", files / "a", files / "data", "--against", old, "--json", old, "--overwrite") == 1
    assert "old.json is an input of this evaluation" in capsys.readouterr().err
    assert run("-q", "evaluate", sct, files / "dicom", "--json", bare, "--overwrite") == 1
    assert "IM0001 is an input of this evaluation" in capsys.readouterr().err
    assert contents(files) == before


@pytest.mark.parametrize("ending", [".nii.gz", ".NII", ".mha", ".mhd", ".nrrd", ".raw", ".zraw", ".dcm"])
def test_a_report_has_no_images_ending(tmp_path, ending):
    """A volume that is no input of this evaluation, or the voxels of one, would be lost as well."""
    with pytest.raises(InputError, match="has the extension of an image"):
        check_targets([tmp_path / f"x{ending}"], [], overwrite=True)


def test_two_results_need_two_files_whatever_they_are_called(tmp_path):
    deep = tmp_path / "new" / "deep"
    with pytest.raises(InputError, match="is given for two outputs"):
        check_targets([deep / "out.json", deep / ".." / "deep" / "out.json"], [], overwrite=True)
    check_targets([deep / "out.json", deep / "out.csv"], [], overwrite=False)
    assert not (tmp_path / "new").exists()
    (tmp_path / "dangling.json").symlink_to(tmp_path / "gone")
    with pytest.raises(OutputExistsError, match="already exists"):
        check_targets([tmp_path / "dangling.json"], [], overwrite=False)


def test_a_place_that_cannot_be_written_to_is_found_before_scoring(files, capsys, monkeypatch):
    arguments = ["-q", "evaluate", files / "a", files / "data"]
    assert run(*arguments, "--json", files / "names.json" / "deep" / "e.json") == 1
    printed = capsys.readouterr()
    assert "names.json is a file, not a folder" in printed.err
    assert printed.out == ""
    closed = files / "data"
    make = tempfile.mkdtemp

    def refused(*given, dir=None, **named):  # noqa: A002
        if dir is not None and Path(dir) == closed:
            raise PermissionError(13, "Permission denied", str(dir))
        return make(*given, dir=dir, **named)

    monkeypatch.setattr(tempfile, "mkdtemp", refused)
    assert run(*arguments, "--csv", closed / "new" / "e.csv") == 1
    printed = capsys.readouterr()
    assert f"no permission to write in {closed}" in printed.err
    assert printed.out == ""


def test_the_table_is_not_lost_when_writing_fails(files, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "e.csv")

    monkeypatch.setattr(evaluation_report, "write_csv", full)
    assert run("-q", "evaluate", files / "a", files / "data", "--csv", files / "e.csv") == 1
    printed = capsys.readouterr()
    assert "MAE" in printed.out
    assert "No space left" in printed.err


def test_the_files_are_not_lost_when_the_tables_reader_has_gone(files, monkeypatch):
    import click

    def gone(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr(click, "echo", gone)
    monkeypatch.setattr("creps.cli.os.dup2", lambda *_: None)
    assert run("-q", "evaluate", files / "a", files / "data", "--json", files / "e.json") == 1
    assert json.loads((files / "e.json").read_text())["summary"]["mae_hu"]["n"] == 1


def test_a_single_sct_against_a_folder(files, capsys):
    sct, ct = files / "a" / "p1_sct.nii.gz", files / "data" / "p1" / "ct.mha"
    arguments = ["-q", "evaluate", sct, ct, "--against"]
    assert run(*arguments, files / "b") == 0
    assert "Paired comparison, 1 patients" in capsys.readouterr().out
    (files / "b" / "p1_sct.nii.gz").rename(files / "b" / "p2_sct.nii.gz")
    for against, message in [
        ("b", "(p2) contains no synthetic CT named after case 'p1'. Name the other model's file"),
        ("b/nothere", "nothere does not exist"),
        ("b/nothere.json", "nothere.json does not exist"),
    ]:
        assert run(*arguments, files / against) == 1
        assert message in capsys.readouterr().err
    assert run("-q", "evaluate", files / "a", files / "data", "--against", sct) == 1
    assert "a is a folder, but" in capsys.readouterr().err
    shutil.copy(sct, files / "sct.nii.gz")
    (files / "c").mkdir()
    shutil.copy(sct, files / "c" / "sct.nii.gz")  # its case would be the folder's name
    assert run("-q", "evaluate", files / "sct.nii.gz", ct, "--against", files / "c") == 0


def test_a_refusal_of_one_case_is_said_once(files, capsys):
    sct, ct = files / "a" / "p1_sct.nii.gz", files / "data" / "p1" / "ct.mha"
    assert run("-q", "evaluate", sct, ct, "--mask", ct) == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: ")
    assert error.count("it is not a mask") == 1
    assert run("-q", "evaluate", sct, ct, "--truth", "ct") == 2
    assert "The option truth names the CTs in a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content["cases"][0]["values"].update(mae_hu="low"), "is not the JSON of an evaluation"),
        (lambda content: content["cases"][0]["values"].update(mae_hu=float("nan")), "is not the JSON"),
        (lambda content: content["cases"][0]["values"].update(mae_hu=10**400), "is not the JSON"),
        (lambda content: content["cases"][0]["values"].update(mae_hu=True), "is not the JSON"),
        (lambda content: content["cases"][0].update(tissues=[1]), "is not the JSON"),
        (lambda content: content["cases"][0].update(inputs=[1]), "is not the JSON"),
        (lambda content: content["cases"][0]["inputs"].update(ct="x"), "is not the JSON"),
        (lambda content: content["cases"][0].update(alignment="x"), "is not the JSON"),
        (lambda content: content["cases"][0].update(case=[1]), "is not the JSON"),
        (lambda content: content["cases"][0].update(values=[1]), "is not the JSON"),
        (lambda content: content.update(cases=["x"]), "is not the JSON"),
        (lambda content: content["cases"].append(content["cases"][0]), "holds the case 'p1' twice"),
    ],
)
def test_figures_that_cannot_be_compared_are_refused(made, tmp_path, change, message):
    content = json.loads((made / "old.json").read_text())
    assert read_document(made / "old.json")["p1"].values["bone_dice"] is not None
    change(content)
    (tmp_path / "changed.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        read_document(tmp_path / "changed.json")
