"""The job for a GPU, rehearsed on the CPU at a tiny size, on a machine that lacks what a bare one lacks."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from benchmarks.gpu.page import PAGE, keep, write_page
from benchmarks.gpu.parts import PARTS
from benchmarks.gpu.settings import arm_settings, paper_settings
from benchmarks.gpu.sizes import FULL, changed

from creps.settings import load_settings

PROJECT = Path(__file__).resolve().parents[1]
ABSENT = ("SimpleITK", "pydicom", "gdcm", "nibabel", "monai", "mlflow", "wandb", "onnx")


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts the job with options; none of its processes can import what a bare machine does not have."""
    bare = tmp_path_factory.mktemp("bare")
    (bare / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({ABSENT!r}))\n")
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(bare), str(PROJECT / "src")])

    def run(out, *options):
        command = [sys.executable, "-m", "benchmarks.gpu", "--out", str(out), *options]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=pipe, stderr=pipe, text=True)

    return run


def test_a_rehearsal_without_the_libraries_that_a_bare_machine_lacks(start, tmp_path):
    """One test, since it takes a minute: another process would rehearse again."""
    out = tmp_path / "out"
    process = start(out, "--rehearse", "--minutes", "30")
    said, errors = process.communicate()
    assert (out / "results.json").is_file(), said + errors
    results = json.loads((out / "results.json").read_text())
    check_status(process.returncode, results)
    check_paper(results["parts"])
    check_limits(results["parts"])
    check_training(results["parts"], out)
    check_page(results, out, tmp_path)


def check_status(code, results):
    status = {name: part["status"] for name, part in results["parts"].items()}
    assert status.pop("monai") == "failed"  # its wheel is not there, and nothing else suffers
    assert set(status.values()) == {"done"}, results["parts"]
    assert set(status) == {part.name for part in PARTS} - {"monai"} | {"phantoms"}
    assert "'monai' is not a package" in results["parts"]["monai"]["reason"]  # blocked, as SimpleITK was
    assert code == results["exit_code"] == 1
    assert results["rehearsal"] is True


def check_paper(parts):
    for preset in ("brain", "pelvis"):
        found = parts[f"paper-{preset}"]["result"]
        assert found["steps"] == 6
        assert found["first_session"]["killed"] is True
        assert found["resumed_at_the_checkpoint"] is True
        assert found["first_step_after_resuming"] == found["killed_after_checkpoint_of_step"] + 1
        assert found["second_session"]["steps"] == 6 - found["killed_after_checkpoint_of_step"]
        assert 0 <= found["second_session"]["wait_share"] < 1
        assert found["images_per_second"] == pytest.approx(found["batch"] / found["seconds_per_step"], rel=1e-3)
        assert 0 < found["weights_moved"]["generator"] < 1
        assert 0 < found["weights_moved"]["discriminator"] < 1
        assert found["memory"]["fits"] is True
        assert "random" in found["perceptual_features"]
    rows = parts["sct"]["result"]["rows"]
    assert len(rows) == 4
    assert all(row["seconds"] > 0 for row in rows.values())
    assert rows["upper median, whole volume (paper)"]["patches"] >= rows["upper median, body"]["patches"] > 1


def check_limits(parts):
    assert parts["peak"]["result"]["bf16_matrix_tflops"] > 0
    found = parts["limits"]["result"]
    assert found["tflops"] == pytest.approx(found["tflop_per_step"] / found["seconds_per_step"], rel=0.1)
    assert found["share_of_bf16_matrix_peak"] > 0
    convolutions = found["convolutions"]
    assert convolutions["kinds"] == convolutions["kinds_timed"] > 5
    assert {row["way"] for row in convolutions["largest"]} == {"forward", "backward"}
    assert convolutions["share_of_the_step"] > 0
    assert sum(found["profile"]["by_kind"].values()) == pytest.approx(1, abs=0.01)
    assert {"convolution", "norm", "optimizer"} <= set(found["profile"]["by_kind"])
    compiled = parts["compile"]["result"]
    assert compiled["state"] == "done"
    assert compiled["graphs"] >= 1
    assert compiled["seconds_per_step_compiled"] > 0


