"""Steps that take minutes: their time is told beforehand, something is said meanwhile, and a signal ends them."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from creps.errors import RunInterruptedError
from creps.settings import Settings, to_yaml
from creps.training import duration
from creps.training.duration import StepTime, advice
from creps.training.run.heartbeat import Heartbeat
from creps.training.run.train import train
from creps.training.step import TrainingStep
from tests.test_run_folder import paper, record, rows, same_weights, settings


@pytest.fixture
def slow_step(monkeypatch):
    """Make a step hang after it has changed the networks, and send the process a signal meanwhile."""

    def make(at, number=signal.SIGTERM, seconds=60.0):
        original, calls = TrainingStep.__call__, []

        def step(self, *arguments):
            calls.append(1)
            report = original(self, *arguments)
            if len(calls) == at:
                threading.Timer(0.3, os.kill, (os.getpid(), number)).start()
                time.sleep(seconds)
            return report

        monkeypatch.setattr(TrainingStep, "__call__", step)
        monkeypatch.setattr("creps.training.loop.SLOW_SECONDS", 0.0)

    return make


@pytest.mark.parametrize(("at", "number"), [(1, signal.SIGTERM), (3, signal.SIGINT)])
def test_a_signal_drops_a_long_step_and_the_run_goes_on_bit_for_bit(
    cohort, tmp_path, monkeypatch, slow_step, at, number
):
    chosen = paper(**{"training.steps": 4, "training.ema_decay": 0.9, "creps.balance_steps": 3})
    train(cohort, tmp_path / "straight", chosen)
    with monkeypatch.context():
        slow_step(at, number)
        started = time.monotonic()
        with pytest.raises(RunInterruptedError, match=f"{number.name} after step {at - 1} of 4"):
            train(cohort, tmp_path / "cut", chosen)
        assert time.monotonic() - started < 45
    monkeypatch.undo()
    train(cohort, tmp_path / "cut", chosen, resume=True)
    names = ("model", "last", "ema", "best")
    assert [one for one in names if not same_weights(tmp_path / "straight" / one, tmp_path / "cut" / one)] == []
    assert rows(tmp_path / "cut")[-1]["step"] == "4"
    assert [(s["from_step"], s["to_step"]) for s in record(tmp_path / "cut")["sessions"]] == [(0, at - 1), (at - 1, 4)]


HANGING = """
import sys, time
from creps.training.step import TrainingStep
original = TrainingStep.__call__
def step(self, mr, ct, number, simulated=None):
    report = original(self, mr, ct, number, simulated)
    if number == 2:
        print("HANGING", file=sys.stderr, flush=True)
        end = time.monotonic() + 120
        while time.monotonic() < end:
            sum(range(1000)) if BUSY else time.sleep(120)
    return report
