"""A run can be stopped, resumed and inspected at any time; its folder tells its whole story."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from creps.cohort.cohort import load_cohort
from creps.errors import (
    CohortError,
    ModelError,
    OutputExistsError,
    RunInterruptedError,
    SettingsError,
    TrainingError,
)
from creps.label_free.validation import PatchValidation
from creps.losses.creps import CrepsLoss
from creps.model import Model, load_plan, load_tensors
from creps.settings import load_settings, to_yaml
from creps.training import memory
from creps.training.loop import TrainingLoop
from creps.training.run.starting_point import settings_of
from creps.training.run.train import train
from creps.training.step import TrainingStep
from tests.conftest import TINY, TINY_PAPER

forecast = sys.modules["creps.training.run.forecast"]


def settings(**changes):
    return load_settings(overrides=TINY | changes)


def paper(**changes):
    return load_settings(overrides=TINY_PAPER | changes)


def rows(run):
    return list(csv.DictReader((run / "curves.csv").read_text().splitlines()))


def record(run):
    return json.loads((run / "record.json").read_text())


def same_weights(a, b):
    a, b = load_tensors(a / "generator.safetensors"), load_tensors(b / "generator.safetensors")
    return all(torch.equal(a[name], b[name]) for name in a)


def interrupting(monkeypatch, at, number=signal.SIGTERM):
    """Send the process a signal in the middle of a step."""
    original, calls = TrainingStep.__call__, []

    def step(self, *arguments):
        calls.append(1)
        if len(calls) == at:
            os.kill(os.getpid(), number)
        return original(self, *arguments)

    monkeypatch.setattr(TrainingStep, "__call__", step)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_and_the_run_goes_on_bit_for_bit(cohort, tmp_path, monkeypatch, number):
    chosen = paper(**{"training.steps": 4, "training.ema_decay": 0.9, "creps.balance_steps": 3})
    train(cohort, tmp_path / "straight", chosen)
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    with monkeypatch.context() as patch:
        interrupting(patch, 2, number)
        with pytest.raises(RunInterruptedError, match=rf"{number.name} after step 2 of 4.*--resume auto") as caught:
            train(cohort, tmp_path / "cut", chosen)
    assert caught.value.exit_code == 128 + number
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)] == before
    assert load_plan(tmp_path / "cut").training["steps"] == 2  # a model to look at meanwhile
    train(cohort, tmp_path / "cut", chosen, resume=True)
    for name in ("model", "last", "ema", "best"):
        assert same_weights(tmp_path / "straight" / name, tmp_path / "cut" / name), name
    assert [row["step"] for row in rows(tmp_path / "cut")] == ["1", "2", "3", "4"]
    sessions = record(tmp_path / "cut")["sessions"]
    assert [(s["from_step"], s["to_step"], s["status"]) for s in sessions] == [
        (0, 2, "interrupted"),
        (2, 4, "finished"),
    ]
    assert number.name in sessions[0]["reason"]


def test_a_signal_in_the_last_step_ends_the_run_as_ever(cohort, tmp_path, monkeypatch):
    """The validation after it was quick the last time, so both are finished."""
    interrupting(monkeypatch, 3)
    train(cohort, tmp_path / "run", settings(**{"training.validate_every": 2}))
    assert record(tmp_path / "run")["status"] == "finished"


def test_a_signal_in_the_last_step_drops_it_if_the_first_validation_follows(cohort, tmp_path, monkeypatch):
    """Nobody knows how long that will take; the signal is obeyed and the step is done again."""
    with monkeypatch.context() as patch:
        interrupting(patch, 3)
        with pytest.raises(RunInterruptedError, match="after step 2 of 3"):
            train(cohort, tmp_path / "run", settings())
    train(cohort, tmp_path / "run", settings(), resume=True)
    assert [row["step"] for row in rows(tmp_path / "run")] == ["1", "2", "3"]
    assert record(tmp_path / "run")["status"] == "finished"


@pytest.mark.process
@pytest.mark.parametrize("workers", [0, 1])
def test_a_preempted_command_saves_within_its_grace(cohort, tmp_path, workers):
    """As SLURM does it: SIGTERM to the whole group, workers included; exit code 143, no traceback."""
    (tmp_path / "s.yaml").write_text(to_yaml(settings(**{"training.steps": 5000, "training.workers": workers})))
    command = [sys.executable, "-m", "creps", "train", str(cohort.folder), "-o", str(tmp_path / "run")]
    with subprocess.Popen(
        [*command, "-s", str(tmp_path / "s.yaml")], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not (
            (tmp_path / "run" / "curves.csv").is_file() and len(rows(tmp_path / "run")) > 2
        ):
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "Traceback" not in said
    assert "Go on with --resume auto (resume=True)." in said
    step = record(tmp_path / "run")["sessions"][-1]["to_step"]
    assert (tmp_path / "run" / "checkpoints" / f"step_{step:08d}" / "training.json").is_file()
    assert load_plan(tmp_path / "run").training["steps"] == step


def test_the_folder_tells_the_whole_story(cohort, tmp_path):
    train(cohort, tmp_path / "run", settings(**{"training.ema_decay": 0.5, "training.validate_every": 2}))
    run, story = tmp_path / "run", record(tmp_path / "run")
    assert {p.name for p in run.iterdir()} >= {
        "settings.yaml", "record.json", "log.txt", "curves.csv", "curves.png", "pictures",
        "checkpoints", "last", "ema", "best", "model",
    }  # fmt: skip
    assert story["status"] == "finished"
    assert story["versions"]["torch"]
    assert len(story["cohort"]["cases_sha256"]) == 64
    assert story["best"]["step"] in (2, 3)
    log = (run / "log.txt").read_text()
    assert "step 3/3" in log
    assert "memory per step: about" in log
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert same_weights(run / "model", run / "ema")
    assert not same_weights(run / "model", run / "last")


def test_best_is_the_lowest_score_and_can_be_the_model(cohort, tmp_path, monkeypatch):
    scores = iter([30.0, 10.0, 20.0])
    original = PatchValidation.__call__

    def scored(self, *networks):
        values, picture = original(self, *networks)
        return values | {"validation_score": next(scores)}, picture

    monkeypatch.setattr(PatchValidation, "__call__", scored)
    train(cohort, tmp_path / "run", settings(**{"training.validate_every": 1, "training.model": "best"}))
    assert record(tmp_path / "run")["best"] == {"step": 2, "score": 10.0}
    assert load_plan(tmp_path / "run" / "best").training["steps"] == 2
    assert same_weights(tmp_path / "run" / "model", tmp_path / "run" / "best")
    assert not same_weights(tmp_path / "run" / "model", tmp_path / "run" / "last")


def test_a_resumed_run_remembers_its_best(cohort, tmp_path, monkeypatch):
    scores = iter([10.0, 5.0, 20.0])
    monkeypatch.setattr(TrainingLoop, "_keep_if_best", _with_scores(TrainingLoop._keep_if_best, scores))
    changes = {"training.validate_every": 1}
    train(cohort, tmp_path / "run", settings(**changes, **{"training.steps": 2}))
    train(cohort, tmp_path / "run", settings(**changes), resume=True)
    assert record(tmp_path / "run")["best"] == {"step": 2, "score": 5.0}


def _with_scores(original, scores):
    return lambda self, done, _: original(self, done, next(scores))


def test_the_step_and_the_term_that_broke_are_named_between_lines(cohort, tmp_path, monkeypatch):
    original, calls = TrainingStep.__call__, []

    def breaks(self, *arguments):
        report = original(self, *arguments)
        calls.append(1)
        if len(calls) == 3:
            report.terms["adversarial"] = report.terms["adversarial"] * float("inf")
        return report

    monkeypatch.setattr(TrainingStep, "__call__", breaks)
    changes = {"training.log_every": 100, "training.steps": 5, "training.checkpoint_every": 2}
    with pytest.raises(TrainingError, match="At step 3 the loss term 'adversarial' is inf"):
        train(cohort, tmp_path / "run", settings(**changes))
    assert [p.name for p in (tmp_path / "run" / "checkpoints").iterdir()] == ["step_00000002"]
    story = record(tmp_path / "run")
    assert story["status"] == "failed"
    assert "'adversarial' is inf" in story["sessions"][-1]["reason"]
    assert "'adversarial' is inf" in (tmp_path / "run" / "log.txt").read_text()


def test_fine_tuning_starts_from_the_model(cohort, tmp_path):
    train(cohort, tmp_path / "base", settings(**{"training.ema_decay": 0.5}))
    still = {
        "training.learning_rate": 1e-30,
        "training.weight_decay": 0.0,
        "training.steps": 1,
        "training.ema_decay": 0,
    }
    tuned = train(cohort, tmp_path / "tuned", settings(**still), model=tmp_path / "base")
    base, now = Model.load(tmp_path / "base").generator, Model.load(tuned).generator
    for ours, theirs in zip(base.parameters(), now.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    started = load_plan(tuned).training["started_from"]
    assert started["weights_sha256"] == load_plan(tmp_path / "base").weights_sha256
    assert started["steps"] == 3
    last = sorted((tmp_path / "base" / "checkpoints").iterdir())[-1] / "training.safetensors"
    after = next((tmp_path / "tuned" / "checkpoints").iterdir()) / "training.safetensors"
    ours, theirs = load_tensors(last), load_tensors(after)
    weights = [name for name in ours if name.startswith("discriminator.") and name.endswith("0.weight")]
    assert weights
    for name in weights:  # its discriminator came along
        torch.testing.assert_close(ours[name], theirs[name])


def test_a_fine_tuned_run_resumes_and_keeps_its_origin(cohort, tmp_path):
    train(cohort, tmp_path / "base", settings())
    train(cohort, tmp_path / "run", settings(**{"training.steps": 1}), model=tmp_path / "base" / "model")
    train(cohort, tmp_path / "run", settings(**{"training.steps": 2}), resume=True)
    chain = load_plan(tmp_path / "run").training["started_from"]
    assert chain["weights_sha256"] == load_plan(tmp_path / "base").weights_sha256
    train(cohort, tmp_path / "run", settings(), resume=True, model=tmp_path / "base" / "model")
    train(cohort, tmp_path / "other", settings(**{"training.seed": 4}))
    with pytest.raises(ModelError, match="not started from that model"):
        train(cohort, tmp_path / "run", settings(**{"training.steps": 4}), resume=True, model=tmp_path / "other")


def test_fine_tuning_refuses_what_does_not_fit(cohort, tmp_path):
    train(cohort, tmp_path / "base", settings())
    with pytest.raises(SettingsError, match=r"generator\.width = 4, the settings ask for 2"):
        train(cohort, tmp_path / "run", settings(**{"generator.width": 2}), model=tmp_path / "base")
    plan_file = tmp_path / "base" / "model" / "plan.json"
    plan = json.loads(plan_file.read_text())
    plan["preparation"]["spacing_mm"] = [1, 1, 1]
    plan_file.write_text(json.dumps(plan))
    with pytest.raises(SettingsError, match=r"spacing_mm = .*creps prepare \.\.\. --from MODEL"):
        train(cohort, tmp_path / "run", settings(), model=tmp_path / "base")
    with pytest.raises(ModelError, match="not a model"):
        train(cohort, tmp_path / "run", settings(), model=tmp_path)
    assert not (tmp_path / "run").exists()


def test_a_models_settings_come_with_it_as_far_as_they_are_known(cohort, tmp_path):
    train(cohort, tmp_path / "base", settings(**{"adversarial.loss": "least_squares"}))
    plan_file = tmp_path / "base" / "model" / "plan.json"
    plan = json.loads(plan_file.read_text())
    plan["training"]["settings"]["training"]["of_another_version"] = 1
    plan_file.write_text(json.dumps(plan))
    model = settings_of(tmp_path / "base")
    assert not {"loggers", "devices", "device", "nodes", "steps"} & model["training"].keys()  # another machine's
    chosen = load_settings(prepared=cohort.settings(), model=model, overrides={"training.steps": 7})
    assert chosen.adversarial.loss == "least_squares"
    assert chosen.generator.width == 4
    assert chosen.training.steps == 7
    preset = load_settings("brain", None, {"recipe": "paper"}, cohort.settings(), model)
    assert (preset.adversarial.loss, preset.generator.width) == ("bce", 4)  # of the model its network alone


def test_what_comes_with_a_model_is_its_recipe_alone(cohort, tmp_path):
    """No tracker, device or weights path of the people it comes from."""
    changes = {"training.validate_every": 7, "training.weight_decay": 0.5}
    train(cohort, tmp_path / "base", settings(**changes))
    plan_file = tmp_path / "base" / "model" / "plan.json"
    plan = json.loads(plan_file.read_text())
    plan["training"]["settings"]["training"] |= {"loggers": ["tensorboard"], "devices": 4, "device": "cuda:1"}
    plan["training"]["settings"]["creps"]["weights"] = "theirs.pth"
    plan["inference"]["device"] = "cuda:3"
    plan_file.write_text(json.dumps(plan))
    chosen = load_settings(prepared=cohort.settings(), model=settings_of(tmp_path / "base"))
    assert (chosen.training.loggers, chosen.training.devices, chosen.training.device) == ((), 1, "auto")
    assert (chosen.creps.weights, chosen.inference.device) == ("imagenet", "auto")
    assert chosen.training.weight_decay == 0.5


def test_a_model_does_not_keep_the_device_of_its_training(cohort, tmp_path):
    train(cohort, tmp_path / "run", settings(**{"training.steps": 1, "inference.device": "cuda:3"}))
    assert load_plan(tmp_path / "run" / "model").inference.device == "auto"


def test_a_run_that_crashed_can_be_started_from(cohort, tmp_path, monkeypatch):
    original, calls = TrainingStep.__call__, []

    def crashes(self, *arguments):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("power cut")
        return original(self, *arguments)

    monkeypatch.setattr(TrainingStep, "__call__", crashes)
    with pytest.raises(RuntimeError, match="power cut"):
        train(cohort, tmp_path / "base", settings(**{"training.checkpoint_every": 2}))
    monkeypatch.undo()
    assert not (tmp_path / "base" / "model").exists()
    tuned = train(cohort, tmp_path / "tuned", settings(**{"training.steps": 1}), model=tmp_path / "base")
    assert load_plan(tuned).training["started_from"]["steps"] == 2


def test_a_folder_of_the_users_own_is_left_alone(cohort, tmp_path):
    """Even one that holds a settings file, which is never rewritten."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "settings.yaml").write_text("# my notes\npreset: brain\n")
    with pytest.raises(OutputExistsError, match="already exists and contains no run"):
        train(cohort, tmp_path / "mine", settings(), resume=True)
    assert (tmp_path / "mine" / "settings.yaml").read_text().startswith("# my notes")
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_weights_that_are_not_finite_never_become_the_best(cohort, tmp_path, monkeypatch):
    original, calls = TrainingStep.__call__, []

    def breaks(self, *arguments):
        report = original(self, *arguments)
        calls.append(1)
        if len(calls) == 2:
            with torch.no_grad():
                next(self.networks.generator.parameters()).fill_(float("nan"))
        return report

    monkeypatch.setattr(TrainingStep, "__call__", breaks)
    with pytest.raises(TrainingError, match=r"At step 2 the tensor '.+\.weight' contains NaN or infinite values"):
        train(cohort, tmp_path / "run", settings(**{"training.validate_every": 1}))
    assert load_plan(tmp_path / "run" / "best").training["steps"] == 1
    Model.load(tmp_path / "run" / "best")


