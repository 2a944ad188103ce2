"""``creps evaluate`` on files and folders."""

import csv
import json
import re
import shutil
import unicodedata

import numpy as np
import pytest

from creps.errors import InputError
from creps.evaluation.batch import evaluate_folder
from creps.evaluation.matching import find_scts, match
from creps.io.itk import read_volume, write_volume
from creps.preprocessing.mask import body_mask_ct
from creps.volume import Volume
from tests.conftest import ball_head
from tests.test_cli import run
from tests.test_dicom import write_series

CASES = ["1BA001", "1BA002", "1BB003"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Three cases as SynthRAD lays them out, and the sCTs of two models of them."""
    folder = tmp_path_factory.mktemp("evaluate")
    for number, case in enumerate(CASES):
        ct = ball_head(number)[1]
        noise = np.random.default_rng(number).normal(0, 10, ct.shape)
        write_volume(ct, folder / "data" / "brain" / case / "ct.mha", integer=True)
        write_volume(ct.with_array(ct.array - noise), folder / "data" / "brain" / case / "ct_clean.mha", integer=True)
        write_volume(ct.with_array(body_mask_ct(ct)), folder / "data" / "brain" / case / "mask.mha", integer=True)
        write_volume(ct.with_array(ct.array > 600), folder / "data" / "brain" / case / "labels.mha", integer=True)
        for model, offset in (("good", 5 + number), ("bad", 50)):
            write_volume(ct.with_array(ct.array + offset), folder / model / f"{case}_sct.nii.gz", integer=True)
    (folder / "names.json").write_text('{"0": "rest", "1": "bone"}')
    return folder


def table(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_a_pair_of_files(cohort, capsys, tmp_path):
    ct = cohort / "data" / "brain" / CASES[1] / "ct.mha"
    arguments = [cohort / "good" / f"{CASES[1]}_sct.nii.gz", ct, "--mask", ct.with_name("mask.mha")]
    assert run("-q", "evaluate", *arguments, "--json", tmp_path / "out" / "e.json", "--csv", tmp_path / "e.csv") == 0
    out = capsys.readouterr().out
    assert out.startswith("1BA002: on the same grid; mask: given\n")
    assert re.search(r"^MAE +6\.0  HU$", out, flags=re.MULTILINE)
    assert re.search(r"^internal air HD95 +-  mm  the CT and the sCT have no air there$", out, flags=re.MULTILINE)
    content = json.loads((tmp_path / "out" / "e.json").read_text())
    assert content["cases"][0]["values"]["bias_hu"] == pytest.approx(6, abs=0.01)
    assert content["summary"]["mae_hu"]["ci95"] is None
    assert content["summary"]["mae_hu"]["ci95_missing"] == "an interval needs at least 3 patients, there are 1"
    assert str(cohort) not in json.dumps(content)
    assert "scikit-image" in content["versions"]
    rows = table(tmp_path / "e.csv")
    assert (rows[0]["case"], rows[0]["alignment"], rows[0]["mask"]) == ("1BA002", "same grid", "given")
    assert float(rows[0]["mae_hu"]) == content["cases"][0]["values"]["mae_hu"]
    assert rows[0]["air_dice"] == ""


def test_a_cohort(cohort, capsys, tmp_path):
    assert run("-q", "evaluate", cohort / "good", cohort / "data", "--json", tmp_path / "e.json") == 0
    out = capsys.readouterr().out
    assert out.startswith("3 cases: on the same grid; mask: given\n")
    assert re.search(r"^MAE +HU +6\.0 +1\.0 +6\.0 +5\.\d to \d\.\d +3  7\.0 \(1BB003\)$", out, flags=re.MULTILINE)
    row = json.loads((tmp_path / "e.json").read_text())["summary"]["mae_hu"]
    assert (row["n"], row["missing"], row["worst"]["case"]) == (3, 0, "1BB003")
    assert (row["mean"], row["sd"], row["median"]) == pytest.approx((6, 1, 6), abs=0.01)
    assert row["ci95"]["low"] < 6 < row["ci95"]["high"]


def test_another_truth_and_labels(cohort, tmp_path):
    arguments = [cohort / "good", cohort / "data", "--truth", "ct_clean", "--json", tmp_path / "e.json"]
    assert run("-q", "evaluate", *arguments, "--labels", "labels", "--label-names", cohort / "names.json") == 0
    content = json.loads((tmp_path / "e.json").read_text())
    assert content["asked"]["truth"] == "ct_clean"
    assert content["cases"][0]["inputs"]["ct"]["file"] == "ct_clean.mha"
    assert content["summary"]["mae_hu"]["mean"] > 8  # the noise that the sCT has and this truth has not
    assert content["summary"]["mae_bone_hu"]["n"] == 3
    assert "mae_cortical_bone_hu" not in content["summary"]


def test_two_models_on_the_same_patients(cohort, capsys, tmp_path):
    good, bad, data = cohort / "good", cohort / "bad", cohort / "data"
    assert run("-q", "evaluate", good, data, "--against", bad, "--json", tmp_path / "e.json") == 0
    out = capsys.readouterr().out
    assert re.search(r"^MAE +HU +6\.0 +50\.0 +-44\.0 +-4\d\.\d to -4\d\.\d +3 +0\.2500$", out, flags=re.MULTILINE)
    assert "With so few patients, no p-value can be below 0.25." in out
    found = json.loads((tmp_path / "e.json").read_text())["comparison"]
    assert found["metrics"]["mae_hu"]["mean_difference"] == pytest.approx(-44, abs=0.01)
    assert found["patients"] == CASES
    assert run("-q", "evaluate", bad, data, "--against", tmp_path / "e.json", "--json", tmp_path / "f.json") == 0
    back = json.loads((tmp_path / "f.json").read_text())["comparison"]["metrics"]["mae_hu"]
    assert back["mean_difference"] == -found["metrics"]["mae_hu"]["mean_difference"]
    capsys.readouterr()
    assert run("-q", "evaluate", bad, data, "--against", tmp_path / "e.json", "--truth", "ct_clean") == 3
    assert "not compared: 1BA001 was scored with another CT" in capsys.readouterr().out


def test_what_does_not_match_and_what_fails_is_told(cohort, capsys, tmp_path):
    scts, data = tmp_path / "s", tmp_path / "data"
    shutil.copytree(cohort / "good", scts)
    shutil.copytree(cohort / "data" / "brain", data)
    shutil.copy(scts / "1BA001_sct.nii.gz", scts / "1BA009_sct.nii.gz")
    (data / "1BA002" / "ct.mha").write_text("nothing")
    shutil.copytree(data / "1BA001", data / "1BA008")
    assert run("-q", "evaluate", scts, data, "--json", tmp_path / "e.json", "--csv", tmp_path / "e.csv") == 3
    printed = capsys.readouterr()
    assert "1 could not be scored: 1BA002" in printed.err
    assert "1 have no true CT: 1BA009" in printed.err
    assert "1 have no synthetic CT: 1BA008" in printed.err
    content = json.loads((tmp_path / "e.json").read_text())
    assert [case["case"] for case in content["cases"]] == ["1BA001", "1BB003"]
    assert content["failures"][0]["case"] == "1BA002"
    assert "ct.mha" in content["failures"][0]["reason"]
    assert str(tmp_path) not in json.dumps(content)
    assert (content["without_ct"], content["without_sct"]) == (["1BA009"], ["1BA008"])
    assert len((tmp_path / "e.csv").read_text().splitlines()) == 3


def test_nothing_is_overwritten_unasked(cohort, capsys, tmp_path):
    (tmp_path / "e.json").write_text("mine")
    arguments = [cohort / "good", cohort / "data", "--json", tmp_path / "e.json"]
    assert run("-q", "evaluate", *arguments) == 1
    assert "e.json already exists. Add --overwrite" in capsys.readouterr().err
    assert (tmp_path / "e.json").read_text() == "mine"
    assert run("-q", "evaluate", *arguments, "--overwrite") == 0
    assert json.loads((tmp_path / "e.json").read_text())["schema"] == 1


def test_figures_after_registration_say_so(cohort, capsys, tmp_path):
    sct, ct = cohort / "good" / "1BA001_sct.nii.gz", cohort / "data" / "brain" / "1BA001" / "ct.mha"
    results = ["--json", tmp_path / "e.json", "--csv", tmp_path / "e.csv"]
    assert run("-q", "evaluate", sct, ct, "--register", "rigid", *results) == 0
    assert "1BA001: AFTER RIGID REGISTRATION of the CT to the sCT" in capsys.readouterr().out
    content = json.loads((tmp_path / "e.json").read_text())
    assert content["alignment"] == ["rigidly registered"]
    assert content["cases"][0]["alignment"]["rotation_deg"] == pytest.approx([0, 0, 0], abs=1)
    assert table(tmp_path / "e.csv")[0]["alignment"] == "rigidly registered"


def test_bad_input(cohort, capsys, tmp_path):
    sct, ct = cohort / "good" / "1BA001_sct.nii.gz", cohort / "data" / "brain" / "1BA001" / "ct.mha"
    other = read_volume(ct)
    write_volume(Volume(other.array, (5, 5, 5)), tmp_path / "grid.nii.gz")
    write_volume(other.with_array(np.zeros(other.shape)), tmp_path / "empty.nii.gz")
    write_volume(Volume(np.ones(other.shape), (5, 5, 5)), tmp_path / "elsewhere.nii.gz")
    (tmp_path / "no.json").write_text("{}")
    (tmp_path / "nothing").mkdir()
    mixed = tmp_path / "mixed"
    shutil.copytree(cohort / "good", mixed / "a")
    shutil.copytree(cohort / "good", mixed / "b")
    for arguments, code, message in [
        ([tmp_path / "none.nii.gz", ct], 1, "none.nii.gz does not exist"),
        ([sct, tmp_path / "none.nii.gz"], 1, "none.nii.gz does not exist"),
        ([sct, tmp_path / "grid.nii.gz"], 1, "is on a different grid from the sCT"),
        ([sct, ct, "--mask", tmp_path / "empty.nii.gz"], 1, "the mask is empty"),
        ([sct, ct, "--mask", tmp_path / "elsewhere.nii.gz"], 1, "on neither the sCT's grid"),
        ([sct, tmp_path / "empty.nii.gz"], 1, "is not a CT in HU"),
        ([sct, ct, "--against", tmp_path / "no.json"], 1, "no.json is not the JSON of an evaluation"),
        ([sct, ct, "--json", tmp_path], 1, "is a folder"),
        ([sct, ct, "--json", tmp_path / "x", "--csv", tmp_path / "x"], 1, "is given for two outputs"),
        ([cohort / "good", ct], 1, "is a folder, but"),
        ([tmp_path / "nothing", cohort / "data"], 1, "contains no synthetic CT"),
        ([cohort / "good", tmp_path / "nothing"], 1, "contains no CT named ct"),
        ([cohort / "good", cohort / "data", "--truth", "gold"], 1, "contains no CT named gold"),
        ([mixed, cohort / "data"], 1, "contains two files for case '1BA001'"),
        ([cohort / "good", tmp_path], 1, "has the name of a case in"),
        ([cohort / "good", cohort / "data", "--mask", ct], 2, "A mask goes with one sCT"),
        ([sct, ct, "--labels", ct], 2, "Labels and their names go together"),
        ([sct, ct, "--resample", "--register", "rigid"], 2, "Leave out --resample"),
        ([sct, ct, "--register", "wild"], 2, "'wild' is not one of"),
    ]:
        assert run("-q", "evaluate", *arguments) == code, arguments
        printed = capsys.readouterr()
        assert message in printed.err, printed.err
        assert "Traceback" not in printed.err
        if code == 1:
            assert re.fullmatch(r"Error: [^\n]*\n", printed.err.splitlines(keepends=True)[-1])


def write(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")


@pytest.mark.parametrize(
    ("names", "cases"),
    [
        (["p1_sct.nii.gz", "p2_sct.mha", "p1.nii.gz", "p1_sct.json"], ["p1", "p2"]),  # beside its MR
        (["p1.nii.gz", "p2.nii.gz", "p1_mask.nii.gz"], ["p1", "p2"]),
        (["p1/sct.nii.gz", "p2/sct.nrrd", "p2/ct.nii.gz"], ["p1", "p2"]),
        (["p1/mr_sct.nii.gz", "p2/mr_sct.nii.gz"], ["p1", "p2"]),
        (["Task1/AB/p1/sct.mha", "Task1/TH/p2/sct.mha", ".hidden/p3/sct.mha"], ["p1", "p2"]),
        (["a/p1_sct.nii.gz", "b/p2_sct.nii.gz"], ["p1", "p2"]),
    ],
)
def test_names_of_synthetic_cts(tmp_path, names, cases):
    write(tmp_path, *names)
    assert list(find_scts(tmp_path)) == cases


@pytest.mark.parametrize(
    ("names", "mask"),
    [
        (["p1/ct.nii.gz", "p1/mask.nii.gz", "p1/mr.nii.gz"], "mask.nii.gz"),
        (["Task1/pelvis/p1/CT.mha", "Task1/pelvis/p1/mask.mha"], "mask.mha"),
        (["p1.nii.gz", "p1_mask.nii.gz", "p2_mask.nii.gz"], "p1_mask.nii.gz"),
        (["p1_ct.nii.gz", "p1_mask.nii.gz", "p1_mr.nii.gz"], "p1_mask.nii.gz"),
        (["p1_ct.nii.gz"], None),
    ],
)
def test_true_cts_and_their_masks(tmp_path, names, mask):
    write(tmp_path / "s", "p1_sct.nii.gz")
    write(tmp_path / "t", *names)
    (pair,) = match(tmp_path / "s", tmp_path / "t").pairs
    assert pair.case == "p1"
    assert "ct" in pair.ct.name.lower() or pair.ct.name == "p1.nii.gz"
    assert (pair.mask and pair.mask.name) == mask


def test_sct_and_ct_may_lie_together(tmp_path):
    write(tmp_path, "p1/ct.mha", "p1/sct.mha", "p2/ct.mha", "p2/sct.mha")
    assert [pair.case for pair in match(tmp_path, tmp_path).pairs] == ["p1", "p2"]


@pytest.mark.parametrize(
    "names",
    [
        ["{}_ct.mha", "{}_mask.mha", "{}_organs.mha"],
        ["{}.nii.gz", "{}_mask.mha", "{}_organs.mha"],
        ["{}/ct.mha", "{}/mask.mha", "{}/organs.mha"],
    ],
)
@pytest.mark.parametrize("name", ["Jörg Müller", "Đặng", "Å1"])
def test_the_unicode_form_of_a_name_does_not_count(tmp_path, name, names):
    one, other = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    assert one != other
    for first, second in ((one, other), (other, one)):
        folder = tmp_path / first.encode().hex()
        write(folder / "s", f"{first}_sct.nii.gz")
        write(folder / "t", *(each.format(second) for each in names))
        (pair,) = match(folder / "s", folder / "t", labels="organs").pairs
        assert pair.case == one
        assert pair.mask is not None
        assert pair.labels is not None


def test_one_name_in_two_unicode_forms_is_one_case(tmp_path):
    write(tmp_path, *(f"{unicodedata.normalize(form, 'Bär')}_sct.nii.gz" for form in ("NFC", "NFD")))
    with pytest.raises(InputError, match="two files for case 'Bär'"):
        find_scts(tmp_path)


def test_two_models_agree_on_names_whatever_their_unicode_form(cohort, tmp_path, capsys):
    for folder, form in (("good", "NFC"), ("bad", "NFD"), ("data", "NFD")):
        name = unicodedata.normalize(form, "Bär")
        source = cohort / folder / f"{CASES[0]}_sct.nii.gz"
        if folder == "data":
            source = cohort / "data" / "brain" / CASES[0] / "ct.mha"
        (tmp_path / folder).mkdir()
        shutil.copy(source, tmp_path / folder / (f"{name}_ct.mha" if folder == "data" else f"{name}_sct.nii.gz"))
    folders = [tmp_path / "good", tmp_path / "data", "--against", tmp_path / "bad"]
    assert run("-q", "evaluate", *folders, "--json", tmp_path / "e.json") == 0
    content = json.loads((tmp_path / "e.json").read_text())
    assert [case["case"] for case in content["cases"]] == ["Bär"]
    assert content["cases"][0]["values"]["bias_hu"] == pytest.approx(5, abs=0.01)
    assert content["comparison"]["metrics"]["bias_hu"]["mean_second"] == pytest.approx(50, abs=0.01)


def test_a_dicom_series_is_a_ct_and_its_folder_is_not_told(cohort, tmp_path):
    sct, ct = cohort / "good" / "1BA001_sct.nii.gz", read_volume(cohort / "data" / "brain" / "1BA001" / "ct.mha")
    write_series(tmp_path / "Doe_Jane", np.maximum(ct.array + 1024, 0), spacing=ct.spacing_mm, origin=ct.origin_mm)
    assert run("-q", "evaluate", sct, tmp_path / "Doe_Jane", "--json", tmp_path / "e.json") == 0
    text = (tmp_path / "e.json").read_text()
    assert json.loads(text)["summary"]["mae_hu"]["mean"] == pytest.approx(5, abs=0.01)
    assert "Doe" not in text


def test_the_sct_may_be_a_dicom_series_too(cohort, tmp_path, capsys):
    ct = cohort / "data" / "brain" / "1BA001" / "ct.mha"
    sct = read_volume(cohort / "good" / "1BA001_sct.nii.gz")
    write_series(tmp_path / "Doe_Jane", np.maximum(sct.array + 1024, 0), spacing=sct.spacing_mm, origin=sct.origin_mm)
    assert run("-q", "evaluate", tmp_path / "Doe_Jane", ct, "--json", tmp_path / "e.json") == 0
    assert capsys.readouterr().out.startswith("sct: on the same grid")
    text = (tmp_path / "e.json").read_text()
    assert json.loads(text)["summary"]["mae_hu"]["mean"] == pytest.approx(5, abs=0.01)
    assert "Doe" not in text


def test_a_cohort_from_python(cohort):
    told = []
    result = evaluate_folder(
        str(cohort / "good"), str(cohort / "data"), against=str(cohort / "bad"), progress=lambda *now: told.append(now)
    )
    assert result.complete
    assert list(result.cases) == CASES
    assert result.summary()["mae_hu"]["mean"] == pytest.approx(6, abs=0.01)
    assert result.comparison is not None
    assert result.comparison.patients == tuple(CASES)
    assert told == [(done, 6, case) for done, case in enumerate(CASES + CASES, start=1)]
    assert not result.failed
