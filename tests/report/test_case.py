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
from creps.report.viewer import viewer_data
from creps.volume import Volume
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


def copy_sct(files, folder) -> None:
    """The sCT with what lies beside it."""
    for file in files["sct"].parent.glob("sct*"):
        if file.is_file():
            shutil.copy(file, folder)


def volumes(html: str) -> dict[str, dict]:
    """What the viewer loads, by key."""
    found = re.search(r'<script type="application/json" id="viewer-data">(.*?)</script>', html, re.DOTALL)
    return {one["key"]: one for one in json.loads(found.group(1))["volumes"]}


def test_the_first_screen_has_the_numbers_of_every_part(whole):
    _, document = whole
    assert document["result"] == "fail"
    assert document["headline"] == "Of 2 checks of the sCT, 1 fails. Look at these positions first."
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
    monkeypatch.setattr("creps.report.viewer.LARGEST_VOXELS", 15000)
    creps.write_report(files["sct"], tmp_path / "r.html")
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "the means of 2 × 1 × 1 voxels of the sCT (slices, rows, columns)" in html
    nifti = gzip.decompress(base64.b64decode(volumes(html)["sct"]["nifti"]))
    images = CaseImages(gather_case(files["sct"]))
    expected = images.sct.array.reshape(14, 2, 31, 27).mean(axis=1)  # (28, 31, 27)
    stored = np.frombuffer(nifti[352:], "<i2").reshape(14, 31, 27)
    assert np.abs(stored - expected).max() <= 0.5
    content = viewer_data(images).content
    x, y, z = images.sct.origin_mm
    assert content["origin"] == pytest.approx([x, y, z + 2.0])  # the first one lies half a voxel of 4 mm further in
    assert content["axes"] == [[0, 0, 8], [0, 4, 0], [4, 0, 0]]


@pytest.mark.parametrize("shape", [(3, 40, 40), (40, 2, 40), (2, 2, 2)])
def test_thin_volumes_have_reports(shape, tmp_path, monkeypatch):
    monkeypatch.setattr("creps.report.viewer.LARGEST_VOXELS", 500)
    write_volume(Volume(np.full(shape, 40.0), (2, 0.2, 0.2)), tmp_path / "sct.nii.gz")
    creps.write_report(tmp_path / "sct.nii.gz")
    assert (tmp_path / "sct_report.html").is_file()


def test_positions_of_oblique_volumes_are_those_of_the_patient(tmp_path):
    """HU that rise by 2 per mm along x: the voxel and the position that a page gives must agree."""
    turn = np.deg2rad(20)
    direction = np.array([[0, -np.sin(turn), np.cos(turn)], [0, np.cos(turn), np.sin(turn)], [1, 0, 0]], float)
    grid = Volume(np.zeros((12, 30, 30)), (3, 2, 2), (-20.0, -35.0, 5.0), direction)
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    write_volume(grid.with_array(40 + 2 * grid.to_patient_mm(index)[..., 0]), tmp_path / "sct.nii.gz")
    images = CaseImages(gather_case(tmp_path / "sct.nii.gz"))
    content = viewer_data(images).content
    at = np.array([5, 20, 8])
    mm = np.array(content["origin"]) + at @ np.array(content["axes"])
    assert images.sct.array[tuple(at)] == pytest.approx(40 + 2 * mm[0], abs=0.01)
    assert viewer_data(images).voxel_at(tuple(mm)) == f"{29 - 8},{29 - 20},5"
    creps.write_report(tmp_path / "sct.nii.gz")
    assert "which are 20° oblique" in (tmp_path / "sct_report.html").read_text(encoding="utf-8")


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
    assert document["missing"] == [
        "There is no CT in this report, so the true error is unknown.",
        "The MR is left out: the sCT was made from another one.",
        "The dose is left out: it was computed on another sCT.",
        "The evaluation is left out: it scores other sCTs.",
    ]
    assert document["content"]["dose"] is None
    assert "mr" not in volumes((tmp_path / "r.html").read_text(encoding="utf-8"))


