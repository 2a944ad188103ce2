"""A watched folder: what is waited for, what is done once, what is parked."""

import json
import shutil
import threading

import pytest

from creps.errors import CrepsError
from creps.io.itk import read_volume, write_volume
from creps.service import ServiceSettings, watch
from creps.service.audit import Audit
from creps.service.state import State
from creps.service.watching import WatchedFolder, Watcher
from tests.conftest import ball_head
from tests.dicom_cases import mr_series
from tests.service.running import jobs, settings
from tests.test_cli import run

pytestmark = pytest.mark.usefixtures("worker_here")


def chosen(model, **changes):
    return ServiceSettings(**settings(model, **{"settle_seconds": 0, "report": False, **changes}))


def head(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(ball_head(seed)[0], path)
    return path


def test_files_and_series_are_synthesized_once(tmp_path, demo_model):
    source, output = tmp_path / "in", tmp_path / "out"
    head(source / "a" / "mr.nii.gz")
    mr_series(source / "b")
    watch(source, output, chosen(demo_model), once=True)
    assert read_volume(output / "a" / "mr_sct.nii.gz").same_grid_as(read_volume(source / "a" / "mr.nii.gz"))
    (series,) = output.glob("mr-*_sct")
    assert len(list(series.glob("CT.*.dcm"))) == len(list((source / "b").glob("*.dcm")))
    made = {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.suffix in (".gz", ".dcm")}
    watch(source, output, chosen(demo_model), once=True)
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert [job.state for job in jobs(output)] == ["done", "done"]


def test_a_copy_under_another_time_is_not_done_again_but_another_content_is(tmp_path, demo_model):
    source, output = tmp_path / "in", tmp_path / "out"
    path = head(source / "mr.nii.gz")
    watch(source, output, chosen(demo_model), once=True)
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    watch(source, output, chosen(demo_model), once=True)
    assert len(jobs(output)) == 1
    head(path, seed=1)
    watch(source, output, chosen(demo_model), once=True)
    first, second = jobs(output)
    assert first.target == "mr_sct.nii.gz"
    assert second.target == f"mr-{second.fingerprint[:8]}_sct.nii.gz"


def test_what_cannot_be_used_is_parked_with_its_reason_and_can_be_retried(tmp_path, demo_model):
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "broken.nii.gz").write_bytes(b"no gzip")
    head(source / "good.nii.gz")
    watch(source, output, chosen(demo_model), once=True)
    parked = [job for job in jobs(output) if job.state == "parked"]
    assert [job.source for job in parked] == ["broken.nii.gz"]
    document = json.loads((output / "parked" / f"{parked[0].id}.json").read_text())
    assert "broken.nii.gz" in document["reason"]
    assert f"--retry {parked[0].id}" in document["again"]
    head(source / "broken.nii.gz")
    watch(source, output, chosen(demo_model), once=True)
    assert (output / "good_sct.nii.gz").is_file()
    assert [job.state for job in jobs(output)].count("done") == 2


def test_retry_of_a_parked_job(tmp_path, demo_model, monkeypatch):
    from creps.service import task

    source, output = tmp_path / "in", tmp_path / "out"
    head(source / "mr.nii.gz")
    with monkeypatch.context() as patched:
        patched.setattr(task, "_performed", lambda _: task.Answer("refused", "The moon is full."))
        watch(source, output, chosen(demo_model), once=True)
    (job,) = jobs(output)
    assert (job.state, job.reason) == ("parked", "The moon is full.")
    assert run("service", output, "--retry", job.id) == 0
    watch(source, output, chosen(demo_model), once=True)
    assert jobs(output)[0].state == "done"
    assert not list((output / "parked").iterdir())


def test_an_entry_that_still_changes_is_waited_for(tmp_path, demo_model):
    now = [0.0]
    source = tmp_path / "in"
    state = State(tmp_path / "service.sqlite")
    watcher = Watcher(source, chosen(demo_model, settle_seconds=10), state, clock=lambda: now[0])
    audit = Audit(tmp_path)
    arrivals = WatchedFolder(watcher, audit)
    mr = mr_series(tmp_path / "mr")
    files = sorted(mr.glob("*.dcm"))
    (source / "a").mkdir(parents=True)
    for at, path in enumerate(files):
        shutil.copy(path, source / "a")
        now[0] = 3.0 * at
        arrivals.collect()
    assert not state.jobs()
    now[0] += 9.9
    arrivals.collect()
    assert not state.jobs()
    assert arrivals.is_waiting()
    now[0] += 0.2
    arrivals.collect()
    assert len(state.jobs("ready")) == 1
    assert not arrivals.is_waiting()
    audit.close()
    state.close()


def test_a_file_with_an_unfinished_name_is_waited_for(tmp_path, demo_model):
    state = State(tmp_path / "service.sqlite")
    watcher = Watcher(tmp_path / "in", chosen(demo_model), state)
    path = head(tmp_path / "in" / "a" / "mr.nii.gz")
    partial = path.rename(path.with_name("mr.nii.gz.filepart"))
    head(tmp_path / "in" / "a" / "other.nii.gz")
    assert not list(watcher.finished())
    partial.rename(path)
    assert [name for name, _ in watcher.finished()] == ["a"]
    state.close()