TrainingStep.__call__ = step
import creps.training.loop
creps.training.loop.SLOW_SECONDS = SLOW
from creps.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.process
@pytest.mark.parametrize(("twice", "code"), [(False, 143), (True, 143)])
def test_a_process_obeys_within_seconds(cohort, tmp_path, twice, code):
    """One signal drops the step; where a step may not be dropped, a second one ends the process."""
    (tmp_path / "s.yaml").write_text(to_yaml(settings(**{"training.steps": 5, "training.checkpoint_every": 1})))
    script = HANGING.replace("BUSY", "True").replace("= SLOW\n", "= 1e9\n" if twice else "= 0.0\n")
    script = script.replace(
        "from creps.cli.main import main\nsys.exit(main(sys.argv[1:]))",
        "import runpy\nrunpy.run_module('creps', run_name='__main__')",
    )
    command = [sys.executable, "-c", script, "train", str(cohort.folder), "-o", str(tmp_path / "run")]
    with subprocess.Popen(
        [*command, "-s", str(tmp_path / "s.yaml")], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        said = []
        for line in process.stderr:
            said.append(line)
            if "HANGING" in line:
                break
        assert "HANGING" in said[-1], said
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        if twice:
            time.sleep(1.0)
            process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        process.wait(60)
    assert time.monotonic() - started < 20, rest
    assert process.returncode == code, rest
    assert "Traceback" not in rest
    assert (tmp_path / "run" / "checkpoints" / "step_00000001" / "training.json").is_file()
    assert not (tmp_path / "run" / "checkpoints" / "step_00000002").exists()


def test_something_is_said_when_nothing_happens(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("creps"), "propagate", True)
    caplog.set_level(logging.INFO, logger="creps")
    with Heartbeat("building", silence_seconds=0.2) as heartbeat:
        time.sleep(0.5)
        heartbeat.doing("step 1 of 9")
        time.sleep(0.5)
    lines = [one.getMessage() for one in caplog.records]
    assert any("busy with building" in line for line in lines)
    assert any("busy with step 1 of 9" in line for line in lines)
    count = len(lines)
    time.sleep(0.4)
    assert len(caplog.records) == count


def test_leaving_waits_for_a_line_that_is_being_written(monkeypatch):
    written = []

    def slow(*_):
        time.sleep(0.3)
        written.append(1)

    monkeypatch.setattr("creps.training.run.heartbeat.log.info", slow)
    with Heartbeat("building", silence_seconds=0.05):
        time.sleep(0.15)
    count = len(written)
    time.sleep(0.4)
    assert len(written) == count >= 1


def test_nothing_is_added_while_others_speak(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("creps"), "propagate", True)
    caplog.set_level(logging.INFO, logger="creps")
    with Heartbeat("building", silence_seconds=1.0):
        for _ in range(6):
            logging.getLogger("creps.test").info("step")
            time.sleep(0.3)
    assert {one.getMessage() for one in caplog.records} == {"step"}


def test_the_time_is_told_before_the_first_step_with_the_setting_that_helps(cohort, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("creps"), "propagate", True)
    caplog.set_level(logging.INFO, logger="creps")
    long = StepTime(generator=2.0, style=650.0, discriminator=1.0)
    monkeypatch.setattr("creps.training.run.forecast.estimate_time", lambda *_: long)
    chosen = paper(**{"training.steps": 1, "creps.slice_step": 1})
    monkeypatch.setattr("creps.training.run.forecast.LONG_HOURS", 0.01)
    train(cohort, tmp_path / "run", chosen)
    lines = [one.getMessage() for one in caplog.records]
    told = next(
        i for i, line in enumerate(lines) if line.startswith("time per step: about 11 min, mostly the perceptual")
    )
    assert told < next(i for i, line in enumerate(lines) if line.startswith("step 1/1"))
    assert any("creps.slice_step" in line or "creps.image_size" in line for line in lines)


def test_the_estimate_is_near_the_truth(cohort, tmp_path, monkeypatch):
    found = []
    real = duration.estimate_time
    monkeypatch.setattr("creps.training.run.forecast.estimate_time", lambda *a: found.append(real(*a)) or found[-1])
    train(cohort, tmp_path / "run", paper(**{"training.steps": 4}))
    measured = sorted(float(row["seconds_per_step"]) for row in rows(tmp_path / "run"))[0]
    assert found[0].style > 0
    assert 0.05 < found[0].total / measured < 20  # the machine may be busy in one of them


def test_the_smallest_change_that_is_enough_is_advised():
    chosen = Settings.model_validate({"creps": {"slice_step": 1, "image_size": 224}})
    style = StepTime(generator=1.0, style=100.0, discriminator=1.0)
    assert advice(chosen, style, 1000) == "Set creps.slice_step to 2: about 14.4 h."
    assert "creps.slice_step to 4" in advice(chosen, style, 3000)
    assert advice(chosen, style, 8000) == "Set creps.image_size to 64: about 22.6 h."
    assert "creps.slice_step to 8 and creps.image_size to" in advice(chosen, style, 9500)
    assert "or train on a GPU" in advice(chosen, style, 10**6)
    assert "patch_size" in advice(chosen, StepTime(100.0, 1.0, 1.0), 10000)