def test_a_best_model_of_an_abandoned_branch_is_forgotten(cohort, tmp_path, monkeypatch):
    scores = iter([10.0, 9.0, 1.0, 8.0])
    monkeypatch.setattr(TrainingLoop, "_keep_if_best", _with_scores(TrainingLoop._keep_if_best, scores))
    changes = {"training.validate_every": 1, "training.checkpoint_every": 2, "training.model": "best"}
    train(cohort, tmp_path / "run", settings(**changes, **{"training.steps": 3}))
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step_00000003")  # as if it had crashed before
    train(cohort, tmp_path / "run", settings(**changes, **{"training.learning_rate": 1e-5}), resume=True)
    assert record(tmp_path / "run")["best"] == {"step": 3, "score": 8.0}
    assert load_plan(tmp_path / "run").training["settings"]["training"]["learning_rate"] == 1e-5


def test_two_runs_do_not_share_a_folder(cohort, tmp_path):
    from creps.training.run.folder import RunFolder

    other = RunFolder(tmp_path / "run", cohort, settings(), None, None)
    other.lock.acquire()
    with pytest.raises(OutputExistsError, match="Another process is training"):
        train(cohort, tmp_path / "run", settings())
    other.lock.release()
    train(cohort, tmp_path / "run", settings())
    assert [p.name for p in tmp_path.iterdir()] == ["run"]  # no lock is left