def test_images_that_come_late_give_a_second_sct(tmp_path, demo_model):
    source, output = tmp_path / "in", tmp_path / "out"
    mr = mr_series(tmp_path / "mr")
    shutil.copytree(mr, source / "a")
    last = max((source / "a").glob("*.dcm"))
    last.unlink()
    watch(source, output, chosen(demo_model), once=True)
    shutil.copy(mr / last.name, last)
    watch(source, output, chosen(demo_model), once=True)
    first, second = jobs(output)
    counts = [len(list((output / job.target).glob("CT.*.dcm"))) for job in (first, second)]
    assert counts == [len(list(mr.glob("*.dcm"))) - 1, len(list(mr.glob("*.dcm")))]


def test_an_mr_that_no_rule_wants_is_left(tmp_path, demo_model):
    source, output = tmp_path / "in", tmp_path / "out"
    head(source / "ct_of_somebody.nii.gz")
    watch(source, output, chosen(demo_model, rule={"when": {"file": ["*_t1.nii.gz"]}}), once=True)
    assert not jobs(output)
    assert "not wanted" in (output / "audit.jsonl").read_text()


def test_a_failed_check_holds_the_sct_until_a_person_releases_it(tmp_path, demo_model, capsys):
    source, output = tmp_path / "in", tmp_path / "out"
    mr_series(source / "a")
    watch(source, output, chosen(demo_model, rule={"on_qa_fail": "hold"}), once=True)
    (job,) = jobs(output)
    assert job.state == "held"
    assert run("service", output) == 0
    assert "QA fail" in capsys.readouterr().out
    assert run("service", output, "--release", job.id) == 0
    watch(source, output, chosen(demo_model), once=True)
    assert jobs(output)[0].state == "done"
    assert run("service", output, "--release", job.id) == 1
    assert "is not held but done" in capsys.readouterr().err


def test_the_series_of_a_uid_is_found(tmp_path, demo_model, capsys):
    from pydicom import dcmread

    source, output = tmp_path / "in", tmp_path / "out"
    mr = mr_series(source / "a")
    head(source / "mr.nii.gz")
    watch(source, output, chosen(demo_model), once=True)
    uid = dcmread(min(mr.glob("*.dcm"))).SeriesInstanceUID
    assert run("service", output, "--uid", uid, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [job["source"] for job in found["jobs"]] == ["a"]
    assert found["counts"] == {"done": 1}


def test_a_stop_ends_it(tmp_path, demo_model):
    (tmp_path / "in").mkdir()
    stop = threading.Event()
    thread = threading.Thread(
        target=watch, args=(tmp_path / "in", tmp_path / "out", chosen(demo_model)), kwargs={"stop": stop}
    )
    thread.start()
    stop.set()
    thread.join(30)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("source", "output", "options", "said"),
    [
        ("nowhere", "out", {"model": "head"}, "nowhere is not a folder"),
        ("in", "in", {"model": "head"}, "lie within each other"),
        ("in", "in/out", {"model": "head"}, "lie within each other"),
        ("in", "out", {}, "needs either a model or a settings file"),
        ("in", "out", {"model": "no such"}, "no such"),
        ("in", "file/out", {"model": "head"}, "cannot be made"),
    ],
)
def test_what_is_wrong_is_said_at_start(tmp_path, monkeypatch, source, output, options, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(CrepsError, match=said):
        watch(source, output, once=True, **options)


def test_the_overview_of_no_service_is_one_sentence(tmp_path, capsys):
    assert run("service", tmp_path) == 1
    assert "has no service.sqlite" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_dicom_files_in_the_folder_itself_are_grouped_by_series(tmp_path, demo_model):
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for seed, name in enumerate(("a", "b")):
        for path in mr_series(tmp_path / name, seed=seed, patient=name).glob("*.dcm"):
            shutil.copy(path, source / f"{name}{path.name}")
    head(source / "mr.nii.gz")
    watch(source, output, chosen(demo_model), once=True)
    assert [job.state for job in jobs(output)] == ["done"] * 3
    assert sorted(len(list(one.glob("CT.*.dcm"))) for one in output.glob("mr-*_sct")) == [30, 30]


def test_a_header_and_its_data_are_one_mr(tmp_path, demo_model):
    source, output = tmp_path / "in", tmp_path / "out"
    head(source / "mr.mhd")
    watch(source, output, chosen(demo_model), once=True)
    assert [job.state for job in jobs(output)] == ["done"]
    write_volume(ball_head(3)[0], tmp_path / "other.mhd")
    shutil.copy(tmp_path / "other.zraw", source / "mr.zraw")
    watch(source, output, chosen(demo_model), once=True)
    assert len(jobs(output)) == 2


def test_a_folder_of_other_things_is_refused_and_left_as_it_is(tmp_path, demo_model):
    (tmp_path / "in").mkdir()
    output = tmp_path / "out"
    output.mkdir(mode=0o755)
    (output / "thesis.txt").touch()
    with pytest.raises(CrepsError, match="holds other files and no state of a service"):
        watch(tmp_path / "in", output, chosen(demo_model), once=True)
    assert [one.name for one in output.iterdir()] == ["thesis.txt"]
    assert output.stat().st_mode & 0o777 == 0o755


def test_results_that_others_may_read(tmp_path, demo_model):
    head(tmp_path / "in" / "mr.nii.gz")
    watch(tmp_path / "in", tmp_path / "out", chosen(demo_model, private=False), once=True)
    assert (tmp_path / "out").stat().st_mode & 0o005
    assert (tmp_path / "out" / "mr_sct.nii.gz").stat().st_mode & 0o004
    assert (tmp_path / "out" / "service.sqlite").stat().st_mode & 0o077 == 0
