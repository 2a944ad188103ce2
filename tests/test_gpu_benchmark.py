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
import torch
from benchmarks.gpu import together
from benchmarks.gpu.feed import Clock, Pool
from benchmarks.gpu.page import PAGE, keep, with_earlier, write_page
from benchmarks.gpu.parts import JOBS, PHANTOMS, parts_of
from benchmarks.gpu.phantoms import MEMBERS
from benchmarks.gpu.settings import TABLE_ARMS, model_settings, paper_settings, table_settings
from benchmarks.gpu.sizes import FULL, REHEARSAL, changed
from benchmarks.gpu.teachers import grow_teacher_person, grown_before, teachers_of

from creps.settings import load_settings
from creps.training.simulation import grow_phantoms, growth, simulated_pairs

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
    readers = 'model_workers={"head": 1, "pelvis": 1}'  # the others have none
    process = start(out, "--rehearse", "--minutes", "90", "--set", readers)
    said, errors = process.communicate()
    assert (out / "results.json").is_file(), said + errors
    results = json.loads((out / "results.json").read_text())
    check_status(process.returncode, results)
    check_paper(results["parts"])
    check_limits(results["parts"])
    check_models(results["parts"], out)
    check_page(results, out, tmp_path)


def check_status(code, results):
    status = {name: part["status"] for name, part in results["parts"].items()}
    assert status.pop("monai") == "failed"  # its wheel is not there, and nothing else suffers
    assert set(status.values()) == {"done"}, results["parts"]
    assert set(status) == {part.name for part in parts_of("models", REHEARSAL)} - {"monai"} | {"phantoms"}
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


def check_models(parts, out):
    trained, scored = (parts[name]["result"] for name in ("models", "score"))
    for region in ("head", "pelvis"):
        arm = trained["arms"][region]
        assert arm["steps"] == 12
        assert arm["new_batches"] + arm["batches_that_served_again"] >= 12
        assert arm["spacing_mm"] == [5, 5, 5]
        means = scored["means"][region]
        assert {name: mean["patients"] for name, mean in means.items()} == {"unseen family": 1, "held-out phantoms": 2}
        for mean in means.values():
            assert mean["steps"] == 12
            assert 0 < mean["mae_hu_median"] <= mean["mae_hu_worst"] < 2000
            assert 0 <= mean["bone_dice_worst"] <= mean["bone_dice"] <= 1
        with zipfile.ZipFile(out / f"{region}.zip") as archive:
            assert {"model/plan.json", "model/generator.safetensors", "curves.csv"} <= set(archive.namelist())
            plan, settings = json.loads(archive.read("model/plan.json")), archive.read("settings.yaml").decode()
        assert plan["training"]["settings"]["training"]["steps"] == 12  # as if it had been asked for
        assert plan["training"]["settings"]["simulation"]["phantom_share"] == 1
        assert "  steps: 12\n" in settings
    assert all(water > 0 for waters in scored["water"].values() for water in waters)
    check_what_comes_back(out)


def check_what_comes_back(out):
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
    assert f"{results['parts']['score']['result']['means']['pelvis']['unseen family']['mae_hu']:.1f}" in page
    with pytest.raises(SystemExit, match="no results of a GPU"):
        keep(out / "results.json")


