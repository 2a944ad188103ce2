"""The report of a training run, finished, going on, failed, and damaged."""

import json
import shutil

import pytest

import creps
from creps.errors import InputError
from creps.report.training import write_training
from tests.conftest import tiny


@pytest.fixture(scope="module")
def finished(cohort, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    settings = tiny(**{"training.validate_every": 2, "training.steps": 3})
    creps.train(cohort, folder, settings=settings)
    return folder


def copied(run, tmp_path, **changes):
    for name in ("record.json", "curves.csv"):
        shutil.copy(run / name, tmp_path / name)
    record = json.loads((tmp_path / "record.json").read_text())
    (tmp_path / "record.json").write_text(json.dumps(record | changes))
    return tmp_path


def test_a_run_leaves_its_report(finished):
    html = (finished / "report.html").read_text(encoding="utf-8")
    document = json.loads((finished / "report.json").read_text())
    assert document["kind"] == "training"
    assert document["headline"] == "The run is finished."
    assert {one["label"]: one["value"] for one in document["figures"]}["steps"] == "3 of 3"
    assert 'http-equiv="refresh"' not in html
    assert html.count("validation patches after step") == len(list((finished / "pictures").glob("*.png")))
    assert "generator, adversarial" in html
    assert "generator.width" in html
    assert "<script" not in html


def test_a_run_that_goes_on_reloads_itself(finished, tmp_path):
    run = copied(finished, tmp_path, status="running")
    html = write_training(run).read_text(encoding="utf-8")
    assert '<meta http-equiv="refresh" content="60">' in html
    assert "The run is in progress." in html


def test_a_failed_run_says_why(finished, tmp_path):
    sessions = [{"started": "now", "from_step": 0, "status": "failed", "reason": "<b>Out of memory</b>"}]
    document = json.loads(
        write_training(copied(finished, tmp_path, status="failed", sessions=sessions)).with_suffix(".json").read_text()
    )
    assert document["result"] == "fail"
    assert document["headline"] == "The run failed: <b>Out of memory</b>."
    assert "<b>Out" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_what_health_found_is_a_warning(finished, tmp_path):
    write_training(copied(finished, tmp_path, health=["The sCTs have almost no bone."]))
    document = json.loads((tmp_path / "report.json").read_text())
    assert (document["result"], document["findings"][0]["level"]) == ("warn", "warn")


def test_a_half_written_row_is_left_out(finished, tmp_path):
    run = copied(finished, tmp_path)
    rows = (run / "curves.csv").read_text().splitlines()
    (run / "curves.csv").write_text("\n".join([*rows, "4,0.0"]) + "abc")
    write_training(run)
    assert len(json.loads((run / "report.json").read_text())["content"]["curves"]) == len(rows)


def test_damaged_runs_are_refused(finished, tmp_path):
    with pytest.raises(InputError, match="is not the folder of a training run"):
        write_training(tmp_path)
    run = copied(finished, tmp_path)
    (run / "record.json").write_text("{")
    with pytest.raises(InputError, match=r"record\.json is damaged"):
        write_training(run)


def test_a_report_that_fails_ends_no_run(cohort, tmp_path, monkeypatch, caplog):
    from creps.training.run.train import train

    def broken(_):
        raise RuntimeError("no page")

    train(cohort, tmp_path / "run", tiny(**{"training.steps": 1}), report=broken)
    assert (tmp_path / "run" / "model" / "plan.json").is_file()
    assert "the report of the run could not be written: no page" in caplog.text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("sessions", value) for value in ([1], 3, {})),
        *(("steps", value) for value in ("x", [1])),
        *(("cohort", value) for value in (3, {"mr_cases": "x"})),
        *(("settings", value) for value in ([1], {"training": {"steps": "x"}}, {"preparation": 3})),
        ("health", 3),
        ("status", 3),
    ],
)
def test_a_damaged_part_of_the_record_is_named(finished, tmp_path, key, value):
    write_training(copied(finished, tmp_path, **{key: value}))
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["missing"] == [f"The record of the run is damaged; left out: {key}."]


def test_paths_are_not_shown(finished, tmp_path):
    sessions = [{"status": "failed", "reason": "/data/SENTINEL/mr.nii.gz cannot be read"}]
    settings = {"creps": {"weights": "/home/SENTINEL/w.pth"}, "training": {"steps": 3}}
    write_training(copied(finished, tmp_path, status="failed", sessions=sessions, settings=settings))
    for name in ("report.html", "report.json"):
        assert "SENTINEL" not in (tmp_path / name).read_text(encoding="utf-8")
