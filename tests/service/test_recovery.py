"""What a changed file of settings, a refusing archive, deleted results or a full disk must not do."""

import os
import sqlite3
import threading

import pytest

from creps.errors import CrepsError
from creps.io.itk import write_volume
from creps.service import ServiceSettings, deliveries, loop, task, waits, watch
from creps.service.audit import Audit
from creps.service.disk import DAY_SECONDS
from creps.service.node.arrivals import ReceivedSeries
from creps.service.node.filing import RECEIVED
from creps.service.overview import retry_job
from creps.service.retention import delete_old, delete_unknown
from creps.service.sending import RefusedError, ResultGoneError, UnreachableError, deliver
from creps.service.settings import Destination, Keep
from creps.service.state import State
from tests.conftest import ball_head
from tests.service.conftest import WorkerHere
from tests.service.running import jobs, settings
from tests.test_cli import run


class NothingArrives:
    """Arrivals of jobs that a test makes itself."""

    def __init__(self):
        self.again = []

    def collect(self):
        pass

    def is_waiting(self):
        return False

    def revisit(self, job):
        self.again.append(job.id)

    def source_of(self, job):
        from pathlib import Path

        return Path(job.source), job.series


TO = [{"name": "a", "host": "127.0.0.1", "port": 9, "ae_title": "A"}]


@pytest.fixture
def service(tmp_path, demo_model):
    def made(**changes):
        chosen = ServiceSettings(**settings(demo_model, destinations=TO, **changes))
        worker = WorkerHere()
        return loop.Service(chosen, state, tmp_path, tmp_path / "results", arrivals, audit, worker=worker)

    state, audit, arrivals = State(tmp_path / "service.sqlite"), Audit(tmp_path), NothingArrives()
    yield made
    audit.close()
    state.close()


def sent(service):
    """One step, and what it sends."""
    service.step()
    if service.deliveries._thread is not None:
        service.deliveries._thread.join()


def test_a_job_whose_rule_is_gone_is_never_given_to_another_rules_model(service):
    one = service()
    job = one.state.add_job("s", "f", "somewhere", "a rule of yesterday")
    one.worker.submit = lambda *_: pytest.fail("a model of another rule was used")
    one.step()
    assert one.arrivals.again == [job.id]
    assert not one.state.jobs()


def test_a_kill_between_forgetting_a_job_and_looking_again_does_not_lose_its_mr(service):
    class KilledError(Exception):
        pass

    def killed(_):
        raise KilledError

    one = service()
    job = one.state.add_job("s", "f", "somewhere", "a rule of yesterday")
    one.state.forget_job = killed
    with pytest.raises(KilledError):
        one.step()
    assert one.arrivals.again == [job.id]


def test_an_mr_that_changed_unseen_is_looked_at_again(service):
    one = service()
    job = one.state.add_job("s", "f", "somewhere", "all")
    one.worker.submit = lambda *_: WorkerHere().submit(task.Answer, "changed")
    one.step()
    one.step()
    assert one.arrivals.again == [job.id]
    assert not one.state.jobs()


def test_one_refused_image_does_not_hold_up_the_others(service, monkeypatch):
    one = service()
    for name in ("s", "t"):
        job = one.state.add_job(name, "f", "x", "all")
        one.state.set_job(job.id, "made", target=name, destinations=["a"])
    asked = []

    def deliver(_, job, *__):
        asked.append(job)
        if job == 1:
            raise RefusedError("Refused.", "See its log.")
        return 3

    monkeypatch.setattr(deliveries, "deliver", deliver)
    sent(one)
    sent(one)
    assert asked == [1, 2]
    assert [job.state for job in one.state.jobs()] == ["made", "done"]


def test_a_destination_that_does_not_answer_is_asked_once(service, monkeypatch):
    one = service()
    for name in ("s", "t"):
        one.state.set_job(one.state.add_job(name, "f", "x", "all").id, "made", target=name, destinations=["a"])
    asked = []

    def deliver(_, job, *__):
        asked.append(job)
        raise UnreachableError("Down.", "Wait.")

    monkeypatch.setattr(deliveries, "deliver", deliver)
    sent(one)
    sent(one)
    assert asked == [1]


def test_results_that_were_deleted_are_not_noted_as_sent(service, tmp_path):
    one = service()
    job = one.state.add_job("s", "f", "x", "all")
    one.state.set_job(job.id, "made", target="gone_sct", destinations=["a"])
    with pytest.raises(ResultGoneError):
        deliver(one.state, job.id, Destination(**TO[0]), tmp_path / "results" / "gone_sct")
    sent(one)
    (parked,) = one.state.jobs("parked")
    assert "gone from the folder" in parked.reason
    assert not one.state.deliveries()
    retry_job(tmp_path, job.id)
    assert one.state.job(job.id).state == "ready"


def test_a_disk_that_is_full_for_a_while_ends_nothing(service, monkeypatch):
    one = service()
    monkeypatch.setattr(loop, "TICK_SECONDS", 0)
    monkeypatch.setattr(waits, "FIRST_SECONDS", 0.01)
    job = one.state.add_job("s", "f", "x", "all")
    stop, fails, noted = threading.Event(), [3], one.state.set_job

    def failing(number, state, **changes):
        if state == "parked" and fails[0]:
            fails[0] -= 1
            raise sqlite3.OperationalError("database or disk is full")
        noted(number, state, **changes)
        if state == "parked":
            stop.set()

    monkeypatch.setattr(one.state, "set_job", failing)
    one.run(stop)
    assert one.state.job(job.id).state == "parked"


