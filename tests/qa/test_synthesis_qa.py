"""QA, bulk densities and overrides as part of a synthesis, as a file and as DICOM, from Python and the command line."""

import json
import shutil

import numpy as np
import pydicom
import pytest

import creps
from creps.errors import InputError
from creps.io.dicom.read.series import find_series
from creps.io.dicom.read.volume import read_series
from creps.io.itk import read_volume, write_volume
from creps.synthesis.result import Synthesis
from tests.conftest import ball_head
from tests.dicom_cases import mr_series
from tests.test_cli import run


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """An MR as a file, a mask on its grid, and an MR as DICOM."""
    folder = tmp_path_factory.mktemp("qa")
    mr = ball_head(3)[0]
    write_volume(mr, folder / "mr.nii.gz")
    mask = np.zeros(mr.shape)
    mask[tuple(slice(n // 2 - 2, n // 2 + 2) for n in mr.shape)] = 1
    write_volume(mr.with_array(mask), folder / "gold.nii.gz")
    mr_series(folder / "dicom", SeriesDescription="t1", BodyPartExamined="BRAIN")
    return folder


def test_every_synthesis_is_checked_and_a_failure_is_exit_code_4(demo_model, files, tmp_path, capsys):
    mr = files / "mr.nii.gz"
    assert run("synthesize", demo_model, mr, "-o", tmp_path / "a.nii.gz", "--qa", "fail") == 4  # an untrained network
    assert "QA fail (fail: " in capsys.readouterr().err
    document = json.loads((tmp_path / "a_qa.json").read_text())
    assert document["result"] == "fail"
    assert document["region"] == json.loads((tmp_path / "a.json").read_text())["model"]["region"]
    assert {"slice", "origin", "limits", "do"} <= set(document["checks"][0])
    assert run("-q", "synthesize", demo_model, mr, "-o", tmp_path / "b.nii.gz") == 0
    assert (tmp_path / "b_qa.json").is_file()
    assert run("-q", "synthesize", demo_model, mr, "-o", tmp_path / "c.nii.gz", "--qa", "off") == 0
    assert not (tmp_path / "c_qa.json").exists()


def test_a_pass_is_exit_code_0_and_a_missing_mr_outweighs_it(demo_model, files, tmp_path, monkeypatch):
    real = Synthesis.qa.func
    monkeypatch.setattr(Synthesis, "qa", property(lambda self: real(self).model_copy(update={"result": "pass"})))
    mr = files / "mr.nii.gz"
    assert run("-q", "synthesize", demo_model, mr, "-o", tmp_path / "a.nii.gz", "--qa", "fail") == 0
    monkeypatch.setattr(Synthesis, "qa", property(lambda self: real(self).model_copy(update={"result": "fail"})))
    shutil.copy(mr, tmp_path / "other.nii.gz")
    both = [tmp_path / "other.nii.gz", tmp_path / "none.nii.gz"]
    assert run("-q", "synthesize", demo_model, *both, "-o", tmp_path / "out", "--qa", "fail") == 3


def test_an_existing_document_is_not_overwritten(demo_model, files, tmp_path, capsys):
    (tmp_path / "sct_qa.json").write_text("mine")
    assert run("synthesize", demo_model, files / "mr.nii.gz", "-o", tmp_path / "sct.nii.gz") == 1
    assert "sct_qa.json" in capsys.readouterr().err
    assert (tmp_path / "sct_qa.json").read_text() == "mine"
    assert not (tmp_path / "sct.nii.gz").exists()


def test_bulk_densities_and_overrides_of_a_file(demo_model, files, tmp_path):
    changes = ["--bulk-density", "--bulk-hu", "bone=500", "--override", f"{files / 'gold.nii.gz'}=1234"]
    assert run("-q", "synthesize", demo_model, files / "mr.nii.gz", "-o", tmp_path / "sct.nii.gz", *changes) == 0
    inside = read_volume(files / "gold.nii.gz").array > 0
    sct, bulk = read_volume(tmp_path / "sct.nii.gz"), read_volume(tmp_path / "sct_bulk.nii.gz")
    assert set(sct.array[inside]) == set(bulk.array[inside]) == {1234.0}
    assert bulk.same_grid_as(sct)
    assert set(np.unique(bulk.array)) <= {-1000.0, -100.0, 0.0, 500.0, 1234.0}
    record = json.loads((tmp_path / "sct.json").read_text())
    assert record["overrides"][0]["hu"] == 1234
    assert record["bulk_density"]["hu"]["bone"] == 500


def test_qa_checks_what_was_predicted(demo_model, files):
    model = creps.load(demo_model)
    plain = model.synthesize(files / "mr.nii.gz")
    changed = model.synthesize(files / "mr.nii.gz", overrides={files / "gold.nii.gz": 3000})
    assert plain.predicted is None
    np.testing.assert_array_equal(changed.predicted.array, plain.sct.array)
    assert changed.sct.array.max() == 3000
    assert changed.qa.check("bone_share").value == plain.qa.check("bone_share").value
    assert changed.qa is changed.qa  # computed once
    assert changed.qa.check("intake").result == {"passed": "pass", "warned": "warn"}[changed.intake.verdict]


def test_dicom_gets_a_series_of_bulk_densities_a_document_and_says_what_was_set(demo_model, files, tmp_path):
    out = tmp_path / "sct"
    assert run("-q", "synthesize", demo_model, files / "dicom", "-o", out) == 0  # has an RTSTRUCT of its own
    structures = tmp_path / "RS.dcm"
    shutil.copy(out / "RS.dcm", structures)
    extra = ["--bulk-density", "--override", "body=25", "--structure-set", structures, "--overwrite"]
    assert run("-q", "synthesize", demo_model, files / "dicom", "-o", out, *extra) == 0
    assert (out / "qa.json").is_file()
    bulk = [pydicom.dcmread(path) for path in sorted((out / "bulk").glob("BD.*.dcm"))]
    sct = pydicom.dcmread(next(out.glob("CT.*.dcm")))
    record = json.loads((out / "record.json").read_text())
    assert record["bulk_density"]["series_instance_uid"] == bulk[0].SeriesInstanceUID != sct.SeriesInstanceUID
    assert bulk[0].FrameOfReferenceUID == sct.FrameOfReferenceUID
    assert "BULK DENSITY" in bulk[0].SeriesDescription
    assert "bone 300" in bulk[0].DerivationDescription
    for one in (bulk[0], sct):
        assert "Set by hand: 25 HU in" in one.DerivationDescription
    assert record["overrides"][0]["structure"].lower() == "body"
    (volume,) = [read_series(series) for series in find_series(out)]  # the bulk densities are passed over
    assert volume.array[tuple(n // 2 for n in volume.shape)] == 25.0
    middle = sorted(bulk, key=lambda one: float(one.ImagePositionPatient[2]))[len(bulk) // 2]
    stored = middle.pixel_array[tuple(n // 2 for n in middle.pixel_array.shape)]
    assert stored * middle.RescaleSlope + middle.RescaleIntercept == 25.0


def test_a_pseudonym_leaves_no_link_in_the_documents(demo_model, files, tmp_path):
    synthesis = creps.load(demo_model).synthesize(files / "dicom")
    synthesis.save(tmp_path / "out", pseudonym="case-7")
    assert "created" not in json.loads((tmp_path / "out" / "qa.json").read_text())["provenance"]


def test_structures_that_cannot_be_used_are_one_sentence(demo_model, files, tmp_path):
    model = creps.load(demo_model)
    model.synthesize(files / "dicom").save(tmp_path / "sct")
    structures = tmp_path / "sct" / "RS.dcm"
    with pytest.raises(InputError, match="no structure"):
        model.synthesize(files / "dicom", overrides={"Liver": 0}, structure_set=structures)
    with pytest.raises(InputError, match="the MR is not"):
        model.synthesize(files / "mr.nii.gz", overrides={"BODY": 0}, structure_set=structures)
    other = pydicom.dcmread(structures)
    for item in other.StructureSetROISequence:
        item.ReferencedFrameOfReferenceUID = "1.2.3.4"
    other.save_as(tmp_path / "other.dcm")
    with pytest.raises(InputError, match="another frame of reference"):
        model.synthesize(files / "dicom", overrides={"BODY": 0}, structure_set=tmp_path / "other.dcm")
    empty = pydicom.dcmread(structures)
    for item in empty.ROIContourSequence:
        del item.ContourSequence
    empty.save_as(tmp_path / "empty.dcm")
    with pytest.raises(InputError, match="no closed contour"):
        model.synthesize(files / "dicom", overrides={"BODY": 0}, structure_set=tmp_path / "empty.dcm")


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("--bulk-hu goes with --bulk-density", ["--bulk-hu", "bone=300"]),
        ("does not end with = and a number", ["--override", "gold.nii.gz"]),
        ("has no name before", ["--override", "=30"]),
        ("--structure-set goes with --override", ["--structure-set", "RS.dcm"]),
        ("'maybe' is not one of", ["--qa", "maybe"]),
    ],
)
def test_wrong_usage_is_exit_code_2(demo_model, files, tmp_path, capsys, words, options):
    assert run("synthesize", demo_model, files / "mr.nii.gz", "-o", tmp_path / "a.nii.gz", *options) == 2
    assert words in " ".join(capsys.readouterr().err.split())
