"""From a DICOM series to a DICOM series: what a planning system, an archive and other readers make of it."""

import json
import logging
import re
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from creps import load
from creps.errors import InputError, OutputExistsError, SettingsError
from creps.io.dicom.read.series import find_series
from creps.io.dicom.read.volume import read_series
from creps.io.itk import read_volume
from creps.metrics.segmentation import dice
from creps.preprocessing.mask import body_mask_ct
from creps.synthesis.inputs import find_mr
from creps.volume import AXIAL
from tests.dicom_cases import STUDY, mr_series, read_by_itk, synthesized
from tests.test_cli import run
from tests.test_dicom import real_series, rotation, stored, write_series  # noqa: F401 - a fixture
from tests.written_dicom import NO_DICOMDIR, complaints, read_image

SECRETS = ("SECRET", "Doe", "Jane", "19601224", "Rita", "Nirgendwo", "A77")


@pytest.fixture(scope="module")
def made(tmp_path_factory, demo_model):
    """An axial series and its sCT."""
    folder = tmp_path_factory.mktemp("made")
    mr = mr_series(folder / "mr")
    return mr, synthesized(demo_model, mr, folder / "sct")


def test_a_folder_becomes_a_series_a_structure_set_a_record_and_a_picture(made):
    mr, sct = made
    slices = sorted(sct.glob("CT.*.dcm"))
    assert {path.name for path in sct.iterdir()} == {p.name for p in slices} | {
        "RS.dcm",
        "record.json",
        "qa.json",
        "picture.png",
    }
    source, first = dcmread(sorted(mr.iterdir())[0]), dcmread(slices[0])
    for name in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "AccessionNumber",
                 "FrameOfReferenceUID", "PatientPosition", "StudyDate", "ReferringPhysicianName"):  # fmt: skip
        assert first[name].value == source[name].value, name
    assert first.SeriesInstanceUID != source.SeriesInstanceUID
    assert list(first.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"]
    assert first.SyntheticData == "YES"
    assert "KVP" in first
    assert first.KVP is None
    assert "not for diagnosis" in str(first.get("ImageComments")).lower()
    assert {item.ReferencedSOPInstanceUID for item in first.SourceImageSequence} == {
        dcmread(path).SOPInstanceUID for path in mr.iterdir()
    }
    volume, source_volume = read_image(sct), read_image(mr)
    assert volume.same_grid_as(source_volume, 1e-3)  # axial already: the planning grid is the MR's
    assert (body_mask_ct(volume)).mean() > 0.1
    record = json.loads((sct / "record.json").read_text())
    assert record["grid"]["kind"] == "planning"
    assert record["input"]["dicom_files"] == len(slices)
    assert record["gate"]


def test_validators_have_nothing_to_say(made):
    assert complaints(*made[1].glob("*.dcm")) == []


@pytest.mark.parametrize("wishes", [{"grid": "mr"}, {"grid": "model"}, {"pseudonym": "case-7"}, {"stable_uids": True}])
def test_validators_have_nothing_to_say_about_the_other_ways(tmp_path, demo_model, wishes):
    turn = rotation(0.3, 0.2, 0.1)[:, [2, 1, 0]]
    mr = mr_series(tmp_path / "mr", direction=turn)
    sct = synthesized(demo_model, mr, tmp_path / "sct", **wishes)
    assert complaints(*sct.glob("*.dcm"), allowed=[NO_DICOMDIR.pattern] if "pseudonym" in wishes else []) == []
    assert complaints(*synthesized(demo_model, mr, tmp_path / "planning").glob("*.dcm")) == []


@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.tuples(*[st.floats(-3.1, 3.1)] * 3), st.sampled_from(["HFS", "FFS", "HFP", "FFP", "HFDR"]))
def test_a_point_keeps_its_place_from_mr_to_dicom(tmp_path_factory, demo_model, angles, position):
    """Three readers agree on where every voxel lies, and the sCT's skin is where the MR's is."""
    folder = tmp_path_factory.mktemp("s")
    turn = rotation(*angles)[:, [2, 1, 0]]
    mr = mr_series(folder / "mr", direction=turn, PatientPosition=position)
    planning = synthesized(demo_model, mr, folder / "planning", spacing_mm=(3, 2, 2))
    same = synthesized(demo_model, mr, folder / "same", grid="mr")
    for sct in (planning, same):
        ours = read_image(sct)
        values, place = read_by_itk(sct)
        assert values.shape == ours.shape
        flipped = not np.allclose(
            place((1, 0, 0)) - place((0, 0, 0)),
            ours.to_patient_mm((1, 0, 0)) - ours.to_patient_mm((0, 0, 0)),
            atol=0.01,
        )
        np.testing.assert_array_equal(values[::-1] if flipped else values, ours.array)
        for corner in np.array(np.meshgrid(*[[0, n - 1] for n in ours.shape])).reshape(3, -1).T:
            there = (ours.shape[0] - 1 - corner[0], *corner[1:]) if flipped else corner
            np.testing.assert_allclose(place(there), ours.to_patient_mm(corner), atol=0.01)
    assert read_image(same).same_grid_as(read_image(mr), 0.01)
    on_planning = read_image(planning)
    assert np.allclose(abs(on_planning.direction), AXIAL)
    from creps.preprocessing.target_grid import bring_onto

    again = bring_onto(read_image(same), on_planning, -1024.0)
    assert dice(body_mask_ct(again), body_mask_ct(on_planning)) > 0.97


