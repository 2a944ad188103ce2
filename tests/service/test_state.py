"""State, audit log, retention, recovery, kills."""

import json
import sqlite3
import stat
import subprocess
import sys
import time

import pytest
from benchmarks.service.kills import start_node, write_settings

from creps.errors import InputError
from creps.service.audit import Audit
from creps.service.disk import DAY_SECONDS, tidy_writing
from creps.service.node.filing import RECEIVED
from creps.service.retention import delete_old, delete_unknown
from creps.service.settings import Keep
from creps.service.state import State
from tests.archive import free_port
from tests.service.running import jobs


@pytest.fixture
def state(tmp_path):
    opened = State(tmp_path / "service.sqlite")
    yield opened
    opened.close()


def test_the_same_images_are_one_job(state):
    assert state.add_job("s", "f", "a", "rule").state == "ready"
    assert state.add_job("s", "f", "a", "rule") is None
    assert state.add_job("s", "g", "a", "rule") is not None
    assert [job.fingerprint for job in state.jobs()] == ["f", "g"]


def test_hashes_differ_between_services_and_stay_within_one(tmp_path, state):
    first = state.hasher.of("1.2.3")
    state.close()
    again = State(tmp_path / "service.sqlite")
    other = State(tmp_path / "other.sqlite")
    assert again.hasher.of("1.2.3") == first
    assert other.hasher.of("1.2.3") != first
    assert first not in repr(again.hasher)
    again.close()
    other.close()


def test_the_file_is_private_and_alone(tmp_path, state):
    state.add_job("s", "f", "a", "rule")
    assert stat.S_IMODE((tmp_path / "service.sqlite").stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["service.sqlite"]


@pytest.mark.parametrize("content", [b"no database, but long enough to be one" * 50])
def test_a_damaged_or_newer_state_is_one_sentence(tmp_path, content):
    (tmp_path / "a.sqlite").write_bytes(content)
    with pytest.raises(InputError, match="is damaged: file is not a database"):
        State(tmp_path / "a.sqlite")
    State(tmp_path / "b.sqlite").close()
    with sqlite3.connect(tmp_path / "b.sqlite") as db:
        db.execute("UPDATE about SET value = '99' WHERE key = 'schema'")
    db.close()
    with pytest.raises(InputError, match="newer creps"):
        State(tmp_path / "b.sqlite")


def test_received_images_are_deleted_after_their_time_and_files_before_rows_never(tmp_path, state):
    folder = tmp_path / RECEIVED / "s"
    folder.mkdir(parents=True)
    (folder / "i.dcm").touch()
    state.add_image("i", "s", "SCANNER", 1)
    job = state.add_job("s", "f", "s", "rule")
    now = time.time()
    keep = Keep(received_days=2, results_days=5)
    assert delete_old(state, tmp_path, tmp_path / "results", keep, now + 9 * DAY_SECONDS) == (0, 0)  # not finished
    state.set_job(job.id, "done", target="t_sct")
    (tmp_path / "results" / "t_sct").mkdir(parents=True)
    assert delete_old(state, tmp_path, tmp_path / "results", keep, now + DAY_SECONDS) == (0, 0)
    assert delete_old(state, tmp_path, tmp_path / "results", keep, now - 9 * DAY_SECONDS) == (0, 0)  # a clock set back
    assert delete_old(state, tmp_path, tmp_path / "results", keep, now + 3 * DAY_SECONDS) == (1, 0)
    assert not folder.exists()
    assert not state.has_image("s", "i")
    assert delete_old(state, tmp_path, tmp_path / "results", keep, now + 6 * DAY_SECONDS) == (0, 1)
    assert not (tmp_path / "results" / "t_sct").exists()
    assert [job.target for job in state.jobs()] == [""]


def test_files_that_were_never_acknowledged_are_deleted(tmp_path, state):
    folder = tmp_path / RECEIVED / "s"
    folder.mkdir(parents=True)
    for name in ("known.dcm", "unknown.dcm", ".half.part"):
        (folder / name).touch()
    state.add_image("known", "s", "SCANNER", 1)
    assert delete_unknown(state, tmp_path) == 2
    assert [one.name for one in folder.iterdir()] == ["known.dcm"]


def test_what_a_killed_process_left_is_tidied(tmp_path):
    (tmp_path / "a" / ".writing-x").mkdir(parents=True)
    (tmp_path / "a" / ".i.part").touch()
    (tmp_path / "a" / "kept.json").touch()
    tidy_writing(tmp_path)
    assert [one.name for one in (tmp_path / "a").iterdir()] == ["kept.json"]


def test_the_audit_log_has_a_line_for_each_entry(tmp_path):
    audit = Audit(tmp_path)
    audit.record("sent", images=3, why=None, text="100 %s")
    audit.close()
    (line,) = (tmp_path / "audit.jsonl").read_text().splitlines()
    entry = json.loads(line)
    assert (entry["event"], entry["images"], entry["text"]) == ("sent", 3, "100 %s")
    assert "why" not in entry
    assert stat.S_IMODE((tmp_path / "audit.jsonl").stat().st_mode) == 0o600


@pytest.mark.process
@pytest.mark.slow
def test_a_node_that_is_killed_loses_nothing_and_sends_nothing_twice(tmp_path):
    out = tmp_path / "kills.json"
    options = ["--kills", "1", "--series", "2", "--seed", "5", "--out", str(out)]
    done = subprocess.run([sys.executable, "-m", "benchmarks.service.kills", *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(out.read_text())
    assert (result["lost"], result["twice"], result["litter"], result["jobs"]) == (0, 0, [], {"done": 2})


@pytest.mark.process
@pytest.mark.slow
def test_a_node_says_what_is_wrong_at_start(tmp_path):
    settings = tmp_path / "node.yaml"
    port = free_port()
    write_settings(settings, tmp_path / "no model", port, None)
    process = start_node(tmp_path / "node", settings)
    assert process.wait(60) == 1
    log = (tmp_path / "node.log").read_text()
    assert log.startswith("Error: ")
    assert "Traceback" not in log
    assert not jobs(tmp_path / "node")
