"""``--slurm`` gives what one machine gives, on a real SLURM: voxels, records, tables, messages, exit codes."""

import json
import re
import shlex
import shutil
import subprocess
import sys

import pytest

import creps
from creps.cli.console import PARTLY
from creps.errors import OutputExistsError
from creps.io.itk import write_volume
from tests.cluster.noted_scoring import NotedScoring
from tests.cluster.noted_synthesis import NotedSynthesis
from tests.cluster.works import jobs_of_slurm, notes, wait_for
from tests.conftest import ball_head
from tests.test_cli import PREPARE, TRAIN, run

pytestmark = [pytest.mark.needs("slurmctld", "submitit"), pytest.mark.process, pytest.mark.slow]

TIMES = ("created", "seconds", "timings")


def without_times(value):
    if isinstance(value, dict):
        return {key: without_times(one) for key, one in value.items() if key not in TIMES}
    return [without_times(one) for one in value] if isinstance(value, list) else value


def files_of(folder):
    """Name → content: of JSON without times, of anything else the bytes."""
    found = {}
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        json_file = path.suffix == ".json"
        found[str(path.relative_to(folder))] = (
            without_times(json.loads(path.read_text())) if json_file else path.read_bytes()
        )
    return found


def messages_of(said, folder):
    """Lines without the time in front of them, and without what only one of two ways says."""
    lines = [re.sub(r"^\d\d:\d\d:\d\d  ", "", line) for line in said.replace(str(folder), "OUT").splitlines()]
    return sorted(
        line
        for line in lines
        if not re.search(r"OUT.*: \d+\.\d s$|^\d+ patches|^jobs? |^waiting |keeps the logs", line)
    )


@pytest.fixture(scope="module")
def mrs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mrs")
    for i in range(4):
        write_volume(ball_head(i)[0], folder / f"m{i}.nii.gz")
    (folder / "m4.nii.gz").write_text("no volume")
    return folder


@pytest.fixture(scope="module")
def scts(mrs, demo_model, tmp_path_factory):
    """sCTs as this machine makes them."""
    creps.load(demo_model).synthesize_folder(sorted(mrs.glob("m[0-3].nii.gz")), folder := tmp_path_factory.mktemp("s"))
    return folder


def test_a_cohort_of_scts_is_the_same_although_two_jobs_were_killed(
    slurm, mrs, demo_model, tmp_path, capfd, monkeypatch
):
    inputs = sorted(mrs.iterdir())
    here, there = tmp_path / "here", tmp_path / "there"
    assert run("synthesize", demo_model, *inputs, "-o", here) == PARTLY
    local = capfd.readouterr()
    monkeypatch.setattr("creps.synthesis.batch.SynthesisWork", NotedSynthesis)
    assert run("synthesize", demo_model, *inputs, "-o", there, "--slurm", "cpus=1", "--slurm", "shards=2") == PARTLY
    spread = capfd.readouterr()
    assert files_of(there) == files_of(here)
    assert spread.out.replace(str(there), "OUT") == local.out.replace(str(here), "OUT")
    assert messages_of(spread.err, there) == messages_of(local.err, here)
    assert spread.err.count("ended early") == 2
    assert sorted(notes(tmp_path / "book")) == ["lost", "m0", "m1", "m2", "m3", "m4"]  # each MR once


def test_a_later_run_does_only_what_is_left(slurm, mrs, demo_model, tmp_path, monkeypatch):
    own = tmp_path / "mrs"
    shutil.copytree(mrs, own)
    model, out = creps.load(demo_model), tmp_path / "out"
    options = {"cpus": 1, "shards": 1}
    monkeypatch.setattr("creps.synthesis.batch.SynthesisWork", NotedSynthesis)
    (own / "m1.nii.gz").unlink()  # it would kill its job
    (own / "m2.nii.gz").unlink()
    inputs = [own / f"m{number}.nii.gz" for number in (0, 3, 4)]
    first = model.synthesize_folder(inputs, out, slurm=options)
    assert [path.name for path in first.failed] == ["m4.nii.gz"]
    assert (tmp_path / "out.slurm").is_dir()
    before = {path: path.stat().st_mtime_ns for path in first.done}
    with pytest.raises(OutputExistsError, match=r"m0_sct\.nii\.gz already exists"):
        model.synthesize_folder(inputs, out, fusion="mean", slurm=options)  # another command
    write_volume(ball_head(4)[0], own / "m4.nii.gz")
    second = model.synthesize_folder(inputs, out, slurm=options)
    assert len(second.done) == 3
    assert {path: path.stat().st_mtime_ns for path in first.done} == before
    assert sorted(notes(tmp_path / "book")) == ["m0", "m3", "m4", "m4"]
    assert len(second.qa) == 3
    assert not (tmp_path / "out.slurm").exists()