def test_a_rerun_is_the_same_on_request_only(tmp_path, demo_model, made):
    def uids(name, **wishes):
        folder = synthesized(demo_model, made[0], tmp_path / name, **wishes)
        return [str(dcmread(path).SOPInstanceUID) for path in sorted(folder.glob("*.dcm"))]

    first = uids("a", stable_uids=True)
    assert len(set(first)) == len(first)
    assert uids("b", stable_uids=True) == first
    assert not set(uids("c", stable_uids=True, grid="model")) & set(first)
    assert not set(uids("d")) & set(uids("e"))


def test_nothing_of_the_patient_leaves_unasked(tmp_path, demo_model, capsys):
    mr = mr_series(tmp_path / "in" / "Doe_Jane_SECRET-42")
    assert run("synthesize", demo_model, mr, mr_series(tmp_path / "in" / "b"), "-o", tmp_path / "out") == 0
    printed = capsys.readouterr()
    assert not [path for path in (tmp_path / "out").rglob("*") if any(secret in path.name for secret in SECRETS)]
    for text in (printed.out, printed.err, *(p.read_text() for p in (tmp_path / "out").rglob("*.json"))):
        assert not [secret for secret in SECRETS if secret in text.replace(str(mr), "")]
    assert len(list((tmp_path / "out").rglob("CT.*.dcm"))) == 60


def test_a_de_identified_export_holds_no_byte_of_the_patient(tmp_path, demo_model, made):
    sct = synthesized(demo_model, made[0], tmp_path / "sct", pseudonym="case-7")
    source = [dcmread(path) for path in made[0].iterdir()]
    uids = {str(d[name].value) for d in source for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")}
    for path in sct.iterdir():
        content = path.read_bytes()
        for secret in (*SECRETS, *uids, STUDY["FrameOfReferenceUID"]):
            assert secret.encode() not in content, (path.name, secret)
    first = dcmread(sorted(sct.glob("CT.*"))[0])
    assert (first.PatientID, first.PatientName, first.PatientIdentityRemoved) == ("case-7", "case-7^", "YES")


def test_one_of_several_series_is_chosen(tmp_path, demo_model, capsys):
    mr_series(tmp_path / "in" / "a", SeriesDescription="t1 tra")
    mr_series(tmp_path / "in" / "b", 3, SeriesDescription="t2 cor")
    write_series(tmp_path / "in" / "c", stored())  # a CT
    out = tmp_path / "out"
    assert run("-q", "synthesize", demo_model, tmp_path / "in", "-o", out) == 1
    said = capsys.readouterr().err
    assert re.fullmatch(r"Error: [^\n]*\n", said)
    assert "t1 tra" in said
    assert "t2 cor" in said
    assert "--series" in said
    for wanted in ("2", "t2"):
        assert run("-q", "synthesize", demo_model, tmp_path / "in", "-o", out, "--series", wanted, "--overwrite") == 0
        assert {str(d.FrameOfReferenceUID) for d in map(dcmread, out.glob("CT.*"))} == {STUDY["FrameOfReferenceUID"]}
        references = {i.ReferencedSOPInstanceUID for i in dcmread(next(out.glob("CT.*"))).SourceImageSequence}
        assert references == {dcmread(path).SOPInstanceUID for path in (tmp_path / "in" / "b").iterdir()}
    assert run("-q", "synthesize", demo_model, tmp_path / "in", "-o", tmp_path / "no", "--series", "9") == 1
    assert not (tmp_path / "no").exists()


def test_volume_files_can_be_made_from_dicom(tmp_path, demo_model, made):
    synthesized(demo_model, made[0], tmp_path / "sct.nii.gz")
    assert read_volume(tmp_path / "sct.nii.gz").same_grid_as(read_image(made[0]), 1e-3)
    text = (tmp_path / "sct.json").read_text()
    assert not [secret for secret in SECRETS if secret in text]


def test_nothing_of_anybody_is_overwritten(tmp_path, demo_model, made):
    model = load(demo_model)
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "thesis.txt").write_text("all of it")
    for overwrite in (False, True):
        with pytest.raises(OutputExistsError, match="something other than an sCT"):
            synthesized(model, made[0], tmp_path / "documents", overwrite=overwrite)
        with pytest.raises(OutputExistsError, match="is an input MR"):
            synthesized(model, made[0], made[0], overwrite=overwrite)
        with pytest.raises(OutputExistsError, match="is an input MR"):
            synthesized(model, made[0], made[0] / "sct", overwrite=overwrite)
    assert (tmp_path / "documents" / "thesis.txt").read_text() == "all of it"
    synthesized(model, made[0], tmp_path / "sct")
    with pytest.raises(OutputExistsError, match="overwrite=True"):
        synthesized(model, made[0], tmp_path / "sct")
    before = dcmread(next((tmp_path / "sct").glob("CT.*"))).SeriesInstanceUID
    synthesized(model, made[0], tmp_path / "sct", overwrite=True, structures=False)
    assert dcmread(next((tmp_path / "sct").glob("CT.*"))).SeriesInstanceUID != before
    assert not (tmp_path / "sct" / "RS.dcm").exists()


