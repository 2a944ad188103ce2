"""The report of a case: what it says, what it leaves out, and whom it does not name."""

import base64
import gzip
import json
import re
import shutil

import numpy as np
import pytest

import creps
from creps.errors import InputError, OutputExistsError
from creps.io.itk import read_volume, write_volume
from creps.qa.document import QaReport
from creps.report.images import CaseImages
from creps.report.parts import OtherFiles, gather_case
from tests.conftest import ball_head
from tests.dicom_cases import mr_series
from tests.report.made import dose_document, qa_report, shifted, write_case_files
from tests.test_cli import run


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_case_files(tmp_path_factory.mktemp("case"))


@pytest.fixture(scope="module")
def whole(files, tmp_path_factory):
    """Page and document of a case with every part."""
    page = tmp_path_factory.mktemp("page") / "report.html"
    others = {key: files[key] for key in ("mr", "ct", "dose", "evaluation")}
    assert creps.write_report(files["sct"], page, **others) == page
    return page.read_text(encoding="utf-8"), json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))


def figures(document: dict) -> dict[str, str]:
    return {one["label"]: one["value"] for one in document["figures"]}


def volumes(html: str) -> dict[str, dict]:
    """What the viewer loads, by key."""
    found = re.search(r'<script type="application/json" id="viewer-data">(.*?)</script>', html, re.DOTALL)
    return {one["key"]: one for one in json.loads(found.group(1))}


def test_the_first_screen_has_the_numbers_of_every_part(whole):
    _, document = whole
    assert document["result"] == "fail"
    assert document["headline"] == "Of 2 checks, 1 fails. Look at these places first."
    found = figures(document)
    assert found["mean absolute error"] == "20 HU"
    assert found["bone Dice"] == "0.97"
    assert found["expected error"] == "61 HU"
    assert found["uncertainty"] == "± 40 HU"
    assert found["target dose error"] == "0.65 %"
    assert found["gamma 2%/2mm"] == "98.8 %"
    assert found["deep soft tissue"] == "31 HU"
    levels = [one["level"] for one in document["findings"]]
    assert levels == ["fail", "warn"]
    assert document["missing"] == []


def test_the_viewer_has_the_voxels_of_the_files(whole, files):
    found = volumes(whole[0])
    assert list(found) == ["mr", "sct", "ct", "uncertainty"]
    nifti = gzip.decompress(base64.b64decode(found["sct"]["nifti"]))
    upright = CaseImages(gather_case(files["sct"])).sct
    stored = np.frombuffer(nifti[352:], "<i2").reshape(upright.shape)
    assert np.abs(stored - upright.array).max() <= 0.5
    box = CaseImages(gather_case(files["sct"])).box
    assert np.abs(stored - read_volume(files["sct"]).array[box]).max() <= 0.5


def test_larger_volumes_are_averaged_and_the_page_says_so(files, monkeypatch, tmp_path):
    monkeypatch.setattr("creps.report.images.LARGEST_VOXELS", 9000)
    creps.write_report(files["sct"], tmp_path / "r.html")
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "each is the mean of 2 × 2 × 1 voxels of the sCT" in html
    nifti = gzip.decompress(base64.b64decode(volumes(html)["sct"]["nifti"]))
    images = CaseImages(gather_case(files["sct"]))
    upright = images.sct.array[:28, :30]  # (28, 31, 27): the odd row fills no block
    expected = upright.reshape(14, 2, 15, 2, 27).mean(axis=(1, 3))
    stored = np.frombuffer(nifti[352:], "<i2").reshape(14, 15, 27)
    assert np.abs(stored - expected).max() <= 0.5
    position = np.frombuffer(nifti[280:328], "<f4").reshape(3, 4)
    x, y, z = images.sct.origin_mm  # the first averaged voxel lies half a voxel of 4 mm further in
    assert np.allclose(position @ [0, 0, 0, 1], [-x, -(y + 2.0), z + 2.0])  # RAS; DICOM and creps have LPS


def test_no_name_is_shown_unless_it_is_asked_for(whole, files, tmp_path):
    for text in (whole[0], json.dumps(whole[1])):
        assert "DOE_JANE" not in text
        assert "mr.nii.gz" not in text
    creps.write_report(files["sct"], tmp_path / "named.html", mr=files["mr"], names=True)
    assert "DOE_JANE_mr.nii.gz" in (tmp_path / "named.json").read_text()


