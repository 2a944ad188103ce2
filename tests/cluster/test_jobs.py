"""Work in jobs of a real SLURM: killed, interrupted, given up, refused."""

import json
import logging
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from creps.cluster import queue, shard
from creps.cluster.folder import Ended, JobFolder, Started
from creps.cluster.options import SlurmOptions
from creps.cluster.queue import Queue
from creps.cluster.runner import SlurmRunner, _key
from creps.cluster.shard import run_shard
from creps.errors import ClusterError, InputError, RunInterruptedError
from tests.cluster.works import Squaring, Writing, jobs_of_slurm, note, notes, wait_for

pytestmark = [pytest.mark.needs("slurmctld", "submitit"), pytest.mark.process]


def squares(numbers):
    return {index: (number**2, "1") for index, number in enumerate(numbers)}


def test_a_killed_job_is_started_again_for_what_it_had_left(on_node, tmp_path, caplog):
    work = Squaring(tmp_path / "book")
    tasks = [(0, ""), (1, ""), (2, "slow"), (3, ""), (4, "")]

    def kill():
        wait_for(lambda: "slow2" in notes(work.book))
        note(tmp_path / "hurry", "")
        subprocess.run(["scancel", "--signal=KILL", "--full", *jobs_of_slurm()], check=True)

    killer = threading.Thread(target=kill)
    killer.start()
    with on_node(shards=1) as runner:
        results = dict(runner(work, tasks))
    killer.join()
    assert results == squares(range(5))
    assert sorted(notes(work.book)) == ["0", "1", "2", "3", "4", "slow2"]
    assert "ended early (CANCELLED); cases to start again: 3" in caplog.text
    assert not (tmp_path / "jobs.slurm").exists()


def test_a_task_that_kills_its_job_is_given_up_and_the_others_go_on(on_node, tmp_path):
    work = Squaring(tmp_path / "book")
    tasks = [(0, ""), (1, "deadly"), (2, "deadly once"), (3, "")]
    with on_node(shards=1, retries=1) as runner:
        results = dict(runner(work, tasks))
    how, remedy = results.pop(1)
    assert results == {0: (0, "1"), 2: (4, "1"), 3: (9, "1")}
    assert "killed with its job of SLURM (2 times, the last time: FAILED)" in how
    assert str(tmp_path / "jobs.slurm") in remedy
    assert list((tmp_path / "jobs.slurm" / "jobs").glob("*.err"))  # kept, since a task was lost
    assert sorted(notes(work.book)) == ["0", "2", "3", "lost1", "lost1", "lost2"]


def test_a_run_can_have_two_works_and_its_jobs_end_by_themselves(on_node, tmp_path):
    first, second = Squaring(tmp_path / "first"), Squaring(tmp_path / "second")
    with on_node(shards=1) as runner:
        assert dict(runner(first, [(1, ""), (2, "")])) == {0: (1, "1"), 1: (4, "1")}
        results = runner(second, [(3, ""), (4, "")])
        assert dict([next(results), next(results)]) == {0: (9, "1"), 1: (16, "1")}  # it is not run to its end
    assert (notes(first.book), notes(second.book)) == (["1", "2"], ["3", "4"])
    said = subprocess.run(
        ["squeue", "--noheader", "--states=all", "--sort=-i", "--format=%T"], capture_output=True, text=True, check=True
    )
    assert said.stdout.split()[:2] == ["COMPLETED", "COMPLETED"]


def test_an_interrupted_run_cancels_its_jobs_and_goes_on(on_node, tmp_path):
    work = Squaring(tmp_path / "book")
    tasks = [(0, ""), (1, ""), (2, "slow"), (3, "slow")]
    with pytest.raises(RunInterruptedError, match="2 of 4 cases are done") as caught, on_node(shards=2) as runner:  # noqa: PT012
        arrived = []
        for index, _ in runner(work, tasks):
            arrived.append(index)
            if len(arrived) == 2:
                raise KeyboardInterrupt
    assert caught.value.exit_code == 130
    assert jobs_of_slurm() == []
    assert json.loads((tmp_path / "jobs.slurm" / "jobs.json").read_text()) == []
    note(tmp_path / "hurry", "")
    with on_node(shards=2) as runner:
        assert dict(runner(work, tasks)) == squares(range(4))
    done = [number for number in notes(work.book) if number.isdigit()]
    assert sorted(done) == ["0", "1", "2", "3"]
    assert not (tmp_path / "jobs.slurm").exists()


KILLED_RUN = """
from pathlib import Path
from creps.cluster.options import SlurmOptions
from creps.cluster.runner import SlurmRunner
from tests.cluster.works import Squaring
with SlurmRunner(SlurmOptions(cpus=1), "test", Path("jobs.slurm")) as runner:
    list(runner(Squaring(Path("book").absolute()), [(1, "slow"), (2, "")]))
"""