def test_what_lies_beside_another_sct_is_left_out(files, tmp_path):
    """Another patient's sCT among the files of this one."""
    copy_sct(files, tmp_path)
    ct = read_volume(files["ct"])
    write_volume(ct.with_array(ct.array - 90), tmp_path / "sct.nii.gz", integer=True)
    shutil.copy(files["mr"], tmp_path / "mr.nii.gz")
    report = qa_report()
    about = {**report.provenance, "sct": {"shape": list(ct.shape), "mean_hu": float(ct.array.mean()) + 20}}
    qa_report(provenance=about).write(tmp_path / "sct_qa.json")
    write_volume(shifted(ct, 500.0), tmp_path / "sct_uncertainty.nii.gz")
    creps.write_report(tmp_path / "sct.nii.gz", tmp_path / "r.html")
    document = json.loads((tmp_path / "r.json").read_text())
    told = " ".join(document["missing"])
    assert "The record beside the sCT is left out: it describes another sCT." in told
    assert "The QA document beside the sCT is left out: it checked another sCT." in told
    assert "The uncertainty map is left out: it is not on the sCT's grid." in told
    assert document["result"] == "not checked"
    assert figures(document) == {}


def test_a_ct_elsewhere_is_left_out_and_one_on_another_grid_is_resampled(files, tmp_path):
    ct = read_volume(files["ct"])
    write_volume(shifted(ct, 1000.0), tmp_path / "far.nii.gz")
    parts = gather_case(files["sct"], OtherFiles(ct=tmp_path / "far.nii.gz"))
    assert parts.ct is None
    assert parts.notes[-1].shown(names=False) == "The CT is left out: it does not overlap with the sCT."
    assert "far.nii.gz" in parts.notes[-1].shown(names=True)
    write_volume(shifted(ct, 4.0), tmp_path / "near.nii.gz")  # one voxel along W
    images = CaseImages(gather_case(files["sct"], OtherFiles(ct=tmp_path / "near.nii.gz")))
    brought, sct = images.named("ct").volume.array, images.sct.array
    inner = (slice(4, -4), slice(4, -4), slice(5, -5))
    moved = np.roll(sct - 20.0, 1, axis=2)
    assert np.abs(brought[inner] - moved[inner]).max() < 2.0


def test_what_is_damaged_or_newer_is_left_out_and_the_rest_is_shown(files, tmp_path):
    copy_sct(files, tmp_path)
    (tmp_path / "sct.json").write_text("{")
    content = json.loads((tmp_path / "sct_qa.json").read_text())
    (tmp_path / "sct_qa.json").write_text(json.dumps({**content, "schema_version": 9}))
    creps.write_report(tmp_path / "sct.nii.gz", tmp_path / "r.html")
    document = json.loads((tmp_path / "r.json").read_text())
    told = " ".join(document["missing"])
    assert "The record is left out. It is damaged." in told
    assert "The QA document is left out. It has schema version 9" in told
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
    copy_sct(files, tmp_path)
    good = qa_report()
    checks = tuple(check for check in good.checks if check.result == "pass")
    qa_report(result="pass", checks=checks).write(tmp_path / "sct_qa.json")
    creps.write_report(tmp_path / "sct.nii.gz", tmp_path / "r.html")
    document = json.loads((tmp_path / "r.json").read_text())
    assert document["headline"].startswith("None of 1 checks of the sCT found anything.")
    assert document["result"] == "warn"  # of the intake
    assert "does not show that the sCT is fit for clinical use" in document["limits"][0]


DAMAGED = [
    ("gate", [1]),
    ("gate", {"findings": None}),
    ("gate", {"findings": [1]}),
    ("overrides", [{}]),
    ("overrides", 3),
    ("overrides", [{"ml": "x", "hu": 3}]),
    ("model", [1]),
    ("mr", {"shape": 3}),
    ("mr", {"spacing_mm": {"x": 1}}),
    ("acquisition", [1]),
    ("versions", [1]),
    ("patches", 3),
    ("input", []),
    ("uncertainty", {"predicted_mae_hu": "x"}),
    ("uncertainty", {"predicted_mae_hu": float("nan")}),
    ("sct_hu", {"min": None}),
    ("seconds", "long"),
]