@pytest.mark.parametrize(
    ("wishes", "error", "message"),
    [
        ({"pseudonym": "x", "target": "a.nii.gz"}, InputError, "De-identification is for DICOM"),
        ({"stable_uids": True, "target": "a.nii.gz"}, InputError, "Stable UIDs are for DICOM"),
        ({"grid": "axial"}, SettingsError, "grid 'axial'"),
        ({"grid": "mr", "spacing_mm": (1, 1, 1)}, SettingsError, "has its own"),
        ({"series": "9"}, InputError, "series=…"),
    ],
)
def test_wishes_that_cannot_be_met(tmp_path, demo_model, made, wishes, error, message):
    target = tmp_path / wishes.pop("target", "out")
    with pytest.raises(error, match=message):
        synthesized(demo_model, made[0], target, **wishes)
    assert not list(tmp_path.iterdir())


def test_volume_files_give_no_dicom_and_folders_of_them_no_series(tmp_path, demo_model):
    from creps.io.itk import write_volume
    from tests.conftest import ball_head

    write_volume(ball_head(0)[0], tmp_path / "in" / "mr.nii.gz")
    with pytest.raises(InputError, match="is a folder of volume files"):
        find_mr(tmp_path / "in")
    with pytest.raises(InputError, match="is not a DICOM series, but a series is chosen"):
        find_mr(tmp_path / "in" / "mr.nii.gz", "1")


def test_an_oblique_mr_is_said_to_be(tmp_path, demo_model, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("creps"), "propagate", True)
    monkeypatch.setattr(logging.getLogger("creps"), "handlers", [])
    mr = mr_series(tmp_path / "mr", direction=rotation(0.2, 0, 0)[:, [2, 1, 0]])
    sct = synthesized(demo_model, mr, tmp_path / "sct")
    assert "oblique by 11.5 degrees" in caplog.text
    assert json.loads((sct / "record.json").read_text())["grid"]["mr_oblique_degrees"] == pytest.approx(
        11.459, abs=0.01
    )


