"""Preparing in several processes, going on after an interruption, replacing a cohort."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import creps
from creps import machine as workers
from creps.cohort.cohort import load_cohort
from creps.cohort.prepare import prepare, sensible_jobs
from creps.cohort.screening import Screened
from creps.cohort.staging import Staging
from creps.errors import CohortError, InputError, OutputExistsError, SettingsError
from creps.io.itk import write_volume
from creps.machine import cores
from creps.parallel import WorkerDied, run_all
from creps.service.worker import Worker
from creps.settings import PreparationSettings
from tests.conftest import ball_head
from tests.test_cli import PREPARE, run
from tests.test_prepare import settings

PROJECT = Path(creps.__file__).parents[2]


@pytest.fixture
def folders(tmp_path):
    for i in range(3):
        write_volume(ball_head(i)[0], tmp_path / "mr" / f"m{i}.nii.gz")
        write_volume(ball_head(10 + i)[1], tmp_path / "ct" / f"c{i}.nii.gz")
    return tmp_path / "mr", tmp_path / "ct"


def seven(number):
    if number == 3:
        os._exit(9)
    if number == 4:
        time.sleep(0.2)
    return number * 7, os.environ["OMP_NUM_THREADS"]


def wait_unless_first(number):
    if number:
        time.sleep(600)
    return "first"


def spoil(number):
    raise InputError(f"case {number} is spoilt.", "Mend it.")


def test_workers_answer_and_one_that_dies_takes_its_own_task_only():
    before = os.environ.get("OMP_NUM_THREADS")
    results = dict(run_all(seven, list(range(6)), 2))
    assert isinstance(results.pop(3), WorkerDied)
    assert {k: v[0] for k, v in results.items()} == {k: 7 * k for k in (0, 1, 2, 4, 5)}
    assert {v[1] for v in results.values()} == {str(max(1, cores() // 2))}
    assert os.environ.get("OMP_NUM_THREADS") == before


def test_an_error_in_a_worker_is_raised_here_as_itself():
    with pytest.raises(InputError, match=r"is spoilt\. Mend it"):
        list(run_all(spoil, [1, 2, 3], 2))


SCRIPTS = {
    "print('ran', sorted(run_all(abs, [-1, -2], 2)))": (0, "ran [(0, 1), (1, 2)]"),
    "def own(x): return x\nlist(run_all(own, [1, 2], 2))": (1, "CohortError"),
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_needs_a_main_guard_for_its_own_functions_only(tmp_path, script):
    (tmp_path / "script.py").write_text(f"from creps.parallel import run_all\n{script}\n")
    environment = os.environ | {"PYTHONPATH": str(PROJECT / "src")}
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=120
    )
    code, words = SCRIPTS[script]
    assert done.returncode == code
    assert done.stdout.count("ran") == (code == 0)
    assert words in done.stdout + done.stderr
    assert ("call this below 'if __name__ ==" in done.stderr) == (code == 1)


@pytest.fixture
def no_more_threads(monkeypatch):
    """As where no memory is left for a thread: Python's executor dies, and says nothing to those who wait for it."""

    def refuse(queue):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("multiprocessing.queues.Queue._start_thread", refuse)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.usefixtures("no_more_threads")
def test_an_executor_without_memory_for_a_thread_is_not_waited_for():
    started = time.monotonic()
    with pytest.raises(CohortError, match=r"could not start a thread\. Usually there is too little memory"):
        list(run_all(abs, [-1, -2], 2))
    worker = Worker()
    future = worker.submit(abs, -1)
    while not worker.is_lost(future):
        assert time.monotonic() - started < 60
        time.sleep(0.1)
    assert not future.done()
    worker.end()
    assert not worker.is_lost(future)
    assert time.monotonic() - started < 60
    assert not multiprocessing.active_children()


def test_the_caller_may_stop_while_the_workers_are_busy():
    started = time.monotonic()
    results = run_all(wait_unless_first, [0, 1, 2, 3], 2)
    assert next(results) == (0, "first")
    results.close()
    assert time.monotonic() - started < 60
    assert not multiprocessing.active_children()