def test_hostile_texts_are_shown_as_text(whole):
    html, _ = whole
    assert "<script>alert" not in html
    assert "onerror=alert(2)&gt;" in html
    assert "‮" not in html
    outside = re.sub(r"(<script[^>]*>).*?</script>", r"\1", html, flags=re.DOTALL)
    assert outside.count("<script") == 3  # the viewer's data, the viewer, and its library
    assert "PTV &lt;b&gt;" in html
    assert "long long" in html
    assert "long " * 200 not in html


def test_the_policy_names_each_script_by_its_hash_and_nothing_outside(whole):
    import hashlib

    html, _ = whole
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html).group(1).replace("&#39;", "'")
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert len(scripts) == 2
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "unsafe-eval" not in policy
    assert "http:" not in policy
    assert "https:" not in policy
    without_scripts = re.sub(r"<script.*?</script>|<pre>.*?</pre>", "", html, flags=re.DOTALL)
    assert not re.findall(r'(?:src|href)="(?!data:|#)', without_scripts)


def test_parts_of_another_case_are_left_out_with_a_sentence(files, tmp_path):
    other = write_case_files(tmp_path, seed=4)
    given = {key: other[key] for key in ("mr", "dose", "evaluation")}
    creps.write_report(files["sct"], tmp_path / "r.html", **given)
    document = json.loads((tmp_path / "r.json").read_text())
    told = " ".join(document["missing"])
    assert "The MR mr.nii.gz is left out: the sCT was made from another file." in told
    assert "The dose in sct_dose is left out: it was computed on another sCT." in told
    assert "The evaluation sct_scores.json is left out: it scores other sCTs." in told
    assert document["content"]["dose"] is None
    assert "mr" not in volumes((tmp_path / "r.html").read_text(encoding="utf-8"))


def test_a_ct_elsewhere_is_left_out_and_one_on_another_grid_is_resampled(files, tmp_path):
    ct = read_volume(files["ct"])
    write_volume(shifted(ct, 1000.0), tmp_path / "far.nii.gz")
    parts = gather_case(files["sct"], OtherFiles(ct=tmp_path / "far.nii.gz"))
    assert parts.ct is None
    assert "far.nii.gz is left out: it does not overlap with the sCT." in parts.notes[-1]
    write_volume(shifted(ct, 4.0), tmp_path / "near.nii.gz")  # one voxel along W
    images = CaseImages(gather_case(files["sct"], OtherFiles(ct=tmp_path / "near.nii.gz")))
    brought, sct = images.named("ct").volume.array, images.sct.array
    inner = (slice(4, -4), slice(4, -4), slice(5, -5))
    moved = np.roll(sct - 20.0, 1, axis=2)
    assert np.abs(brought[inner] - moved[inner]).max() < 2.0


def test_what_is_damaged_or_newer_is_left_out_and_the_rest_is_shown(files, tmp_path):
    for file in files["sct"].parent.glob("sct*"):
        if file.is_file():
            shutil.copy(file, tmp_path)
    (tmp_path / "sct.json").write_text("{")
    content = json.loads((tmp_path / "sct_qa.json").read_text())
    (tmp_path / "sct_qa.json").write_text(json.dumps({**content, "schema_version": 9}))
    creps.write_report(tmp_path / "sct.nii.gz", tmp_path / "r.html")
    document = json.loads((tmp_path / "r.json").read_text())
    told = " ".join(document["missing"])
    assert "sct.json is damaged and left out." in told
    assert "sct_qa.json has schema version 9" in told
    assert "Update creps" in told
    assert document["result"] == "not checked"
    assert figures(document)["uncertainty"] == "± 40 HU"


