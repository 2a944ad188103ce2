import csv
import json
import logging
import shutil

import numpy as np
import pytest
import torch
from torchvision import models

from creps.cohort.prepare import prepare
from creps.demo.crude_guess import ContrastPrior, fit_prior
from creps.errors import CrepsError, ModelError, OutputExistsError, SettingsError
from creps.losses.adversarial import gradient_penalty, real_or_fake
from creps.model import load_tensors
from creps.networks.discriminator import PatchDiscriminator
from creps.networks.residual import ResidualGenerator
from creps.settings import leaf_fields, load_settings
from creps.training.build import build_networks, build_style
from creps.training.networks import average_into
from creps.training.passes import Part, Synthetic
from creps.training.processes import start_processes
from creps.training.report import StepReport
from creps.training.run.train import train
from creps.training.step import TrainingStep
from tests.conftest import TINY, TINY_PAPER


def settings(**changes):
    return load_settings(overrides=TINY | changes)


def paper(**changes):
    return load_settings(overrides=TINY_PAPER | changes)


def one_step(chosen, steps=1, seed=0):
    processes = start_processes(chosen.training)
    style = build_style(chosen)
    networks = build_networks(processes, chosen, style)
    step = TrainingStep(processes, networks, style, chosen)
    torch.manual_seed(seed)
    for _ in range(steps):
        report = step(torch.rand(2, 1, 24, 24, 24) * 2, torch.rand(2, 1, 24, 24, 24) * 4 - 1, 1)
    return networks, report


RECIPES = {
    "adversarial alone": {},
    "bf16": {"training.precision": "bf16"},
    "least squares, instance norm, R1": {
        "generator.norm": "instance", "discriminator.norm": "none",
        "adversarial.loss": "least_squares", "adversarial.gradient_penalty": 1.0,
    },
    "style, content and balance": {"creps.weight": 20.0, "creps.content_weight": 1.0, "creps.balance": "always"},
    "conditional": {"discriminator.conditional": True, "sampling.ct_positions": "colocated"},
}  # fmt: skip


@pytest.mark.parametrize("changes", RECIPES.values(), ids=RECIPES.keys())
def test_both_networks_learn(changes):
    """Every parameter of generator and discriminator has optimizer state and changes.

    An engine that this field uses trained its discriminator by exactly 0 for months.
    """
    chosen = settings(**changes)
    fresh = build_networks(start_processes(chosen.training), chosen, build_style(chosen))
    before = {
        name: {k: v.clone() for k, v in getattr(fresh, name).named_parameters()}
        for name in ("generator", "discriminator")
    }
    networks, _ = one_step(chosen, steps=2)
    for name in ("generator", "discriminator"):
        optimizer = getattr(networks, f"{name}_optimizer")
        for key, parameter in getattr(networks, name).named_parameters():
            assert optimizer.state[parameter]["exp_avg_sq"].abs().sum() > 0, f"{name}.{key}"
            assert not torch.equal(parameter, before[name][key]), f"{name}.{key}"
            assert torch.isfinite(parameter).all(), f"{name}.{key}"


def test_each_update_moves_only_its_own_network():
    chosen = settings()
    processes = start_processes(chosen.training)
    networks = build_networks(processes, chosen, build_style(chosen))
    step = TrainingStep(processes, networks, build_style(chosen), chosen)
    step(torch.rand(2, 1, 24, 24, 24), torch.rand(2, 1, 24, 24, 24), 1)
    discriminator = networks.discriminator
    # after the step the discriminator holds the gradient of its own loss only, and can be trained again
    assert all(p.requires_grad for p in discriminator.parameters())
    with torch.no_grad():
        sizes = [float(p.grad.abs().sum()) for p in discriminator.parameters()]
    mr, ct, sct = (torch.rand(2, 1, 24, 24, 24, requires_grad=True) for _ in range(3))
    step._update_generators([Part(mr, ct, mr, ct)], [Synthetic(sct, None)], StepReport(), 1)
    assert sizes == [float(p.grad.abs().sum()) for p in discriminator.parameters()]


def test_reported_terms_are_the_losses_of_the_paper():
    _, report = one_step(paper(**{"creps.balance": "never"}))
    assert set(report.terms) == {"d_real", "d_fake", "adversarial", "style"}
    assert report.weights == {"d_real": 1, "d_fake": 1, "adversarial": 1, "style": 20}


