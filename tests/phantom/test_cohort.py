"""Phantom cohorts on disk."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from creps.errors import InputError, SettingsError
from creps.io.itk import read_volume
from creps.phantom import REGIONS, write_cohort

SPACING_MM = 4.5


def digests(folder: Path) -> dict[str, str]:
    files = sorted(folder.rglob("*.nii.gz"))
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "cohort"
    write_cohort(folder, mr_patients=3, ct_patients=2, test_patients=1, seed=7, spacing_mm=SPACING_MM)
    return folder


def test_layout(cohort: Path) -> None:
    assert list(digests(cohort)) == [
        "test/1HT001/ct.nii.gz",
        "test/1HT001/ct_noise_free.nii.gz",
        "test/1HT001/labels.nii.gz",
        "test/1HT001/mask.nii.gz",
        "test/1HT001/mr.nii.gz",
        "train/1HC001/ct.nii.gz",
        "train/1HC001/mask.nii.gz",
        "train/1HC002/ct.nii.gz",
        "train/1HC002/mask.nii.gz",
        "train/1HM001/mask.nii.gz",
        "train/1HM001/mr.nii.gz",
        "train/1HM002/mask.nii.gz",
        "train/1HM002/mr.nii.gz",
        "train/1HM003/mask.nii.gz",
        "train/1HM003/mr.nii.gz",
    ]
    assert sorted(path.name for path in cohort.parent.iterdir()) == ["cohort"]
    assert sorted(path.name for path in cohort.iterdir()) == ["phantom.json", "test", "train", "train.csv"]


def training_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "train.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_training_manifest(cohort: Path) -> None:
    rows = training_rows(cohort)
    assert list(rows[0]) == ["case", "modality", "path", "mask", "centre", "split", "patient"]
    assert [(row["case"], row["modality"], row["centre"]) for row in rows] == [
        ("1HM001", "mr", "A"),
        ("1HM002", "mr", "B"),
        ("1HM003", "mr", "C"),
        ("1HC001", "ct", "P"),
        ("1HC002", "ct", "Q"),
    ]
    for row in rows:
        assert row["split"] == ""
        assert row["patient"] == row["case"]
        volume, mask = (read_volume(cohort / row[name]) for name in ("path", "mask"))
        assert volume.same_grid_as(mask)


def test_a_manifest_of_nobody_has_a_header_only(tmp_path: Path) -> None:
    write_cohort(tmp_path / "c", mr_patients=0, ct_patients=0, test_patients=0)
    text = (tmp_path / "c/train.csv").read_text(encoding="utf-8")
    assert text == "case,modality,path,mask,centre,split,patient\n"


@pytest.fixture(scope="module")
def pelves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "pelves"
    write_cohort(folder, region="pelvis", mr_patients=1, ct_patients=1, test_patients=1, seed=7, spacing_mm=5.0)
    return folder


def test_pelvis_layout_and_record(pelves: Path) -> None:
    truth = ("ct", "ct_noise_free", "ct_planning", "labels", "labels_planning", "mask", "mr")
    assert list(digests(pelves)) == [
        *(f"test/1PT001/{name}.nii.gz" for name in truth),
        "train/1PC001/ct.nii.gz",
        "train/1PC001/mask.nii.gz",
        "train/1PM001/mask.nii.gz",
        "train/1PM001/mr.nii.gz",
    ]
    record = json.loads((pelves / "phantom.json").read_text(encoding="utf-8"))
    assert record["region"] == "pelvis"
    assert record["cases"][2]["ct_planning"]["bladder_ml"] != record["cases"][2]["bladder_ml"]
    assert [(row["case"], row["modality"]) for row in training_rows(pelves)] == [("1PM001", "mr"), ("1PC001", "ct")]


def test_pelvis_truth_is_on_one_grid(pelves: Path) -> None:
    volumes = {path.name: read_volume(path) for path in (pelves / "test/1PT001").iterdir()}
    assert all(volume.same_grid_as(volumes["mr.nii.gz"]) for volume in volumes.values())
    now, other = volumes["labels.nii.gz"].array, volumes["labels_planning.nii.gz"].array
    assert 0 < (now != other).mean() < 0.02


def test_a_larger_pelvis_cohort_starts_with_the_same_patients(pelves: Path, tmp_path: Path) -> None:
    write_cohort(
        tmp_path / "more", region="pelvis", mr_patients=0, ct_patients=2, test_patients=0, seed=7, spacing_mm=5.0
    )
    before, after = digests(pelves), digests(tmp_path / "more")
    shared = before.keys() & after.keys()
    assert len(shared) == 2
    assert all(before[name] == after[name] for name in shared)


def test_record(cohort: Path) -> None:
    record = json.loads((cohort / "phantom.json").read_text(encoding="utf-8"))
    assert record["schema"] == 1
    assert (record["region"], record["seed"], record["spacing_mm"]) == ("head", 7, SPACING_MM)
    assert [case["id"] for case in record["cases"]] == ["1HM001", "1HM002", "1HM003", "1HC001", "1HC002", "1HT001"]
    assert {case["mr_centre"] for case in record["cases"][:3]} == {"A", "B", "C"}
    assert record["labels"]["0"] == "air"


def test_training_patients_are_different_people(cohort: Path) -> None:
    cases = json.loads((cohort / "phantom.json").read_text(encoding="utf-8"))["cases"]
    assert len({tuple(case["scale"]) for case in cases}) == len(cases)
    mr, ct = read_volume(cohort / "train/1HM001/mr.nii.gz"), read_volume(cohort / "train/1HC001/ct.nii.gz")
    assert not mr.same_grid_as(ct)


def test_files_hold_what_they_say(cohort: Path) -> None:
    test = {path.name: read_volume(path) for path in (cohort / "test/1HT001").iterdir()}
    reference = test["mr.nii.gz"]
    assert all(volume.same_grid_as(reference) for volume in test.values())
    assert set(np.unique(test["mask.nii.gz"].array)) == {0.0, 1.0}
    assert test["ct.nii.gz"].array.min() >= -1024
    assert test["ct.nii.gz"].array.max() > 1000
    assert reference.array.min() >= 0


def test_a_larger_cohort_starts_with_the_same_patients(cohort: Path, tmp_path: Path) -> None:
    write_cohort(tmp_path / "more", mr_patients=1, ct_patients=3, test_patients=0, seed=7, spacing_mm=SPACING_MM)
    before, after = digests(cohort), digests(tmp_path / "more")
    shared = before.keys() & after.keys()
    assert len(shared) == 6
    assert all(before[name] == after[name] for name in shared)


def test_progress_and_returned_folders(tmp_path: Path) -> None:
    calls: list[tuple[int, int, str]] = []
    folders = write_cohort(
        tmp_path / "c",
        mr_patients=1,
        ct_patients=1,
        test_patients=0,
        spacing_mm=5.0,
        progress=lambda *call: calls.append(call),
    )
    assert calls == [(1, 2, "1HM001"), (2, 2, "1HC001")]
    assert folders == [tmp_path / "c/train/1HM001", tmp_path / "c/train/1HC001"]
    assert all(folder.is_dir() for folder in folders)


def test_an_empty_folder_may_be_filled_and_a_full_one_not(tmp_path: Path) -> None:
    write_cohort(tmp_path / "c", mr_patients=0, ct_patients=0, test_patients=0)
    assert (tmp_path / "c/phantom.json").exists()
    with pytest.raises(InputError, match=r"c is not empty\. Choose a new or empty folder"):
        write_cohort(tmp_path / "c", mr_patients=0, ct_patients=0, test_patients=0)
    (tmp_path / "empty").mkdir()
    write_cohort(tmp_path / "empty", mr_patients=0, ct_patients=0, test_patients=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"region": "foot"}, "head"),
        ({"mr_patients": -1}, "mr_patients"),
        ({"ct_patients": -1}, "ct_patients"),
        ({"test_patients": -2}, "test_patients"),
        ({"seed": -1}, "seed"),
        ({"spacing_mm": 0.0}, "spacing"),
        ({"spacing_mm": 6.0}, "spacing"),
    ],
)
def test_bad_arguments(tmp_path: Path, options: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        write_cohort(tmp_path / "c", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "c").exists()


def test_regions() -> None:
    assert list(REGIONS) == ["head", "pelvis"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, total: int, name: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_cohort(tmp_path / "c", mr_patients=1, ct_patients=0, test_patients=0, spacing_mm=5.0, progress=stop)
    assert list(tmp_path.iterdir()) == []