def test_deleted_results_are_not_made_again(tmp_path):
    state = State(tmp_path / "service.sqlite")
    job = state.add_job("s", "f", "x", "all")
    state.set_job(job.id, "done", target="t_sct")
    keep = Keep(received_days=7, results_days=1)
    assert delete_old(state, tmp_path, tmp_path, keep, job.changed + 2 * DAY_SECONDS) == (0, 1)
    assert delete_old(state, tmp_path, tmp_path, keep, job.changed + 3 * DAY_SECONDS) == (0, 0)
    assert state.add_job("s", "f", "x", "all") is None
    state.close()


def test_images_that_arrive_now_are_not_deleted_with_their_old_series(tmp_path):
    state = State(tmp_path / "service.sqlite")
    (tmp_path / RECEIVED / "s").mkdir(parents=True)
    job = state.add_job("s", "f", "s", "all")
    state.set_job(job.id, "done", target="t")
    state.add_image("i", "s", "MR", 1)
    at = state.last_received("s")
    with state._db.change() as db:
        db.execute("UPDATE jobs SET changed = ?", (at - 8 * DAY_SECONDS,))
    assert delete_old(state, tmp_path, tmp_path, Keep(), at) == (0, 0)
    assert delete_old(state, tmp_path, tmp_path, Keep(), at + 8 * DAY_SECONDS) == (1, 0)
    state.close()


def test_the_same_image_uid_in_two_series_is_kept_in_both(tmp_path):
    state = State(tmp_path / "service.sqlite")
    for series in ("s", "t"):
        (tmp_path / RECEIVED / series).mkdir(parents=True)
        (tmp_path / RECEIVED / series / "i.dcm").touch()
        state.add_image("i", series, "MR", 1)
    assert delete_unknown(state, tmp_path) == 0
    state.close()


def test_an_image_that_arrives_while_its_series_is_collected_is_waited_for(tmp_path, demo_model):
    (tmp_path / RECEIVED / "s").mkdir(parents=True)
    state, now = State(tmp_path / "service.sqlite"), [0.0]

    def arrives(series):
        now[0] += 1
        arrivals.arrived(series)
        return False

    chosen = ServiceSettings(**settings(demo_model, settle_seconds=10))
    arrivals = ReceivedSeries(tmp_path, chosen, state, arrives, clock=lambda: now[0])
    now[0] = 20
    arrivals.collect()
    assert arrivals.is_waiting()
    state.close()


@pytest.mark.usefixtures("worker_here")
@pytest.mark.skipif(os.name == "nt", reason="no such names")
def test_strange_names_and_pipes_end_nothing(tmp_path, demo_model):
    source, output = tmp_path / "in", tmp_path / "out"
    (source / "a").mkdir(parents=True)
    os.mkfifo(source / "pipe.nii.gz")
    os.mkfifo(source / "a" / "pipe.nii.gz")
    for folder in (source, source / "a"):
        (folder / os.fsdecode(b"\xe4.nii.gz")).write_bytes(b"no gzip")
    watch(source, output, ServiceSettings(**settings(demo_model, settle_seconds=0)), once=True)
    assert [job.reason.split(".")[0] for job in jobs(output)] == [
        "The name of a file in it is not UTF-8",
        "Its name is not UTF-8",
    ]


@pytest.mark.usefixtures("worker_here")
def test_once_ends_when_the_disk_is_full(tmp_path, demo_model):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "mr.nii.gz").write_bytes(b"no gzip")
    chosen = ServiceSettings(**settings(demo_model, settle_seconds=0, limits={"free_gb": 1e6}))
    watch(tmp_path / "in", tmp_path / "out", chosen, once=True)
    assert [job.state for job in jobs(tmp_path / "out")] == ["ready"]


def test_a_folder_that_cannot_be_listed_is_refused_at_start(tmp_path, demo_model, monkeypatch):
    def closed(_):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "in").mkdir()
    monkeypatch.setattr("creps.service.watching.os.scandir", closed)
    monkeypatch.setattr("creps.service.run.Worker", WorkerHere)
    with pytest.raises(CrepsError, match="cannot be listed: Permission denied"):
        watch(tmp_path / "in", tmp_path / "out", ServiceSettings(**settings(demo_model)), once=True)


@pytest.mark.usefixtures("worker_here")
@pytest.mark.parametrize(
    ("kind", "state"), [("later", "ready"), ("refused", "parked")], ids=["tried again later", "parked"]
)
def test_once_says_by_its_exit_code_that_an_mr_is_left(tmp_path, demo_model, monkeypatch, capsys, kind, state):
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    write_volume(ball_head(0)[0], source / "mr.nii.gz")
    words = ("watch", source, output, "-m", demo_model, "--settle", 0, "--once")
    with monkeypatch.context() as patched:
        patched.setattr(task, "_performed", lambda _: task.Answer(kind, "The moon is full."))
        assert run(*words) == 3
        assert "MRs without an sCT, or not sent: 1." in capsys.readouterr().err
    assert [job.state for job in jobs(output)] == [state]
    if state == "parked":  # as long as the MR lies there
        assert run(*words) == 3
        (source / "mr.nii.gz").unlink()
    assert run(*words) == 0
