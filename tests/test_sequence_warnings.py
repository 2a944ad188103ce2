"""Assumptions of the recipe about every MR are checked when a cohort is prepared, not only at synthesis."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from creps.cohort.assumptions import with_warnings
from creps.cohort.cohort import load_cohort
from creps.cohort.inspection import inspect_cohort
from creps.cohort.prepare import prepare
from creps.cohort.sources import Source, find_sources
from creps.errors import CohortError
from creps.io.dicom.read.acquisition import Acquisition
from creps.settings import load_settings
from creps.training.run.train import train
from tests.conftest import TINY
from tests.dicom_cases import mr_series
from tests.test_sampling import case

ANATOMY = {**TINY, "recipe": "anatomy", "simulation.phantoms": 1}
MR = case("p", "mr", (4, 5, 6))


def warned(path=Path("p.nii.gz"), recipe="anatomy", **source):
    settings = load_settings(overrides=ANATOMY | {"recipe": recipe})
    return with_warnings([MR], [Source("p", "p", path, **source)], settings)[0].warnings


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("p_UTE.nii.gz", "ultra-short"), ("p_zte_head.mha", "ultra-short"), ("p_STIR.nii", "fat is suppressed"),
        ("T2_SPAIR_tra.nii.gz", "fat is suppressed"), ("t1_vibe_dixon_W.nii.gz", "fat is suppressed"),
        ("T1_FS.nii.gz", "fat is suppressed"), ("T2w_fatsat.nii.gz", "fat is suppressed"),
        ("mr.nii.gz", None), ("FS_012.nii.gz", None), ("t1_vibe_dixon_in.nii.gz", None), ("T1_no_FS.nii.gz", None),
        ("WE_T1_notes.nii.gz", "fat is suppressed"), ("minute.nii.gz", None), ("first.nii.gz", None),
    ],
)  # fmt: skip
def test_a_file_name_is_read(tmp_path, name, words):
    found = warned(tmp_path / name)
    assert len(found) == (words is not None)
    assert all(words in sentence and "its file name" in sentence and "recipe anatomy" in sentence for sentence in found)
    assert warned(tmp_path / name, recipe="cut") == ()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"EchoTime": 0.00005}, "ultra-short"), ({"EchoTime": 0.004, "SeriesDescription": "t1 ute off"}, None),
        ({"InversionTime": 0.22}, "fat is suppressed"), ({"ScanOptions": "PFP\\FS"}, "fat is suppressed"),
        ({"ScanOptions": ["PFP", "SFS"]}, "fat is suppressed"), ({"ImageType": ["DERIVED", "DIXON", "WATER"]}, "fat"),
        ({"ImageType": ["DERIVED", "DIXON", "IN_PHASE"]}, None), ({"ProtocolName": "T2 SPAIR"}, "fat is suppressed"),
        ({"EchoTime": "short", "ImageType": 3}, None), ([1], None), ("not JSON", None),
    ],
)  # fmt: skip
def test_a_json_file_beside_a_volume_is_read(tmp_path, content, words):
    (tmp_path / "m.json").write_text(content if isinstance(content, str) else json.dumps(content))
    found = warned(tmp_path / "m.nii.gz")
    assert len(found) == (words is not None)
    assert all(words in sentence and "By m.json" in sentence for sentence in found)


def test_a_header_decides_before_words():
    said = {"description": "T1 UTE TEST", "echo_time_ms": 4.0}
    assert warned(acquisition=Acquisition(**said)) == ()
    found = warned(acquisition=Acquisition(echo_time_ms=0.07, scan_options="FS"))
    assert ["ultra-short" in one for one in found] == [True, False]
    assert all("its DICOM header" in one for one in found)


def test_a_dicom_series_tells(tmp_path):
    mr_series(tmp_path / "all" / "p1", ScanOptions="FS")
    mr_series(tmp_path / "all" / "p2", patient="OTHER-7")
    sources = find_sources(tmp_path / "all", "mr")
    assert [source.acquisition.scan_options for source in sources] == ["FS", ""]


def test_a_warning_is_logged_listed_and_not_doubled_by_a_resume(head_folders, tmp_path, caplog):
    mr, ct = head_folders
    shutil.copytree(mr, tmp_path / "mr")
    (tmp_path / "mr" / "m0.nii.gz").rename(tmp_path / "mr" / "m0_STIR.nii.gz")
    settings = load_settings(overrides=ANATOMY)
    for resume in (False, True):
        caplog.clear()
        cohort = prepare((tmp_path / "mr", ct), tmp_path / "c", settings=settings, resume=resume)
        assert caplog.text.count("m0_STIR.nii.gz: By its file name fat is suppressed") == 1
    warnings = {one.case: one.warnings for one in load_cohort(tmp_path / "c").manifest.cases}
    assert [name for name, found in warnings.items() if found] == ["m0_STIR"]
    assert "Warnings: 1" in inspect_cohort(cohort).read_text(encoding="utf-8")


@pytest.fixture
def table_of_mr(head_folders, tmp_path):
    rows = [f"mr,{path}" for path in sorted(head_folders[0].iterdir())]
    (tmp_path / "mr.csv").write_text("\n".join(["modality,path", *rows]))
    return tmp_path / "mr.csv"


def test_mrs_alone_train_on_phantoms_alone(table_of_mr, tmp_path, caplog):
    chosen = load_settings(overrides=ANATOMY)
    cohort = prepare(table_of_mr, tmp_path / "c", settings=chosen)
    assert "The cohort has no CT: train on phantoms alone with --simulation.phantom_share 1" in caplog.text
    assert "No CT is in validation" not in caplog.text
    with pytest.raises(CohortError, match=r"no CT case, but 35 % of the pairs come from CTs\. Set simulation\."):
        train(cohort, tmp_path / "r", load_settings(prepared=cohort.settings(), overrides=ANATOMY))
    other = load_settings(prepared=cohort.settings(), overrides=ANATOMY | {"recipe": "cut", "creps.weight": 0})
    with pytest.raises(CohortError, match=r"no CT case to train on, and recipe cut learns from CTs"):
        train(cohort, tmp_path / "r", other)
    alone = ANATOMY | {"simulation.phantom_share": 1, "training.validate_every": 1, "training.steps": 2}
    caplog.set_level(logging.INFO)
    model = train(cohort, tmp_path / "run", load_settings(prepared=cohort.settings(), overrides=alone))
    assert (model / "plan.json").is_file()
    assert len(list((tmp_path / "run" / "pictures").iterdir())) == 2
    curves = np.genfromtxt(tmp_path / "run" / "curves.csv", delimiter=",", names=True)
    assert np.isfinite(curves["simulated_error_hu"]).all()
    assert np.isnan(curves["place_distance_hu"]).all()  # needs CTs


@pytest.mark.parametrize(
    ("recipe", "region", "kept", "sentence"),
    [
        ("anatomy", "thorax", "mr", r"holds no CT\. A cohort needs MR and CT.* Only recipe anatomy"),
        ("cut", "brain", "mr", r"holds no CT\. A cohort needs MR and CT.* Only recipe anatomy"),
        ("anatomy", "brain", "ct", r"holds no MR\. Every recipe needs MRs like those to synthesize from: add at least"),
    ],
)
def test_what_one_modality_alone_lacks_is_one_sentence(head_folders, tmp_path, recipe, region, kept, sentence):
    path = next(head_folders[kept == "ct"].iterdir())
    (tmp_path / "t.csv").write_text(f"modality,path\n{kept},{path}\n")
    chosen = load_settings(overrides=ANATOMY | {"recipe": recipe, "preparation.region": region})
    with pytest.raises(CohortError, match=sentence):
        prepare(tmp_path / "t.csv", tmp_path / "c", settings=chosen)


def test_one_mr_and_one_ct_of_one_patient_say_what_to_change(head_folders, tmp_path):
    mr, ct = (next(folder.iterdir()) for folder in head_folders)
    (tmp_path / "t.csv").write_text(f"modality,path,patient\nmr,{mr},p\nct,{ct},p\n")
    cohort = prepare(tmp_path / "t.csv", tmp_path / "c", settings=load_settings(overrides=ANATOMY))
    changes = ANATOMY | {"sampling.ct_positions": "matched"}
    with pytest.raises(CohortError, match=r"no CT of another patient .* or set sampling\.ct_positions: independent"):
        train(cohort, tmp_path / "r", load_settings(prepared=cohort.settings(), overrides=changes))