def test_jobs_that_a_killed_run_left_are_cancelled_first(on_node, tmp_path):
    work = Squaring(tmp_path / "book")
    with subprocess.Popen([sys.executable, "-c", KILLED_RUN], cwd=tmp_path) as killed:
        wait_for(lambda: {"slow1", "2"} <= set(notes(work.book)))
        with pytest.raises(InputError, match="is used by another run"):
            on_node().__enter__()
        killed.kill()
    assert jobs_of_slurm()
    note(tmp_path / "hurry", "")
    with on_node() as runner:
        assert jobs_of_slurm() == []
        assert dict(runner(work, [(1, "slow"), (2, "")])) == {0: (1, "1"), 1: (4, "1")}
    assert sorted(notes(work.book)) == ["1", "2", "slow1"]


def test_what_the_work_raises_ends_the_run(on_node, tmp_path):
    with pytest.raises(InputError, match="1 is wrong"), on_node(shards=2) as runner:
        dict(runner(Squaring(tmp_path / "book"), [(1, "wrong"), (2, "slow")]))
    assert jobs_of_slurm() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"partition": "nowhere"}, "SLURM refuses the jobs: .*[Ii]nvalid partition"),
        ({"memory": "900G"}, "SLURM refuses the jobs: .*configuration is not available"),
        ({"gpus": 1}, "SLURM refuses the jobs: .*gres"),
        ({"sbatch": {"no-such-option": "1"}}, "SLURM refuses the jobs"),
    ],
)
def test_what_slurm_refuses_is_one_sentence(on_node, tmp_path, capfd, options, message):
    with pytest.raises(ClusterError, match=message) as caught, on_node(**options) as runner:
        list(runner(Squaring(tmp_path / "book"), [(1, "")]))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_jobs_that_cannot_start_python_end_the_run(on_node, tmp_path):
    options = {"setup": ["echo no module of Python >&2; exit 3"], "retries": 0}
    match = "before they start a case: no module of Python"
    with pytest.raises(ClusterError, match=match) as caught, on_node(**options) as runner:
        list(runner(Squaring(tmp_path / "book"), [(1, "")]))
    assert "setup=" in str(caught.value)


def test_other_folders_are_not_used_for_jobs(on_node, tmp_path):
    folder = tmp_path / "jobs.slurm"
    folder.mkdir(mode=0o700)
    (folder / "thesis.txt").touch()
    with pytest.raises(InputError, match=r"contains thesis\.txt"):
        on_node().__enter__()
    (folder / "thesis.txt").unlink()
    folder.chmod(0o777)
    with pytest.raises(InputError, match="written by other users"):
        on_node().__enter__()


def test_a_silent_slurm_does_not_mean_that_jobs_are_over(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", str(Path(tmp_path, "nothing.conf")))
    monkeypatch.setattr(queue, "ANSWER_SECONDS", 0.5)
    assert Queue(SlurmOptions(), tmp_path, "creps-test").states(["1_0"]) is None
    monkeypatch.setattr(queue, "PROGRAMS", ("no-such-program",))
    with pytest.raises(ClusterError, match="no program no-such-program"):
        queue.check_slurm()
    monkeypatch.setattr(queue, "find_spec", lambda _: None)
    with pytest.raises(ClusterError, match=r"pip install 'creps\[cluster\]'"):
        queue.check_slurm()


def test_only_the_owner_can_open_a_job_folder(tmp_path):
    JobFolder(tmp_path / "jobs").create()
    assert (tmp_path / "jobs").stat().st_mode & 0o777 == 0o700


def test_only_what_an_interrupted_run_wrote_itself_is_known(tmp_path):
    runner = SlurmRunner(SlurmOptions(), "test", tmp_path / "jobs")
    runner.place.create()
    work, file = Writing(), tmp_path / "out"
    key = _key(work, file)
    assert not runner.knows(work, file)
    file.write_text("of somebody")
    assert not runner.knows(work, file)
    runner.place.start(key, Started("of somebody", "1"))  # a run with --overwrite that was killed before it wrote
    assert not runner.knows(work, file)
    file.write_text("of another model")
    assert not runner.knows(work, file)
    file.write_text("ours")  # killed before its result was stored
    assert runner.knows(work, file)
    runner.place.end(key, Ended("written", trace="ours"))
    assert runner.knows(work, file)
    file.write_text("changed since")
    assert not runner.knows(work, file)


def test_a_job_recognises_what_the_killed_one_wrote(tmp_path, monkeypatch):
    place, work, file = JobFolder(tmp_path / "jobs"), Writing(), tmp_path / "out"
    place.create()
    key = _key(work, file)
    work_file = place.write_work(work, [file], [key])
    monkeypatch.setattr(shard, "_handle_signals", lambda: None)
    for result in ("written", "found"):
        place.forget(key)
        run_shard(place.path, work_file, [0], logging.INFO)
        assert place.ended(key).result == result
        assert place.started(key).trace is None