def test_a_caller_that_says_stop_is_asked_while_the_workers_are_busy():
    started = time.monotonic()
    assert list(run_all(wait_unless_first, [1, 2, 3], 2, lambda: time.monotonic() - started > 0.5)) == []
    assert time.monotonic() - started < 60
    assert not multiprocessing.active_children()


NOTED = """
import os, pathlib, time
from creps.parallel import run_all

def note(folder):
    (pathlib.Path(folder) / f"{os.getpid()}.pid").touch()
    time.sleep(600)

if __name__ == "__main__":
    list(run_all(note, ["noted", "noted"], 2))
"""


@pytest.mark.process
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
def test_the_workers_of_a_killed_caller_end_with_it(tmp_path):
    (tmp_path / "script.py").write_text(NOTED)
    (tmp_path / "noted").mkdir()
    environment = os.environ | {"PYTHONPATH": str(PROJECT / "src")}
    with subprocess.Popen([sys.executable, "script.py"], cwd=tmp_path, env=environment) as caller:
        while len(found := list((tmp_path / "noted").iterdir())) < 2:
            assert caller.poll() is None
            time.sleep(0.05)
        caller.kill()
    pids, patience = [int(file.stem) for file in found], time.monotonic() + 60
    while any(_runs(pid) for pid in pids):
        assert time.monotonic() < patience
        time.sleep(0.05)


def _runs(pid):
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_two_processes_make_the_same_cohort_as_one(folders, tmp_path):
    told = []
    one = prepare(folders, tmp_path / "one", settings=settings(), progress=lambda *now: told.append(now))
    two = prepare(folders, tmp_path / "two", settings=settings(), jobs=2)
    assert one.manifest.cases == two.manifest.cases
    assert told[0] == (0, 6, "")
    assert [now[0] for now in told] == list(range(7))
    for case in one.manifest.cases:
        np.testing.assert_array_equal(one.array(case), two.array(case))


def test_the_number_of_processes_is_bound_by_memory():
    grid = PreparationSettings()
    assert sensible_jobs(Screened((), 10**6, 10**7, 1e6), grid) == 1  # small: not worth it
    assert sensible_jobs(Screened((), 10**7, 10**9, 1e7), grid) == cores()
    assert sensible_jobs(Screened((), 10**11, 10**12, 1e7), grid) == 1


def test_the_memory_of_a_container_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "CGROUP", tmp_path)
    whole = workers.available_bytes()
    assert whole > 10**8
    (tmp_path / "memory.current").write_text("600\n")
    (tmp_path / "memory.max").write_text("1000\n")
    assert workers.available_bytes() == 400
    (tmp_path / "memory.max").write_text("max\n")
    assert workers.available_bytes() > 10**8


class StopError(Exception):
    pass


def test_an_interrupted_run_is_taken_over(folders, tmp_path, caplog):
    def stop(done, total, name):
        if done == 4:
            raise StopError

    with pytest.raises(StopError):
        prepare(folders, tmp_path / "c", settings=settings(), progress=stop)
    assert not (tmp_path / "c").exists()
    assert len(list((tmp_path / "c.preparing" / "cases").iterdir())) == 4
    write_volume(ball_head(7)[0], folders[0] / "m1.nii.gz")  # changed meanwhile
    (tmp_path / "c.preparing" / "mr" / "m2.npy").write_bytes(b"half an array")
    caplog.set_level("INFO", "creps")
    cohort = prepare(folders, tmp_path / "c", settings=settings())
    assert "2 of 6 cases had been prepared before" in caplog.text
    assert not (tmp_path / "c.preparing").exists()
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["ct", "ct_body", "manifest.json", "mr", "mr_body"]
    fresh = prepare(folders, tmp_path / "fresh", settings=settings())
    assert fresh.manifest.cases == cohort.manifest.cases