def test_the_real_series_go_the_whole_way(real_series, tmp_path, demo_model):  # noqa: F811
    """A thigh and a prostate: no regions of this head model, so the gate is overridden; geometry is what counts."""
    for series in find_series(real_series):
        if series.modality != "mr":
            continue
        target = tmp_path / series.folder.parent.name
        sct = synthesized(demo_model, series.folder, target, force=True)
        theirs = [
            NO_DICOMDIR.pattern,
            r"Warning - </PatientName.* - Retired Person Name form$",
            r"Warning - </Laterality\(0020,0060\)> - is only permitted to be empty when actually unknown",
        ]
        assert complaints(*sct.glob("*.dcm"), allowed=theirs) == []
        first = dcmread(sorted(sct.glob("CT.*"))[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            source = dcmread(series.files[0])
        assert first.FrameOfReferenceUID == source.FrameOfReferenceUID
        assert first.StudyInstanceUID == source.StudyInstanceUID
        assert first.PatientID == source.PatientID
        assert json.loads((sct / "record.json").read_text())["gate"]["forced"]


def test_the_sct_lies_where_the_patients_own_ct_lies(real_series, tmp_path, demo_model):  # noqa: F811
    """MR and CT of one patient share a frame of reference: the skin of the sCT is that of the CT, within their fit."""
    from creps.preprocessing.target_grid import bring_onto

    found = {s.modality: s for s in find_series(real_series) if "STS" in str(s.folder)}
    ct = read_series(found["ct"])
    sct_folder = synthesized(demo_model, found["mr"].folder, tmp_path / "sct", force=True)
    sct = read_image(sct_folder)
    first, own = dcmread(sorted(sct_folder.glob("CT.*"))[0]), dcmread(found["ct"].files[0])
    assert first.FrameOfReferenceUID == own.FrameOfReferenceUID
    reached = bring_onto(ct, sct, -2000.0).array
    body_ct = (reached > -400) & (reached > -2000)
    body_sct = (sct.array > -400) & (reached > -2000)
    assert dice(body_ct, body_sct) > 0.9


def test_other_voxels_never_get_the_same_uids(tmp_path, demo_model, made):
    from creps.io.itk import write_volume

    mr = read_image(made[0])
    uids = []
    for part in (24, 26):
        inside = np.zeros(mr.shape)
        inside[2:part, 4:-4, 4:-4] = 1
        write_volume(mr.with_array(inside), tmp_path / f"{part}.nii.gz", integer=True)
        wishes = {"stable_uids": True, "mask": tmp_path / f"{part}.nii.gz"}
        folder = synthesized(demo_model, made[0], tmp_path / f"sct{part}", **wishes)
        uids.append({str(dcmread(path).SOPInstanceUID) for path in folder.glob("*.dcm")})
        assert json.loads((folder / "record.json").read_text())["mask"]["sha256"]
    assert not uids[0] & uids[1]
    flipped = read_volume(tmp_path / "24.nii.gz").reoriented(mr.direction * np.array([1, -1, 1]))
    write_volume(flipped, tmp_path / "flipped.nii.gz", integer=True)  # the same mask in another order
    same = synthesized(demo_model, made[0], tmp_path / "s", stable_uids=True, mask=tmp_path / "flipped.nii.gz")
    assert {str(dcmread(path).SOPInstanceUID) for path in same.glob("*.dcm")} == uids[0]


def test_a_folder_below_that_is_named_after_the_patient_is_in_no_message(tmp_path, demo_model, capsys):
    mr = mr_series(tmp_path / "in" / "Doe^Jane" / "T1")
    (mr / "004.dcm").unlink()
    assert run("-q", "synthesize", demo_model, tmp_path / "in", "-o", tmp_path / "out") == 1
    assert "misses 1 slice" in (said := capsys.readouterr().err)
    assert "Doe" not in said
    (mr / "Jane_4.dcm").write_bytes(b"")
    assert run("-q", "synthesize", demo_model, tmp_path / "in", "-o", tmp_path / "out") == 1
    assert "is empty" in (said := capsys.readouterr().err)
    assert not [secret for secret in SECRETS if secret in said]


def test_an_empty_folder_that_cannot_be_replaced_is_filled(tmp_path, demo_model, made, monkeypatch):
    """As a disk that is mounted there, or the folder one is in."""
    (tmp_path / "disk").mkdir()
    monkeypatch.setattr("creps.synthesis.writing.atomic_folder", lambda _: pytest.fail("it is not to be replaced"))
    sct = synthesized(demo_model, made[0], tmp_path / "disk")
    assert sct == tmp_path / "disk"
    assert len(list(sct.glob("CT.*.dcm"))) == 30
    assert {path.name for path in sct.iterdir() if not path.name.startswith("CT.")} == {
        "RS.dcm", "record.json", "qa.json", "picture.png",
    }  # fmt: skip
    (tmp_path / "other").mkdir()
    monkeypatch.setattr("creps.synthesis.writing.synthesis_figure", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        synthesized(demo_model, made[0], tmp_path / "other")
    assert not list((tmp_path / "other").iterdir())


def test_inputs_named_after_patients_are_numbered(tmp_path, demo_model):
    names = [mr_series(tmp_path / name, seed) for seed, name in enumerate(("Doe_J", "Jane_D"))]
    assert run("-q", "synthesize", demo_model, *names, "-o", tmp_path / "out") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"mr_1_sct", "mr_2_sct"}


def test_two_patients_in_one_folder_are_told_apart(tmp_path, demo_model, capsys):
    mr_series(tmp_path / "a" / "1")
    mr_series(tmp_path / "a" / "2", 3, patient="OTHER-9")
    assert run("-q", "synthesize", demo_model, tmp_path / "a", "-o", tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert "2 MR series of 2 patients" in said
    assert "of patient 1" in said
    assert "OTHER" not in said


def test_lossy_pixels_stay_lossy(tmp_path, demo_model):
    sct = synthesized(demo_model, mr_series(tmp_path / "mr", LossyImageCompression="01"), tmp_path / "sct")
    assert dcmread(next(sct.glob("CT.*"))).LossyImageCompression == "01"


def test_a_de_identified_record_leads_back_to_nothing(tmp_path, demo_model, made):
    sct = synthesized(demo_model, made[0], tmp_path / "sct", pseudonym="case-7")
    record = json.loads((sct / "record.json").read_text())
    assert not {"created", "input", "acquisition"} & record.keys()
    assert record["model"]["weights_sha256"]


def test_a_stop_from_outside_leaves_nothing(tmp_path, demo_model, made, monkeypatch):
    import os
    import signal

    from creps.figures import synthesis_figure

    def stopped(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return synthesis_figure(*arguments)

    monkeypatch.setattr("creps.synthesis.writing.synthesis_figure", stopped)
    before = signal.getsignal(signal.SIGTERM)
    assert run("-q", "synthesize", demo_model, made[0], "-o", tmp_path / "sct") == 130
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    ("output", "message"),
    [("sct.dcm", "sCT of a DICOM series is a folder"), ("a.nii.gz", "structures is for DICOM")],
)
def test_outputs_that_cannot_hold_it(tmp_path, demo_model, made, output, message):
    with pytest.raises(InputError, match=message):
        synthesized(demo_model, made[0], tmp_path / output, structures=False)
    assert not list(tmp_path.iterdir())


def test_the_patients_pet_and_contours_fit_the_sct(real_series, tmp_path, demo_model):  # noqa: F811
    """One frame of reference for all; the tumour that was drawn on the MR lies in the body that is drawn on the sCT."""
    (series,) = [s for s in find_series(real_series) if s.modality == "mr" and "STS" in str(s.folder)]
    sct = read_image(synthesized(demo_model, series.folder, tmp_path / "sct", force=True))
    frames = set()
    drawn = []
    for path in sorted(series.folder.parents[1].rglob("*.dcm")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = dcmread(path, stop_before_pixels=True)
        frames.add(str(data.FrameOfReferenceUID))
        if data.Modality == "RTSTRUCT":
            frames |= {str(item.FrameOfReferenceUID) for item in data.ReferencedFrameOfReferenceSequence}
            drawn += [c for roi in data.ROIContourSequence for c in roi.ContourSequence]
    assert frames == {str(dcmread(next((tmp_path / "sct").glob("CT.*"))).FrameOfReferenceUID)}
    points = np.concatenate([np.reshape([float(x) for x in c.ContourData], (-1, 3)) for c in drawn])
    index = np.rint((points - np.asarray(sct.origin_mm)) @ sct.direction / np.asarray(sct.spacing_mm)).astype(int)
    within = ((index >= 0) & (index < np.asarray(sct.shape))).all(axis=1)
    body = body_mask_ct(sct)
    assert within.mean() > 0.9
    assert body[tuple(index[within].T)].mean() > 0.95


def test_one_bad_mr_of_several_keeps_no_other_from_its_sct(tmp_path, demo_model, capsys):
    names = [mr_series(tmp_path / name, seed) for seed, name in enumerate(("a", "b", "c"))]
    (names[1] / "004.dcm").unlink()
    assert run("-q", "synthesize", demo_model, *names, "-o", tmp_path / "out", "--qa", "off") == 3
    printed = capsys.readouterr()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a_sct", "c_sct"}
    assert re.fullmatch(r"Error: [^\n]*misses 1 slice[^\n]*\n", printed.err)


def test_what_was_forced_is_said_and_written(tmp_path, demo_model, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("creps"), "propagate", True)  # the command line sets it, once it has run
    monkeypatch.setattr(logging.getLogger("creps"), "handlers", [])
    mr = mr_series(tmp_path / "mr", BodyPartExamined="KNEE")
    with pytest.raises(InputError, match="The header says"):
        synthesized(demo_model, mr, tmp_path / "sct")
    sct = synthesized(demo_model, mr, tmp_path / "sct", force=True)
    assert "forced in spite of the check 'region': The header says" in caplog.text
    comments = dcmread(next(sct.glob("CT.*"))).ImageComments
    assert "intake checks, which may be wrong, refused the MR. Check 'region': The header says" in comments
    assert json.loads((sct / "record.json").read_text())["gate"]["forced"]
    knee = r"Warning - </Laterality\(0020,0060\)> - is only permitted to be empty when actually unknown"
    assert complaints(*sct.glob("*.dcm"), allowed=[knee]) == []