def test_only_an_earlier_report_is_replaced(files, tmp_path):
    page = tmp_path / "r.html"
    page.write_text("<html>mine</html>")
    with pytest.raises(OutputExistsError, match="already exists"):
        creps.write_report(files["sct"], page)
    with pytest.raises(OutputExistsError, match="is not a report of creps and is not replaced"):
        creps.write_report(files["sct"], page, overwrite=True)
    assert page.read_text() == "<html>mine</html>"
    page.unlink()
    page.with_suffix(".json").write_text('{"mine": 1}')
    with pytest.raises(OutputExistsError, match=r"r\.json is not a report"):
        creps.write_report(files["sct"], page, overwrite=True)
    page.with_suffix(".json").unlink()
    creps.write_report(files["sct"], page, title="first")
    creps.write_report(files["sct"], page, title="second", overwrite=True)
    assert "<bdi>second</bdi>" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("nothing", "does not exist"),
        ("empty", "holds no sCT, run or evaluation"),
        ("text.txt", "is no sCT, run or evaluation"),
        ("dose", "holds doses, and no sCT"),
    ],
)
def test_what_cannot_be_reported_is_refused_in_a_sentence(tmp_path, wrong, told):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("x")
    (tmp_path / "dose").mkdir()
    (tmp_path / "dose" / "dose.json").write_text(json.dumps(dose_document("0")))
    with pytest.raises(InputError, match=told):
        creps.write_report(tmp_path / wrong)
    assert not list(tmp_path.rglob("*.html"))


def test_a_page_must_be_named_html(files, tmp_path, capsys):
    assert run("report", files["sct"], "-o", tmp_path / "report.pdf") == 1
    assert "is not the name of a page. Name a file that ends with .html." in capsys.readouterr().err


def test_synthesis_writes_its_report_with_everything_it_knows(demo_model, tmp_path, capsys):
    write_volume(ball_head(3)[0], tmp_path / "mr.nii.gz")
    arguments = ("-q", "synthesize", demo_model, tmp_path / "mr.nii.gz", "-o", tmp_path / "a.nii.gz", "--report")
    assert run(*arguments) == 0
    assert str(tmp_path / "a_report.html") in capsys.readouterr().out
    html = (tmp_path / "a_report.html").read_text(encoding="utf-8")
    assert list(volumes(html)) == ["mr", "sct"]
    document = json.loads((tmp_path / "a_report.json").read_text())
    QaReport.model_validate(document["content"]["qa"])
    assert run(*arguments) == 1  # the report is there too
    assert run(*arguments, "--overwrite") == 0
    (tmp_path / "a_report.html").unlink()
    assert run(*arguments[:-1], "--overwrite") == 0
    assert not (tmp_path / "a_report.json").exists()  # of the sCT that was replaced


def test_a_saved_synthesis_has_the_same_report_as_its_files(demo_model, tmp_path):
    write_volume(ball_head(3)[0], tmp_path / "mr.nii.gz")
    creps.load(demo_model).synthesize(tmp_path / "mr.nii.gz").save(tmp_path / "a.nii.gz", report=True)
    creps.write_report(tmp_path / "a.nii.gz", tmp_path / "b.html", mr=tmp_path / "mr.nii.gz")
    one, other = (json.loads((tmp_path / name).read_text()) for name in ("a_report.json", "b.json"))
    for key in ("result", "headline", "findings", "figures", "missing"):
        assert one[key] == other[key]


def test_dicom_gets_its_report_in_its_folder_without_the_patients_name(demo_model, tmp_path):
    mr_series(tmp_path / "mr", SeriesDescription="t1", BodyPartExamined="BRAIN", PatientName="Doe^Jane")
    assert run("-q", "synthesize", demo_model, tmp_path / "mr", "-o", tmp_path / "out", "--report", "--force") == 0
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert list(volumes(html)) == ["mr", "sct"]
    assert "Jane" not in html
    named = tmp_path / "named.html"
    assert run("-q", "report", tmp_path / "out", "--mr", tmp_path / "mr", "--names", "-o", named) == 0
    assert "Doe^Jane" in named.read_text(encoding="utf-8")
    again = ("-q", "synthesize", demo_model, tmp_path / "mr", "-o", tmp_path / "out", "--force", "--overwrite")
    assert run(*again) == 0  # a report is no foreign file
    assert not (tmp_path / "out" / "report.html").exists()


def test_a_pass_is_said_as_what_was_checked(files, tmp_path):
    for file in files["sct"].parent.glob("sct*"):
        if file.is_file():
            shutil.copy(file, tmp_path)
    good = qa_report()
    checks = tuple(check for check in good.checks if check.result == "pass")
    qa_report(result="pass", checks=checks).write(tmp_path / "sct_qa.json")
    creps.write_report(tmp_path / "sct.nii.gz", tmp_path / "r.html")
    document = json.loads((tmp_path / "r.json").read_text())
    assert (document["result"], document["headline"]) == ("pass", "None of 1 checks found anything.")
    assert "does not show that the sCT is fit for clinical use" in document["limits"][0]