def test_other_settings_or_masks_are_prepared_anew(tmp_path, caplog):
    caplog.set_level("INFO", "creps")
    for name, which in (("p", "mr"), ("q", "ct")):
        write_volume(ball_head(1)[which == "ct"], tmp_path / "data" / name / f"{which}.nii.gz")

    def stop(done, total, name):
        if done == 2:
            raise StopError

    def start(**changes):
        with pytest.raises(StopError):
            prepare(tmp_path / "data", tmp_path / "c", settings=settings(**changes), progress=stop)

    start()
    start(**{"preparation.seed": 4})
    assert "2 of 2 cases" not in caplog.text  # stopped before it is said; looked at below
    records = sorted((tmp_path / "c.preparing" / "cases").iterdir())
    before = [path.stat().st_mtime_ns for path in records]
    start()
    assert [path.stat().st_mtime_ns for path in records] == before  # taken over
    start(**{"preparation.spacing_mm": [5, 5, 5]})
    assert all(new.stat().st_mtime_ns != old for new, old in zip(records, before, strict=True))
    before = [path.stat().st_mtime_ns for path in records]
    start(**{"preparation.spacing_mm": [5, 5, 5], "preparation.mr_scale": 500})
    after = [path.stat().st_mtime_ns for path in records]
    assert [path.name for path in records] == ["ct_q.json", "mr_p.json"]
    assert (after[0] == before[0], after[1] == before[1]) == (
        True,
        False,
    )  # the MR's scale is none of the CT's business
    mask = np.zeros(ball_head(1)[0].shape)
    mask[5:20, 6:22, 7:21] = 1
    write_volume(ball_head(1)[0].with_array(mask), tmp_path / "data" / "p" / "mask.nii.gz", integer=True)
    cohort = prepare(tmp_path / "data", tmp_path / "c", settings=settings(**{"preparation.spacing_mm": [5, 5, 5]}))
    assert [case.mask_sha256 is None for case in cohort.manifest.cases] == [False, True]
    assert "1 of 2 cases" in caplog.text


def test_a_mended_file_is_added_to_a_finished_cohort(folders, tmp_path, caplog):
    good = (folders[0] / "m1.nii.gz").read_bytes()
    (folders[0] / "m1.nii.gz").write_bytes(good[:2000])
    arguments = ("-q", "prepare", *folders, "-o", tmp_path / "c", *PREPARE)
    assert run(*arguments) == 3
    first = load_cohort(tmp_path / "c")
    (failure,) = first.failures()
    assert failure.case == "m1"
    assert "truncated" in failure.reason
    (folders[0] / "m1.nii.gz").write_bytes(good)
    assert run(*arguments) == 1  # it is there
    before = {case.case: (tmp_path / "c" / case.modality / f"{case.case}.npy").stat() for case in first.manifest.cases}
    assert run(*arguments, "--resume") == 0
    cohort = load_cohort(tmp_path / "c")
    assert [case.case for case in cohort.manifest.cases] == ["m0", "m1", "m2", "c0", "c1", "c2"]
    assert not cohort.failures()
    splits = {case.case: case.split for case in cohort.manifest.cases}
    for case in first.manifest.cases:
        now = (tmp_path / "c" / case.modality / f"{case.case}.npy").stat()
        assert now.st_ino == before[case.case].st_ino  # linked, not prepared again
        assert splits[case.case] == case.split
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c", "ct", "mr"]
    assert run(*arguments, "--resume", "--preparation.remove_couch", "true") == 1
    with pytest.raises(SettingsError, match=r"was prepared with preparation\.spacing_mm"):
        prepare(folders, tmp_path / "c", settings=settings(**{"preparation.spacing_mm": [6, 6, 6]}), resume=True)
    with pytest.raises(OutputExistsError, match="add --resume"):
        prepare(folders, tmp_path / "c", settings=settings())


def test_a_replaced_file_never_reaches_into_the_old_cohort(folders, tmp_path):
    """The staging folder shares files with the finished cohort until it replaces it."""
    old = prepare(folders, tmp_path / "c", settings=settings())
    arrays = {case.case: np.array(old.array(case)) for case in old.manifest.cases}
    write_volume(ball_head(8)[0], folders[0] / "m0.nii.gz")

    def stop(done, total, name):
        if done == total:
            raise StopError

    with pytest.raises(StopError):
        prepare(folders, tmp_path / "c", settings=settings(), progress=stop, resume=True)
    for case in load_cohort(tmp_path / "c").manifest.cases:
        np.testing.assert_array_equal(old.array(case), arrays[case.case])
    new = prepare(folders, tmp_path / "c", settings=settings(), resume=True)
    assert not np.array_equal(new.array(new.manifest.cases[0]), arrays["m0"])


