"""The accuracy benchmark's commands, at a size where they take seconds, on a cohort that is no phantom's."""

import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import yaml
from benchmarks.accuracy import collect, page, plan, tables

from creps.io.itk import write_volume
from tests.conftest import ball_head

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).resolve().parents[1] / "src"

TINY_SIZE = {
    "head": {"preparation": {"spacing_mm": [4.0, 4.0, 4.0]}},
    "all": {
        "generator": {"width": 4, "residual_blocks": 1},
        "discriminator": {"widths": [4, 4]},
        "nce": {"features": ["input", "stem"], "width": 8, "patches": 16},
        "sampling": {"patch_size": [16, 16, 16]},
        "training": {"batch_size": 2, "device": "cpu", "precision": "fp32"},
        "inference": {"device": "cpu", "precision": "fp32"},
    },
}


@pytest.fixture
def benchmark(monkeypatch):
    """Runs a command of the benchmark in this process, with a size of its own."""
    monkeypatch.setenv("PYTHONPATH", str(SOURCE))
    monkeypatch.setitem(plan.ARMS["sizes"], "tiny", TINY_SIZE)

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        import_module(f"benchmarks.accuracy.{name}").main()

    return run


@pytest.fixture
def cohort(tmp_path):
    """Ball heads in the benchmark's layout, without pairs to train on."""
    folder = tmp_path / "cohort"
    for seed, part in enumerate(("unpaired", "unpaired", "validation", "test", "test")):
        mr, ct = ball_head(seed)
        mask = ct.with_array(ct.array > -500)
        case = folder / part / f"P{seed}"
        images = {"mr": mr, "mask": mask} if part == "unpaired" else {"mr": mr, "ct": ct, "mask": mask}
        for name, volume in images.items():
            write_volume(volume, case / f"{name}.nii.gz", integer=True)
        if part == "unpaired":
            _, other = ball_head(10 + seed)
            write_volume(other, folder / part / f"Q{seed}" / "ct.nii.gz", integer=True)
    return folder


def test_from_a_cohort_to_the_page(benchmark, cohort, tmp_path, monkeypatch, capsys):
    places = (cohort, tmp_path / "work", "--size", "tiny", "--arms", "adversarial", "cut")
    benchmark("train", *places, "--steps", 2, "--seeds", 0, "--jobs", 1)
    assert "exit 0" in capsys.readouterr().out
    benchmark("score", *places)
    benchmark("fusion", *places, "--patients", 1)
    monkeypatch.setattr(collect, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(collect, "PICTURES", tmp_path / "pictures")
    benchmark("collect", *places)
    result = json.loads((tmp_path / "results" / "head-tiny.json").read_text())
    assert {run["arm"] for run in result["runs"]} >= {"adversarial", "cut", "constant water"}
    assert result["cohort"]["patients"] == {"validation": 1, "test": 2, "training mr": 2, "training ct": 2}
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 2
    assert str(tmp_path) not in json.dumps(result)

    main = "\n".join(tables.main_table(result, "patients"))
    water = next(run for run in result["runs"] if run["arm"] == "constant water")
    mean = np.mean([one["values"]["mae_hu"] for one in water["patients"].values()])
    assert f"{mean:.1f}" in main
    assert "3-D CUT" in main
    assert len(tables.fusion_table(result)) == 4  # head, rule, two arms
    upper, plain = tables.bias_by_coverage(result)[-1].split("|")[2].split("/")
    assert float(upper) >= float(plain)  # the upper median of an even number is never below the median

    monkeypatch.setattr(page, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    benchmark("page")
    assert "3-D CUT" in (tmp_path / "page.md").read_text()


def test_what_is_there_is_not_done_again(benchmark, cohort, tmp_path, capsys):
    places = (cohort, tmp_path / "work", "--size", "tiny", "--arms", "adversarial")
    benchmark("train", *places, "--steps", 1, "--seeds", 0, "--jobs", 1)
    weights = tmp_path / "work" / "runs" / "adversarial-seed0" / "model" / "generator.safetensors"
    before = weights.read_bytes()
    benchmark("train", *places, "--steps", 1, "--seeds", 0, "--jobs", 1)
    assert weights.read_bytes() == before
    assert capsys.readouterr().out.count("exit 0") == 2


def test_every_arm_is_a_recipe_of_the_product(benchmark, tmp_path):
    """All arms at all sizes and regions are settings that creps accepts, and share all but their terms."""
    (tmp_path / "vgg16_imagenet_features_fp16.safetensors").touch()
    for region in plan.ARMS["regions"]:
        for size in ("small", "large"):
            one = plan.Plan(tmp_path, tmp_path / "work", region, size, tmp_path)
            settings = {arm: one.settings(arm) for arm in plan.ARMS["arms"]}
            assert len({s.generator for s in settings.values()}) == 1, (region, size)
            assert len({s.training for s in settings.values()}) == 1
            assert len({s.discriminator for s in settings.values()}) == 1
    assert settings["cyclegan"].cycle.weight > 0
    assert settings["cut"].nce.weight > 0
    assert settings["adversarial"].creps.weight == 0
    assert settings["supervised"].sampling.ct_positions == "colocated"


def test_the_results_page_is_what_the_result_files_say(benchmark, tmp_path, monkeypatch):
    kept = page.PAGE.read_text()
    monkeypatch.setattr(page, "PAGE", tmp_path / "results.md")
    benchmark("page")
    assert (tmp_path / "results.md").read_text() == kept


def test_an_arm_can_start_from_the_shipped_model_of_the_region(tmp_path):
    table = yaml.safe_load((Path(plan.HERE).parent / "unseen" / "arms.yaml").read_text())
    one = plan.Plan(tmp_path, tmp_path / "work", "pelvis", "small", None, table)
    assert (one.starts_from("adapted"), one.starts_from("anatomy")) == ("pelvis", None)
    tree = one.tree("adapted-phantoms")
    assert "preparation" not in tree  # comes with the model, as its network does
    assert (tree["training"]["model"], tree["simulation"]["phantom_share"]) == ("last", 1.0)
