"""The report of a cohort, from evaluations and from folders of sCTs."""

import json
import re
import shutil

import pytest

import creps
from creps.errors import OutputExistsError
from creps.io.itk import write_volume
from tests.conftest import ball_head
from tests.report.made import qa_report, write_case_files
from tests.test_cli import run


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """sCTs of three people, with errors of 10, 30 and 20 HU, and their CTs."""
    folder = tmp_path_factory.mktemp("cohort")
    for name, error in (("DOE_A", 10.0), ("DOE_B", 30.0), ("DOE_C", 20.0)):
        mr, ct = ball_head(len(name) + int(error))
        write_volume(ct, folder / "ct" / name / "ct.nii.gz", integer=True)
        write_volume(mr, folder / "ct" / name / "mr.nii.gz", integer=True)
        write_volume(ct.with_array(ct.array + error), folder / "sct" / name / "sct.nii.gz", integer=True)
        write_volume(ct.with_array(ct.array + error / 2), folder / "other" / name / "sct.nii.gz", integer=True)
    qa_report().write(folder / "sct" / "DOE_A" / "sct_qa.json")
    return folder


@pytest.fixture(scope="module")
def evaluated(folders, tmp_path_factory):
    page = tmp_path_factory.mktemp("report") / "cohort.html"
    other = ("--against", folders / "other")
    assert run("-q", "evaluate", folders / "sct", folders / "ct", *other, "--report", page) == 0
    return page


def rows(html: str) -> list[list[str]]:
    """The table of cases, as text."""
    table = html[html.index("Cases, the worst first") :]
    found = re.findall(r"<tr class=.*?</tr>", table, re.DOTALL)
    return [[re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in found]


def test_failed_checks_come_first_then_the_largest_error(evaluated):
    table = rows(evaluated.read_text(encoding="utf-8"))
    assert [row[:3] for row in table] == [["case 1", "✕ fail", "10"], ["case 2", "–", "30"], ["case 3", "–", "20"]]


def test_cases_are_linked_to_reports_that_are_there_and_name_nobody(evaluated):
    html = evaluated.read_text(encoding="utf-8")
    links = re.findall(r'href="([^"#]+)"', html)
    assert links == [f"cohort_cases/case_{n:03d}.html" for n in (1, 2, 3)]
    for link in links:
        case = (evaluated.parent / link).read_text(encoding="utf-8")
        assert "DOE_" not in case
        assert '"key": "mr"' in case  # found beside the CT
    assert "DOE_" not in html
    assert "DOE_" not in evaluated.with_suffix(".json").read_text()


def test_two_models_are_compared_on_the_same_patients(evaluated):
    content = json.loads(evaluated.with_suffix(".json").read_text())["content"]
    row = content["comparison"]["mae_hu"]
    assert row["mean_first"] == pytest.approx(20.0, abs=0.5)
    assert row["mean_second"] == pytest.approx(10.0, abs=0.5)
    html = evaluated.read_text(encoding="utf-8")
    assert "Two models on the same 3 patients" in html
    assert "other model</" in html  # in the charts


def test_evaluations_are_reported_without_their_images(folders, tmp_path):
    for name in ("sct", "other"):
        assert run("-q", "evaluate", folders / name, folders / "ct", "--json", tmp_path / f"{name}.json") == 0
    page = creps.write_report([tmp_path / "sct.json", tmp_path / "other.json"], names=True)
    html = page.read_text(encoding="utf-8")
    assert page.name == "sct_report.html"
    assert [row[0] for row in rows(html)] == ["DOE_B", "DOE_C", "DOE_A"]
    assert "other model" in html


def test_a_folder_of_scts_is_ordered_by_checks_and_expected_error(tmp_path):
    for name in ("one", "two"):
        (tmp_path / "made" / name).mkdir(parents=True)
        write_case_files(tmp_path / "made" / name, f"{name}_sct")
        (tmp_path / "made" / name / "mr.nii.gz").unlink()
        (tmp_path / "made" / name / "ct.nii.gz").unlink()
    qa_report(result="pass", checks=()).write(tmp_path / "made" / "one" / "one_sct_qa.json")
    page = creps.write_report(tmp_path / "made", cases=1)
    assert page == tmp_path / "made" / "report.html"
    assert [row[:3] for row in rows(page.read_text(encoding="utf-8"))] == [
        ["case 1", "✕ fail", "61.2"],
        ["case 2", "✓ pass", "61.2"],
    ]
    assert [one.name for one in (tmp_path / "made" / "report_cases").glob("*.html")] == ["case_001.html"]
    (tmp_path / "made" / "report_cases" / "case_notes.html").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"holds case_notes.html, which is no report"):
        creps.write_report(tmp_path / "made", overwrite=True)
    (tmp_path / "made" / "report_cases" / "case_notes.html").unlink()
    with pytest.raises(OutputExistsError, match="already exists"):
        creps.write_report(tmp_path / "made")
    creps.write_report(tmp_path / "made", cases=0, overwrite=True)
    assert not (tmp_path / "made" / "report_cases").exists()  # they belonged to the earlier report


def test_bad_calls_are_refused_before_anything_is_scored(folders, tmp_path, capsys):
    scored = ("-q", "evaluate", folders / "sct", folders / "ct")
    assert run(*scored, "--names") == 2
    assert "--names goes with --report" in capsys.readouterr().err
    assert run(*scored, "--report", tmp_path / "a.html", "--json", tmp_path / "a.json") == 2
    assert "name another file with --json" in capsys.readouterr().err
    (tmp_path / "b_cases").mkdir()
    (tmp_path / "b_cases" / "mine.txt").write_text("x")
    assert run(*scored, "--report", tmp_path / "b.html", "--overwrite") == 1
    assert "b_cases holds mine.txt, which is no report of creps" in capsys.readouterr().err
    assert not (tmp_path / "b.html").exists()
    (tmp_path / "b_cases" / "mine.txt").unlink()
    (tmp_path / "b_cases").rmdir()
    assert run("report", folders / "sct", "--mr", folders / "ct") == 1
    assert "--mr goes with one sCT" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_cases_that_could_not_be_scored_are_counted_in_the_result(folders, tmp_path):
    shutil.copytree(folders / "sct", tmp_path / "sct")
    shutil.copytree(folders / "ct", tmp_path / "ct")
    (tmp_path / "ct" / "DOE_A" / "ct.nii.gz").write_bytes(b"no")
    shutil.rmtree(tmp_path / "sct" / "DOE_B")
    page = tmp_path / "r.html"
    assert run("-q", "evaluate", tmp_path / "sct", tmp_path / "ct", "--report", page) == 3
    document = json.loads(page.with_suffix(".json").read_text())
    assert document["result"] == "warn"
    assert [one["text"] for one in document["findings"]] == [
        "1 case could not be scored.",
        "1 case without a synthetic CT.",
    ]
    assert "DOE_" not in page.read_text(encoding="utf-8") + page.with_suffix(".json").read_text()