def test_when_nothing_can_be_used_there_is_no_cohort_but_the_rest_is_kept(folders, tmp_path, capsys):
    for path in folders[1].iterdir():
        path.write_bytes(b"no image")
    assert run("-q", "prepare", *folders, "-o", tmp_path / "c", *PREPARE) == 1
    printed = capsys.readouterr().err
    assert "None of the 3 CT can be used. c0.nii.gz" in printed
    assert "kept for the next run" in printed
    assert not (tmp_path / "c").exists()
    assert len(list((tmp_path / "c.preparing" / "cases").iterdir())) == 3


HOLD = """
import sys, time
from pathlib import Path
from creps.cohort.staging import Staging
with Staging(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_one_process_at_a_time(folders, tmp_path):
    with Staging(tmp_path / "c"), pytest.raises(InputError, match="is being prepared by another process"):
        prepare(folders, tmp_path / "c", settings=settings())
    command = [sys.executable, "-c", HOLD, str(tmp_path / "c")]
    environment = os.environ | {"PYTHONPATH": str(PROJECT / "src")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="is being prepared by another process"):
            prepare(folders, tmp_path / "c", settings=settings())
        process.kill()  # it cannot release anything
    prepare(folders, tmp_path / "c", settings=settings())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c", "ct", "mr"]


@pytest.mark.process
def test_ctrl_c_stops_the_workers_and_keeps_what_is_done(tmp_path):
    for i in range(30):
        write_volume(ball_head(i)[0], tmp_path / "mr" / f"m{i}.nii.gz")
        write_volume(ball_head(100 + i)[1], tmp_path / "ct" / f"c{i}.nii.gz")
    # fine enough, and so many, that sixty cases are not through before a loaded machine sends the signal
    command = [sys.executable, "-m", "creps", "prepare", "mr", "ct", "-o", "c", "--jobs", "2"]
    command += ["--preparation.spacing_mm", "1,1,1", "--preparation.mr_scale", "auto"]
    environment = os.environ | {"PYTHONPATH": str(PROJECT / "src")}
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip  # a shell's background processes ignore Ctrl-C, and so would this one
    records = tmp_path / "c.preparing" / "cases"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (records.is_dir() and any(records.glob("*.json"))):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert len(list(records.glob("*.json"))) < 60  # it stopped; how soon is the machine's business
    assert "Traceback" not in err
    assert "Interrupted." in err
    assert any(records.glob("*.json"))
    assert not (tmp_path / "c").exists()
    assert not (tmp_path / ".c.preparing.lock").exists()


def test_the_preparation_of_a_model(folders, tmp_path, capsys):
    from creps.model import save_model
    from creps.networks.build import build_generator
    from tests.test_synthesize import plan

    (tmp_path / "m").mkdir()
    chosen = plan(mr_scale="auto", remove_couch=True, crop_margin_mm=8.0, region="head")
    chosen = chosen.model_copy(update={"training": {"settings": {"preset": "demo"}}})
    save_model(tmp_path / "m", dict(build_generator(chosen.generator).state_dict()), chosen)
    assert run("-q", "prepare", *folders, "-o", tmp_path / "c", "--from", tmp_path / "m") == 0
    manifest = load_cohort(tmp_path / "c").manifest
    assert manifest.preparation == chosen.preparation
    assert manifest.preset == "demo"
    capsys.readouterr()
    for name, *extra in (
        ("preset", "-p", "brain"),
        ("preparation.remove_couch", "--preparation.remove_couch", "false"),
        ("settings", "-s", "x.yaml"),
        ("recipe", "--recipe", "paper"),
    ):
        assert run("-q", "prepare", *folders, "-o", tmp_path / "d", "--from", tmp_path / "m", *extra) == 1
        assert f"but {name} is given as well" in capsys.readouterr().err
    assert run("-q", "prepare", *folders, "-o", tmp_path / "d", "--from", tmp_path / "ct") == 1
    assert "is not a model" in capsys.readouterr().err