def test_adversarial_losses():
    logits = torch.tensor([0.3, -2.0])
    bce = -torch.log(torch.sigmoid(logits)).mean()
    torch.testing.assert_close(real_or_fake(logits, True, "bce"), bce)
    torch.testing.assert_close(real_or_fake(logits, False, "bce"), -torch.log(1 - torch.sigmoid(logits)).mean())
    torch.testing.assert_close(real_or_fake(logits, True, "least_squares"), ((logits - 1) ** 2).mean())
    torch.testing.assert_close(real_or_fake(logits, False, "least_squares"), (logits**2).mean())


def test_the_guess_maps_dark_to_bone_by_place_and_thick_dark_to_air(cohort):
    prior = fit_prior(cohort)
    case = cohort.cases("mr", "train")[0]
    mr, body = np.array(cohort.array(case)), cohort.body(case)
    cavity = tuple(slice(n // 2 - 3, n // 2 + 3) for n in mr.shape)
    mr[cavity] = 0
    guess = prior.guess(mr, body)
    skull = body & (mr < 0.4)
    skull[cavity] = False
    brain = body & (mr > 0.9) & (mr < 1.6)
    assert (guess[~body] == -1).all()
    assert np.median(guess[skull]) > 0.8  # the dark ring is the skull of 1100 HU
    assert abs(np.median(guess[brain]) - 0.035) < 0.05
    with_air = ContrastPrior(prior.mr, prior.ct, 0.02, prior.spacing_mm).guess(mr, body)
    inner = tuple(slice(s.start + 1, s.stop - 1) for s in cavity)
    assert (with_air[inner] == -1).all()


def test_gradient_penalty_of_a_linear_discriminator_is_known():
    weight = torch.randn(6)
    ct = torch.rand(3, 1, 1, 2, 3, requires_grad=True)
    logits = (ct.flatten(1) @ weight).view(3, 1, 1, 1, 1)
    torch.testing.assert_close(gradient_penalty(logits, ct), 0.5 * weight.square().sum())


def test_cpu_bf16_gives_the_discriminator_the_float32_gradient():
    """Patches 32 deep: the last kernel is deeper than its input, where CPU bf16 gradients were garbage."""
    gradients = {}
    for precision in ("fp32", "bf16"):
        chosen = settings(**{"training.precision": precision, "discriminator.norm": "none"})
        processes = start_processes(chosen.training)
        networks = build_networks(processes, chosen, None)
        step = TrainingStep(processes, networks, None, chosen)
        torch.manual_seed(0)
        sct, ct = torch.rand(2, 1, 32, 32, 32), torch.rand(2, 1, 32, 32, 32)
        for _ in range(10):
            junk = [torch.full((size,), float("nan")) for size in (4096, 65536, 1 << 18)]
            del junk
            step._update_discriminators([Part(ct, ct, ct, ct)], [Synthetic(sct, None)], StepReport())
        gradients[precision] = [p.grad.clone() for p in networks.discriminator.parameters()]
    for full, half in zip(gradients["fp32"], gradients["bf16"], strict=True):
        torch.testing.assert_close(full, half)


def test_average_follows_the_generator_and_its_buffers():
    generator, averaged = ResidualGenerator(2, 1), ResidualGenerator(2, 1)
    for step in range(1, 2000):
        average_into(averaged, generator, 0.9, step)
    for ours, theirs in zip(averaged.state_dict().values(), generator.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_run_tells_its_story(cohort, tmp_path, caplog):
    logging.getLogger("creps").propagate = True
    with caplog.at_level(logging.INFO, logger="creps"):
        train(cohort, tmp_path / "run", paper(**{"training.ema_decay": 0.9, "training.validate_every": 2}))
    lines = [r.getMessage() for r in caplog.records if "/3  d_real" in r.getMessage()]
    assert lines[0].startswith("step 1/3")
    assert "style" in lines[0]
    assert "s/step" in lines[0]
    assert "left" in lines[0]
    assert any("RANDOM" in r.getMessage() for r in caplog.records)
    rows = list(csv.DictReader((tmp_path / "run" / "curves.csv").read_text().splitlines()))
    assert [row["step"] for row in rows] == ["1", "2", "3"]
    assert all(float(row["style"]) > 0 and float(row["style_weight"]) > 0 for row in rows)
    assert float(rows[1]["train_eval_difference_hu"]) > 0  # batch norm: the two modes differ
    assert {p.name for p in (tmp_path / "run" / "pictures").iterdir()} == {"step_00000002.png", "step_00000003.png"}
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["perceptual_weights"]["source"] == "random"
    plan = json.loads((tmp_path / "run" / "model" / "plan.json").read_text())
    assert plan["training"]["perceptual_weights"]["source"] == "random"
    assert plan["training"]["steps"] == 3
    assert not list((tmp_path / "run").rglob("*.p[tk]*"))  # no pickle


@pytest.mark.parametrize("workers", [0, 1])
def test_resuming_continues_bit_for_bit(cohort, tmp_path, workers):
    changes = {
        "training.checkpoint_every": 2, "training.ema_decay": 0.9, "creps.balance": "always", "creps.balance_steps": 3,
        "training.precision": "bf16", "adversarial.gradient_penalty": 0.5,
    }  # fmt: skip
    train(cohort, tmp_path / "straight", paper(**changes, **{"training.steps": 4}))
    train(cohort, tmp_path / "cut", paper(**changes, **{"training.steps": 2}), resume=True)
    later = paper(**changes, **{"training.steps": 4, "training.workers": workers})
    train(cohort, tmp_path / "cut", later, resume=True)
    straight, cut = (
        load_tensors(tmp_path / run / "checkpoints" / "step_00000004" / "training.safetensors")
        for run in ("straight", "cut")
    )
    assert straight.keys() == cut.keys()
    assert any("exp_avg_sq" in name for name in straight)
    for name, value in straight.items():
        assert torch.equal(value, cut[name]), name
    a, b = (load_tensors(tmp_path / run / "model" / "generator.safetensors") for run in ("straight", "cut"))
    assert all(torch.equal(a[name], b[name]) for name in a)
    steps = [row["step"] for row in csv.DictReader((tmp_path / "cut" / "curves.csv").read_text().splitlines())]
    assert steps == ["1", "2", "3", "4"]


def test_a_run_is_never_overwritten_nor_resumed_as_another(cohort, tmp_path):
    train(cohort, tmp_path / "run", settings(**{"training.steps": 1}))
    with pytest.raises(OutputExistsError, match="--resume auto"):
        train(cohort, tmp_path / "run", settings())
    (tmp_path / "run" / "record.json").unlink()  # bookkeeping: the checkpoint knows it all
    train(cohort, tmp_path / "run", settings(**{"training.steps": 1}), resume=True)
    with pytest.raises(SettingsError, match=r"training\.weight_decay = 0\.001"):
        train(cohort, tmp_path / "run", settings(**{"training.weight_decay": 1.0}), resume=True)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="Name another folder"):
        train(cohort, tmp_path / "thesis", settings(), resume=True)
    tensors = next((tmp_path / "run" / "checkpoints").glob("*/training.safetensors"))
    tensors.write_bytes(tensors.read_bytes()[:-1])
    with pytest.raises(ModelError, match="damaged"):
        train(cohort, tmp_path / "run", settings(), resume=True)


def test_old_checkpoints_go(cohort, tmp_path):
    train(cohort, tmp_path / "run", settings(**{"training.checkpoint_every": 1, "training.keep_checkpoints": 2}))
    assert sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir()) == ["step_00000002", "step_00000003"]


def test_the_same_seed_gives_the_same_model(cohort, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(cohort, tmp_path / name, settings(**{"training.steps": 2, "training.seed": seed}))
    a, b, c = (load_tensors(tmp_path / name / "model" / "generator.safetensors") for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_a_patch_too_small_for_the_discriminator_is_refused(cohort, tmp_path):
    with pytest.raises(SettingsError, match="at least 24 voxels"):
        train(cohort, tmp_path / "run", settings(**{"sampling.patch_size": [24, 24, 23]}))
    assert not (tmp_path / "run").exists()


def test_slices_too_small_for_the_features_are_refused(cohort, tmp_path):
    with pytest.raises(SettingsError, match="24 x 24 voxels are too small for the features"):
        train(cohort, tmp_path / "run", paper(**{"creps.layers": None}))


def test_a_loss_that_is_not_finite_stops_the_run_by_name(cohort, tmp_path, monkeypatch):
    monkeypatch.setattr(PatchDiscriminator, "forward", lambda self, ct: self.layers(ct) * float("nan"))
    with pytest.raises(CrepsError, match="step 1 the loss term 'd_real' is nan"):
        train(cohort, tmp_path / "run", settings())


def test_the_balanced_weight_is_in_record_plan_and_checkpoint(cohort, tmp_path):
    train(cohort, tmp_path / "run", paper(**{"creps.balance_steps": 2}))
    record = json.loads((tmp_path / "run" / "record.json").read_text())["style_weight"]
    plan = json.loads((tmp_path / "run" / "model" / "plan.json").read_text())["training"]["style_weight"]
    rows = list(csv.DictReader((tmp_path / "run" / "curves.csv").read_text().splitlines()))
    assert record == plan
    assert record["frozen"]
    assert record["measured_over_steps"] == 2
    assert record["weight"] == pytest.approx(float(rows[-1]["style_weight"]), rel=1e-6)
    assert record["weight"] != 20


def test_the_plan_says_how_the_cohort_was_prepared(cohort, tmp_path):
    with pytest.raises(SettingsError, match=r"The settings and the cohort differ in preparation\."):
        train(cohort, tmp_path / "run", settings(**{"preparation.spacing_mm": [1, 1, 1]}))
    assert not (tmp_path / "run").exists()


def test_another_cohort_is_not_resumed_on(cohort, head_folders, tmp_path):
    train(cohort, tmp_path / "run", settings(**{"training.steps": 1}))
    other = prepare(head_folders, tmp_path / "c", settings=load_settings(overrides=TINY | {"preparation.seed": 5}))
    chosen = load_settings(overrides=TINY | {"preparation.seed": 5})
    with pytest.raises(CrepsError, match=r"preparation\.seed|not the cohort"):
        train(other, tmp_path / "run", chosen, resume=True)


def test_after_a_nan_one_can_go_on_with_a_lower_rate(cohort, tmp_path, monkeypatch):
    """As the message says; and what is broken is never saved."""
    changes = {"training.checkpoint_every": 1, "training.log_every": 100, "training.steps": 4}
    original, calls = TrainingStep.__call__, []

    def breaks(self, *arguments):
        report = original(self, *arguments)
        calls.append(1)
        if len(calls) == 3:
            with torch.no_grad():
                next(self.networks.generator.parameters()).fill_(float("nan"))
        return report

    monkeypatch.setattr(TrainingStep, "__call__", breaks)
    with pytest.raises(
        CrepsError, match=r"contains NaN or infinite values.*--resume auto .*and a lower training\.learning_rate"
    ):
        train(cohort, tmp_path / "run", settings(**changes))
    assert sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir()) == ["step_00000001", "step_00000002"]
    monkeypatch.undo()
    train(cohort, tmp_path / "run", settings(**changes, **{"training.learning_rate": 1e-5}), resume=True)
    assert (tmp_path / "run" / "model" / "plan.json").is_file()


TRAINING_CHANGES = {
    "adversarial.loss": "least_squares", "adversarial.weight": 0.5, "adversarial.gradient_penalty": 1.0,
    "creps.weight": 5.0, "creps.gram": "batch", "creps.content_weight": 1.0,
    "creps.slice_step": 4, "creps.image_size": 32, "creps.layers": ["features.3.0.block.5"], "creps.balance": "always",
    "creps.backbone": "vgg16",
    "discriminator.norm": "instance", "discriminator.widths": [4, 4],
    "generator.norm": "instance",
    "cycle.weight": 1.0, "nce.weight": 1.0,
    "generator.width": 2, "generator.residual_blocks": 2, "simulation.weight": 10.0,
    "sampling.ct_positions": "matched", "sampling.mr_positions": "random",
    "sampling.patch_size": [24, 24, 28],
    "training.accumulate": 2, "training.batch_size": 1, "training.beta1": 0.5, "training.ema_decay": 0.5,
    "training.learning_rate": 1e-3, "training.discriminator_learning_rate": 1e-3, "training.precision": "bf16",
    "training.clip_norm": 1e-3, "training.optimizer": "muon",
    "training.schedule": "cosine", "training.seed": 3, "training.weight_decay": 1.0,
}  # fmt: skip


ELSEWHERE = {
    "training.bone_weight": "needs a loss that knows the CT",
    "creps.weights": "networks", "creps.weights_sha256": "a check", "creps.balance_steps": "needs a balance",
    "creps.balance_ratio": "needs a balance", "discriminator.conditional": "needs pairs",
    "cycle.identity_weight": "needs a cycle", "nce.identity_weight": "needs PatchNCE", "nce.width": "needs PatchNCE",
    "nce.patches": "needs PatchNCE", "nce.features": "needs PatchNCE", "nce.temperature": "needs PatchNCE",
    "supervised.weight": "needs pairs", "generator.kind": "its own tests", "generator.levels": "a U-Net's",
    "generator.blocks": "a U-Net's", "generator.classes": "a U-Net's", "generator.fine": "a U-Net's",
    "simulation.phantoms": "needs simulation",
    "simulation.phantom_share": "needs simulation",
    "training.epochs": "counts",
    "training.steps": "counts", "training.device": "where", "training.devices": "where", "training.nodes": "where",
    "training.checkpoint_activations": "how", "training.workers": "how", "training.log_every": "shows",
    "training.loggers": "shows", "training.validate_every": "shows", "training.validation_cases": "shows",
    "training.model": "which", "training.patience": "when", "training.checkpoint_every": "keeps",
    "training.keep_checkpoints": "keeps",
}  # fmt: skip
"""Settings with tests of their own: they change what is kept or shown, or need another cohort."""


def test_no_training_setting_is_forgotten():
    sections = ("generator", "discriminator", "adversarial", "creps", "cycle", "nce", "supervised")
    sections += ("simulation", "sampling", "training")
    assert {
        f"{s}.{name}" for s, name, _ in leaf_fields() if s in sections
    } == TRAINING_CHANGES.keys() | ELSEWHERE.keys()


@pytest.mark.parametrize(("name", "value"), TRAINING_CHANGES.items())
def test_every_training_setting_changes_the_model(cohort, tmp_path, plain_weights, name, value):
    base = "perceptual" if name.startswith("creps.") else "plain"
    extra = {"creps.layers": None} if name == "creps.backbone" else {}
    train(cohort, tmp_path / "run", load_settings(overrides=BASES[base] | FEW | {name: value} | extra))
    changed, plain = load_tensors(tmp_path / "run" / "model" / "generator.safetensors"), plain_weights[base]
    same = plain.keys() == changed.keys() and all(torch.equal(v, changed[k]) for k, v in plain.items())
    assert not same


BASES = {"plain": TINY, "perceptual": TINY_PAPER}

FEW = {"training.steps": 2, "creps.balance": "never", "discriminator.widths": [4, 4, 4]}


@pytest.fixture(scope="module")
def plain_weights(cohort, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    for name, base in BASES.items():
        train(cohort, folder / name, load_settings(overrides=base | FEW))
    return {name: load_tensors(folder / name / "model" / "generator.safetensors") for name in BASES}


def test_a_run_that_never_got_anywhere_can_be_started_again(cohort, tmp_path):
    (tmp_path / "run" / ".writing-x").mkdir(parents=True)
    train(cohort, tmp_path / "run", settings(**{"training.steps": 1}))
    for folder in ("checkpoints", "model", "best", "last"):
        shutil.rmtree(tmp_path / "run" / folder)
    train(cohort, tmp_path / "run", settings(**{"training.steps": 1}))
    assert (tmp_path / "run" / "model" / "plan.json").is_file()


def test_other_perceptual_weights_are_not_resumed_on(cohort, tmp_path):
    for seed in (0, 1):
        torch.manual_seed(seed)
        torch.save(models.convnext_tiny().state_dict(), tmp_path / "w.pth")
        chosen = paper(**{"creps.weights": str(tmp_path / "w.pth"), "training.steps": 1 + seed})
        if seed == 0:
            train(cohort, tmp_path / "run", chosen)
    with pytest.raises(ModelError, match="not those of this run"):
        train(cohort, tmp_path / "run", chosen, resume=True)