def test_a_prepared_cohort_is_the_same(slurm, tmp_path, capfd):
    for i in range(3):
        write_volume(ball_head(i)[0], tmp_path / "mr" / f"m{i}.nii.gz")
        write_volume(ball_head(10 + i)[1], tmp_path / "ct" / f"c{i}.nii.gz")
    (tmp_path / "ct" / "c9.nii.gz").write_text("no volume")
    command = ["prepare", tmp_path / "mr", tmp_path / "ct", *PREPARE]
    here, there = tmp_path / "here", tmp_path / "there"
    assert run(*command, "-o", here) == PARTLY
    local = capfd.readouterr()
    assert run(*command, "-o", there, "--slurm", "cpus=1", "--slurm", "shards=2") == PARTLY
    spread = capfd.readouterr()
    assert files_of(there) == files_of(here)
    assert spread.out.replace(str(there), "OUT") == local.out.replace(str(here), "OUT")
    assert messages_of(spread.err, there) == messages_of(local.err, here)
    assert not (tmp_path / "there.slurm").exists()


def test_an_evaluation_is_the_same_and_goes_on_after_ctrl_c(slurm, scts, tmp_path, capfd, monkeypatch):
    own = tmp_path / "scts"
    shutil.copytree(scts, own)
    for i in range(4):
        write_volume(ball_head(i)[1], tmp_path / "cts" / f"m{i}.nii.gz")
    (own / "m3_sct.nii.gz").write_text("no volume")
    command = ["evaluate", own, tmp_path / "cts", "--json"]
    assert run(*command, tmp_path / "here.json") == PARTLY
    local = capfd.readouterr()
    monkeypatch.setattr("creps.evaluation.batch._Scoring", NotedScoring)
    spread = [*command, tmp_path / "there.json", "--slurm", "cpus=1", "--slurm", "shards=1"]
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["creps.cli.verbs.evaluate"], "progress_bar", lambda *_: interrupt_after_two)
        assert run(*spread) == 130
    assert "Interrupted: 2 of 4 cases are done, and the jobs are cancelled. Run the same" in capfd.readouterr().err
    done = set(notes(tmp_path / "book"))
    assert run(*spread) == PARTLY
    again = capfd.readouterr()
    assert again.out == local.out
    same = [line for line in messages_of(local.err, own) if "evaluated" in line or "scored" in line]
    assert [line for line in messages_of(again.err, own) if "evaluated" in line or "scored" in line] == same
    assert files_of_json(tmp_path / "there.json") == files_of_json(tmp_path / "here.json")
    twice = [case for case in done if notes(tmp_path / "book").count(case) > 1]
    assert set(twice) <= {"m2", "m3"}  # what was being scored when it was interrupted


def interrupt_after_two(done, total, case):
    if done == 2:
        raise KeyboardInterrupt


def files_of_json(path):
    return without_times(json.loads(path.read_text()))


def test_user_errors_are_one_sentence_and_exit_code_1(slurm, mrs, demo_model, tmp_path, capfd, monkeypatch):
    command = ["-q", "synthesize", demo_model, mrs / "m0.nii.gz", "-o", tmp_path / "out"]
    cases = {
        "partition=nowhere": "SLURM refuses the jobs: .*nvalid partition.*",
        "partitoin=main": "Unknown option of SLURM: 'partitoin'. Did you mean 'partition'?",
        "shards=0": "SLURM's option shards = '0': .*",
        "nothing.yaml": "nothing.yaml cannot be read (.*",
    }
    for option, message in cases.items():
        assert run(*command, "--slurm", option) == 1
        said = capfd.readouterr().err
        assert re.fullmatch(f"Error: {message}".replace("(", r"\(").replace("?", r"\?") + "\n", said), said
    monkeypatch.setenv("PATH", "")
    assert run(*command, "--slurm", "shards=2") == 1
    assert capfd.readouterr().err == (
        "Error: --slurm needs SLURM, but there is no program sbatch. Run creps on a login node of the cluster.\n"
    )
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.slurm").exists()


def test_two_tasks_of_srun_train_one_model(slurm, cohort, tmp_path):
    """As docs/how-to/cluster.md starts a training over several nodes."""
    nodes = ["--training.nodes", "1", "--training.devices", "2", "--resume", "auto"]
    command = [sys.executable, "-m", "creps", "train", cohort.folder, "-o", tmp_path / "run", *TRAIN, *nodes]
    script = "#!/bin/bash\nexport OMP_NUM_THREADS=1\nsrun --cpus-per-task=1 " + shlex.join(map(str, command)) + "\n"
    (tmp_path / "train.sh").write_text(script)
    asked = ["--ntasks=2", "--ntasks-per-node=2", "--cpus-per-task=1", f"--output={tmp_path / 'log'}"]
    subprocess.run(["sbatch", *asked, tmp_path / "train.sh"], check=True)
    wait_for(lambda: jobs_of_slurm() == [])
    assert "cpu x 2 processes" in (tmp_path / "log").read_text()
    assert (tmp_path / "run" / "model" / "plan.json").is_file()