def check_training(parts, out):
    trained, scored = (parts[name]["result"] for name in ("train", "score"))
    for arm in ("anatomy", "supervised"):
        assert trained["arms"][arm]["steps"] >= trained["common_steps"] >= 5
        assert "SIGTERM" in trained["arms"][arm]["stopped"]
        means = scored["means"][arm]
        assert means["equal steps"]["steps"] == trained["common_steps"]
        assert means["equal time"]["patients"] == means["equal steps"]["patients"] == scored["patients"] == 2
        assert all(0 < mean["mae_hu"] < 2000 and 0 <= mean["bone_dice"] <= 1 for mean in means.values())
        with zipfile.ZipFile(out / f"{arm}.zip") as archive:
            assert {"model/plan.json", "model/generator.safetensors", "curves.csv"} <= set(archive.namelist())
    assert all(water > 0 for water in scored["water"])
    assert len(list(out.iterdir())) <= 8
    assert not any(path.is_dir() for path in out.iterdir())
    text = (out / "results.json").read_text()
    assert str(PROJECT) not in text
    assert "creps-gpu-" not in text


def check_page(results, out, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "cpu.json").write_text(json.dumps(results))
    write_page(tmp_path / "kept", tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert page.count("Not yet measured.") == 1  # MONAI's loop
    assert "- `monai`: failed" in page
    assert f"{results['parts']['score']['result']['means']['anatomy']['equal time']['mae_hu']:.1f}" in page
    with pytest.raises(SystemExit, match="no results of a GPU"):
        keep(out / "results.json")


def test_a_part_that_fails_or_runs_out_of_time_is_told_and_the_others_go_on(start, tmp_path):
    options = ("--parts", "peak", "limits", "compile", "--limit", "limits=1", "--set", "compile_backend=nonsense")
    process = start(tmp_path / "out", "--rehearse", *options)
    said, _ = process.communicate()
    parts = json.loads((tmp_path / "out" / "results.json").read_text())["parts"]
    assert process.returncode == 1
    assert {name: part["status"] for name, part in parts.items()} == {
        "peak": "done",
        "limits": "out of time",
        "compile": "failed",
    }
    assert parts["limits"]["reason"] == "stopped after its 1 seconds"
    assert "nonsense" in parts["compile"]["reason"]
    assert parts["compile"]["result"]["seconds_per_step"] > 0  # what was found before it failed
    assert "limits: out of time" in said


def test_a_job_that_is_stopped_leaves_its_results(start, tmp_path):
    process = start(tmp_path / "out", "--rehearse", "--parts", "peak", "limits")
    while not (tmp_path / "out" / "results.json").is_file():
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    parts = json.loads((tmp_path / "out" / "results.json").read_text())["parts"]
    assert process.returncode == 1
    assert "stopped from outside" in {part["reason"] for part in parts.values() if part["reason"]}.pop()


def test_without_a_gpu_nothing_starts(start, tmp_path):
    process = start(tmp_path / "out")
    _, errors = process.communicate()
    assert process.returncode == 2
    assert errors.splitlines() == [
        "No GPU was found: torch sees no CUDA device. Run this on a machine with one, or add --rehearse for the CPU."
    ]
    assert json.loads((tmp_path / "out" / "results.json").read_text())["reason"].startswith("No GPU")
    again = start(tmp_path / "out", "--rehearse")
    assert "holds results already" in again.communicate()[1]
    wrong = start(tmp_path / "other", "--set", "nonsense=1")
    assert "There is no size 'nonsense'" in wrong.communicate()[1]
    assert (again.returncode, wrong.returncode) == (2, 2)


def test_at_full_size_the_settings_are_those_of_the_package():
    """Presets and recipes as they are: only features, length, logging, device and readers are the job's own."""
    for preset in ("brain", "pelvis"):
        ours, theirs = paper_settings(FULL, preset), load_settings(preset, overrides={"recipe": "paper"})
        for section in ("generator", "discriminator", "adversarial", "sampling", "preparation", "cycle", "nce"):
            assert getattr(ours, section) == getattr(theirs, section), section
        changes = {"weights": "random"}
        assert ours.creps == theirs.creps.model_copy(update=changes)
        assert (ours.training.batch_size, ours.training.learning_rate) == (8, theirs.training.learning_rate)
    anatomy, supervised = arm_settings(FULL, "anatomy"), arm_settings(FULL, "supervised")
    assert anatomy.generator == supervised.generator == load_settings("brain").generator
    assert anatomy.simulation.weight > 0
    assert supervised.supervised.weight > 0
    assert anatomy.training.ema_decay == supervised.training.ema_decay
    assert sum(part.reserved for part in PARTS) < 8 * 60
    assert changed(FULL, {"train_patch": [8, 8, 8]}).train_patch == (8, 8, 8)


def test_the_page_is_what_the_kept_results_say(tmp_path):
    write_page(PROJECT / "benchmarks" / "gpu" / "results", tmp_path / "gpu.md")
    assert (tmp_path / "gpu.md").read_text() == PAGE.read_text()