def test_a_rehearsal_of_the_tables(start, tmp_path):
    out = tmp_path / "out"
    process = start(out, "--rehearse", "--job", "tables", "--minutes", "90")
    said, errors = process.communicate()
    results = json.loads((out / "results.json").read_text())
    part = results["parts"]["table-head-0"]
    assert (process.returncode, part["status"]) == (0, "done"), said + errors + str(part)
    for arm in REHEARSAL.table_arms:
        means = part["result"]["means"][arm]
        assert means["end"]["steps"] == part["result"]["arms"][arm]["steps"] == 4
        assert {name for name in means if name != "end"} == {"step 2"}
    check_what_comes_back(out)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "cpu-tables.json").write_text(json.dumps(results))
    write_page(tmp_path / "kept", tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert "Not yet measured." not in page
    assert "| head | 0 | `phantoms` | 4 | " in page
    fresh = {"table-head-0": {"status": "skipped"}, "table-head-1": {"status": "skipped"}}
    assert with_earlier(results["parts"], fresh)["table-head-0"]["status"] == "done"


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
    usual = load_settings("brain")
    for region in FULL.model_regions:
        ours = model_settings(FULL, region)
        assert ours.generator == usual.generator
        assert ours.preparation == usual.preparation.model_copy(
            update={"region": region, "spacing_mm": tuple(FULL.model_mm[region])}
        )
        assert ours.simulation.model_dump() == usual.simulation.model_dump() | {"phantom_share": 1.0, "phantoms": 60}
        assert ours.training.schedule == usual.training.schedule == "cosine"
        assert all(side % 16 == 0 for side in ours.sampling.patch_size)
    assert changed(FULL, {"sct_rounds": 3}).sct_rounds == 3


def test_the_arms_of_the_tables_differ_in_what_they_learn_from():
    for region in FULL.table_regions:
        arms = {arm: table_settings(FULL, region, arm, 3) for arm in TABLE_ARMS}
        assert len({(one.preparation, one.training.seed, one.training.batch_size) for one in arms.values()}) == 1
        unets = [arms[name] for name in ("supervised", "anatomy", "phantoms")]
        assert len({(one.generator, one.sampling.patch_size, one.training.learning_rate) for one in unets}) == 1
        assert arms["phantoms"].simulation.phantom_share == 1
        assert arms["cyclegan"].cycle.weight == 10
        assert arms["cut"].nce.weight == 1
        assert arms["paper"].creps.weights == "random"
    vgg16 = table_settings(changed(FULL, {"table_weights": "vgg16.safetensors"}), "head", "paper", 0)
    assert (vgg16.creps.backbone, vgg16.creps.weights) == ("vgg16", "vgg16.safetensors")


def test_the_time_of_each_job_goes_to_the_trainings():
    job = 9 * 60 - 8
    models = parts_of("models", FULL)
    before = sum(part.seconds for part in models[:2])
    assert job - before - sum(part.reserved for part in models[3:]) >= 330
    assert FULL.table_seconds * 2 < job - 60  # two regions, and the first of them can wait a minute for its people
    groups = {group for name in JOBS for part in parts_of(name, FULL) for group in (*part.needs, *part.later)}
    assert {group.partition("-")[0] for group in groups} == set(MEMBERS)
    assert PHANTOMS.seconds < job


def test_a_run_ends_on_time_whatever_its_pace_does():
    """2 steps a second, then 1: the plan follows, and the last step begins before the end."""
    now, number, steps = [0.0], 0, 10_000
    clock = Clock(ends=100.0, steps=steps, now=lambda: now[0])
    while number < steps:
        number += 1
        steps = clock.plan(number)
        now[0] += 0.5 if now[0] < 50 else 1.0
    assert 98 <= now[0] <= 101
    assert 145 <= number <= 152
    assert clock.plans[min(clock.plans)] == pytest.approx(200, rel=0.05)
    assert clock.planned == number


def test_pairs_serve_again_while_none_is_new():
    shape = (2, 1, 2, 2, 2)
    pairs = [{"simulated_mr": torch.full(shape, 0.1 * i), "simulated_ct": torch.full(shape, i)} for i in range(4)]
    pool = Pool(iter(pairs), torch.device("cpu"), most=3, seed=0)
    served = list(pool)
    assert pool.fresh == 4
    assert pool.again == len(served) - 4 <= 2 * 4
    again = pool._from_pool()
    assert again["simulated_ct"].shape == (2, 1, 2, 2, 2)
    assert set(again["simulated_ct"].unique().tolist()) <= {0.0, 1.0, 2.0, 3.0}
    assert again["mr"] is again["simulated_mr"]


def test_a_pool_that_is_stopped_lets_go_of_its_readers():
    ended = []

    def endless():
        try:
            while True:
                yield {"simulated_mr": torch.zeros(1, 1, 2, 2, 2), "simulated_ct": torch.zeros(1, 1, 2, 2, 2)}
        finally:
            ended.append(True)

    pool = Pool(endless(), torch.device("cpu"), most=2, seed=0)
    next(iter(pool))
    pool.stop()
    assert not pool.thread.is_alive()
    assert ended == [True]


def test_an_error_of_a_reader_ends_a_run():
    def broken():
        yield {"simulated_mr": torch.zeros(1, 1, 2, 2, 2), "simulated_ct": torch.zeros(1, 1, 2, 2, 2)}
        raise OSError("no more shared memory")

    with pytest.raises(OSError, match="shared memory"):
        list(Pool(broken(), torch.device("cpu"), most=2, seed=0))


def test_people_grown_before_are_those_that_the_run_would_grow(tmp_path, monkeypatch):
    settings = model_settings(REHEARSAL, "head")
    for person in teachers_of("teachers-head", settings, tmp_path / "people"):
        grow_teacher_person(person)
    people = simulated_pairs(settings).phantoms.people
    monkeypatch.setattr(growth.Crowd, "grow", lambda *_: pytest.fail("grown again"))
    with grown_before(tmp_path / "people"):
        grow_phantoms(settings, tmp_path / "run", lambda: False)
    kept = simulated_pairs(settings, tmp_path / "run").phantoms.people
    simulated_pairs(settings, tmp_path / "run", held_out=True)
    for one, other in zip(people, kept, strict=True):
        assert (one.tissues.tissues == other.tissues.tissues).all()
        assert (one.tissues.shares == other.tissues.shares).all()


def test_a_large_model_comes_back_in_pieces(tmp_path, monkeypatch):
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "model" / "plan.json").write_text("{}")
    (tmp_path / "run" / "model" / "generator.safetensors").write_bytes(os.urandom(5000))
    monkeypatch.setattr(together, "PART_BYTES", 2000)
    together.pack(tmp_path / "run", tmp_path / "head.zip")
    pieces = sorted(tmp_path.glob("head.zip.*"))
    assert [piece.name for piece in pieces] == ["head.zip.001", "head.zip.002", "head.zip.003"]
    (tmp_path / "whole.zip").write_bytes(b"".join(piece.read_bytes() for piece in pieces))
    with zipfile.ZipFile(tmp_path / "whole.zip") as archive:
        assert len(archive.read("model/generator.safetensors")) == 5000


def test_the_page_is_what_the_kept_results_say(tmp_path):
    write_page(PROJECT / "benchmarks" / "gpu" / "results", tmp_path / "gpu.md")
    assert (tmp_path / "gpu.md").read_text() == PAGE.read_text()


def test_a_later_run_keeps_what_an_earlier_one_has_measured():
    before = {"peak": {"status": "done", "result": {"a": 1}}, "sct": {"status": "failed"}}
    now = {
        "peak": {"status": "out of time"},
        "sct": {"status": "failed", "reason": "new"},
        "models": {"status": "done"},
    }
    kept = with_earlier(before, now)
    assert kept == {"peak": before["peak"], "sct": now["sct"], "models": now["models"]}