@pytest.mark.parametrize(("key", "value"), DAMAGED)
def test_a_damaged_part_of_the_record_is_named_and_the_rest_is_shown(files, tmp_path, key, value):
    for name in ("sct.nii.gz", "sct.json"):
        shutil.copy(files["sct"].parent / name, tmp_path / name)
    record = json.loads((tmp_path / "sct.json").read_text())
    (tmp_path / "sct.json").write_text(json.dumps({**record, key: value}))
    creps.write_report(tmp_path / "sct.nii.gz", mr=files["mr"])
    document = json.loads((tmp_path / "sct_report.json").read_text())
    assert f"The record is damaged; left out: {key}." in document["missing"]
    assert document["content"]["record"]["created"] == record["created"]


def test_odd_characters_and_numbers_are_survived(files, tmp_path):
    for name in ("sct.nii.gz", "sct.json"):
        shutil.copy(files["sct"].parent / name, tmp_path / name)
    record = json.loads((tmp_path / "sct.json").read_text())
    (tmp_path / "sct.json").write_text(json.dumps({**record, "created": "\ud800", "mr": {"shape": [10**400]}}))
    creps.write_report(tmp_path / "sct.nii.gz")
    assert (tmp_path / "sct_report.html").is_file()


def test_no_name_of_a_file_or_folder_is_in_a_report(tmp_path):
    """Everything that has a name has the sentinel in it, and much of it is damaged, so errors could quote it."""
    folder = tmp_path / "SENTINEL_1965"
    folder.mkdir()
    files = write_case_files(folder, "SENTINEL_sct")
    (folder / "SENTINEL_sct.json").write_text("{")
    (folder / "SENTINEL_sct_qa.json").write_text('{"schema_version": 9}')
    (folder / "SENTINEL_sct_uncertainty.nii.gz").write_bytes(b"no")
    (folder / "SENTINEL_ct.nii.gz").write_bytes(b"no")
    (files["dose"] / "dose.json").write_text("[]")
    (folder / "SENTINEL_sct_scores.json").write_text("[]")
    given = {"ct": folder / "SENTINEL_ct.nii.gz", "dose": files["dose"], "evaluation": files["evaluation"]}
    creps.write_report(files["sct"], tmp_path / "one.html", mr=folder / "mr.nii.gz", **given)
    creps.write_report(folder, tmp_path / "all.html")
    pages = [*tmp_path.glob("*.html"), *tmp_path.glob("*.json"), *(tmp_path / "all_cases").iterdir()]
    assert len(pages) == 6
    for page in pages:
        assert "SENTINEL" not in page.read_text(encoding="utf-8"), page
    creps.write_report(files["sct"], tmp_path / "named.html", names=True, **given)
    assert "SENTINEL" in (tmp_path / "named.json").read_text()


def test_a_mistyped_option_is_an_error(files, tmp_path, capsys):
    assert run("report", files["sct"], "--mr", tmp_path / "none", "-o", tmp_path / "r.html") == 1
    assert "none does not exist. Check the path." in capsys.readouterr().err


def test_one_report_that_fails_does_not_stop_the_other_mrs(demo_model, tmp_path, monkeypatch, capsys):
    for name in ("a", "b"):
        write_volume(ball_head(3)[0], tmp_path / f"{name}.nii.gz")

    def failing(_, page, **options):
        raise InputError("No page.", "Try again.")

    monkeypatch.setattr("creps.report.views.write_case", failing)
    both = [tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"]
    assert run("-q", "synthesize", demo_model, *both, "-o", tmp_path / "out", "--report") == 3
    assert len(list((tmp_path / "out").glob("*_sct.nii.gz"))) == 2
    assert "The sCT was written, but not its report." in capsys.readouterr().err
