"""The benchmark's real pair: unpacked safely, on one grid, with what is wrong with it said."""

import io
import json
import sys
import tarfile

import numpy as np
import pytest
from benchmarks.accuracy import real_pair

from creps.errors import InputError
from creps.io.itk import read_volume

ARCHIVE = "ibsi_STS_042_CT_MR_RTSTRUCT_dicom.tar.gz"


def archive(path, name, size=3):
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.size = size
        tar.addfile(member, io.BytesIO(b"x" * size))
    return path


def test_an_archive_never_writes_beside_its_folder(tmp_path):
    evil = archive(tmp_path / "evil.tar.gz", "../../evil.dcm")
    with pytest.raises(InputError, match="cannot be unpacked"), real_pair.series_folder(evil, tmp_path / "a" / "b"):
        pass
    assert not list(tmp_path.rglob("evil.dcm"))
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_damaged_or_huge_archive_is_refused(tmp_path, monkeypatch):
    (tmp_path / "junk.tar.gz").write_bytes(b"junk")
    with (
        pytest.raises(InputError, match="cannot be unpacked"),
        real_pair.series_folder(tmp_path / "junk.tar.gz", tmp_path),
    ):
        pass
    monkeypatch.setattr(real_pair, "MAX_UNPACKED_BYTES", 2)
    with (
        pytest.raises(InputError, match="unpacks to"),
        real_pair.series_folder(archive(tmp_path / "big.tar.gz", "a.dcm"), tmp_path),
    ):
        pass


def test_the_pair_lies_on_the_mrs_grid_and_scores(shared, tmp_path, monkeypatch, capsys):
    data = shared / "data" / "dicom" / ARCHIVE
    monkeypatch.setattr(sys, "argv", ["real_pair.py", "--data", str(data), "--work", str(tmp_path)])
    real_pair.main()
    case = tmp_path / "cases" / "thigh_registered-no"
    mr, ct, mask = (read_volume(case / f"{name}.nii.gz") for name in ("mr", "ct", "mask"))
    assert ct.same_grid_as(mr)
    assert mask.same_grid_as(mr)
    inside = mask.array > 0
    assert 0.5 < inside.mean() < 0.8
    assert -120 < np.median(ct.array[inside]) < 80  # fat and muscle
    assert np.corrcoef(ct.array[inside] > -30, mr.array[inside] < 500)[0, 1] > 0.5  # fat is dark in CT, bright in T1
    alignment = json.loads((case / "alignment.json").read_text())
    assert alignment["registered"] == "no"
    assert alignment["same_frame_of_reference"]
    assert alignment["body_dice"] == alignment["body_dice_as_they_lie"] > 0.9
    assert alignment["air_share_of_mask"] < 0.02
    assert alignment["movement_in_body_mm"] == {"mean": 0, "max": 0}
    assert str(tmp_path) not in json.dumps(alignment)
    assert str(data.parent) not in json.dumps(alignment)
    table = capsys.readouterr().out
    assert "thigh (registered: no)" in table
    scores = json.loads((tmp_path / "scores_thigh_registered-no.json").read_text())["scores"]
    assert 50 < scores["constant water"]["mae_hu"] < 250
    assert (tmp_path / "check_thigh_registered-no.png").is_file()
    assert not list(tmp_path.rglob("*.dcm"))  # what was unpacked is gone


def test_registration_is_in_every_name_and_moves_little(shared, tmp_path):
    with real_pair.series_folder(shared / "data" / "dicom" / ARCHIVE, tmp_path) as folder:
        pair = real_pair.prepare_pair(folder, "thigh", register=True)
    assert pair.name == "thigh_registered-rigid"
    assert pair.title == "thigh (registered: rigid)"
    assert pair.ct.same_grid_as(pair.mr)
    assert pair.alignment["registration"]["metric_after"] < pair.alignment["registration"]["metric_before"]
    assert 0 < pair.alignment["movement_in_body_mm"]["max"] < 15
    worse = pair.alignment["body_dice"] < pair.alignment["body_dice_as_they_lie"]
    assert (real_pair.WORSE in pair.alignment["limits"]) == worse