@pytest.mark.parametrize("damage", ['{"sessions": 3}', "[]", "not JSON", '{"sessions": null, "run_id": "x"}'])
def test_damaged_bookkeeping_stops_nobody(cohort, tmp_path, damage):
    train(cohort, tmp_path / "run", settings(**{"training.steps": 1}))
    (tmp_path / "run" / "record.json").write_text(damage)
    with (tmp_path / "run" / "curves.csv").open("ab") as stream:
        stream.write(b"\xff\xfe,\n\xc2\xb2,1\n")
    train(cohort, tmp_path / "run", settings(**{"training.steps": 2}), resume=True)
    assert record(tmp_path / "run")["status"] == "finished"
    assert [row["step"] for row in rows(tmp_path / "run")] == ["1", "2"]


def test_errors_in_reading_processes_keep_their_sentence(cohort, tmp_path):
    broken = tmp_path / "c"
    shutil.copytree(cohort.folder, broken)
    prepared = load_cohort(broken)
    for case in prepared.cases("ct", "train"):
        (broken / "ct" / f"{case.case}.npy").write_bytes(b"\x93NUMPY damaged")
    with pytest.raises(CohortError, match=r"CT case '.*' of cohort .* cannot be opened"):
        train(prepared, tmp_path / "run", settings(**{"training.workers": 1}))


def test_the_memory_is_counted_before_the_perceptual_network_moves(cohort, tmp_path, monkeypatch):
    """On a GPU the probe's images would meet a network on another device."""
    moved = []
    original = CrepsLoss.to
    monkeypatch.setattr(CrepsLoss, "to", lambda self, *a, **k: (moved.append(1), original(self, *a, **k))[1])
    counted = memory.estimate_memory
    monkeypatch.setattr(forecast, "estimate_memory", lambda *a: (_not_moved(moved), counted(*a))[1])
    monkeypatch.setattr(memory, "estimate_memory", lambda *a: (_not_moved(moved), counted(*a))[1])
    train(cohort, tmp_path / "run", paper(**{"training.steps": 1}))
    assert moved


def _not_moved(moved):
    assert not moved
