"""Parts of a batch, activations computed again, memory: other ways to the same gradients."""

import math

import pytest
import torch

from creps.errors import SettingsError, TrainingError
from creps.networks.residual import ResidualGenerator
from creps.settings import load_settings
from creps.training.build import build_networks, build_style
from creps.training.distribution import BatchShare
from creps.training.memory import _kept, estimate_memory, settings_that_fit
from creps.training.processes import start_processes
from creps.training.run.train import train
from creps.training.step import TrainingStep
from tests.conftest import TINY_PAPER

WITHOUT_BATCH_NORM = {
    "generator.norm": "instance", "discriminator.norm": "none", "training.batch_size": 4,
    "adversarial.gradient_penalty": 0.5, "creps.balance": "always",
}  # fmt: skip


def settings(**changes):
    return load_settings(overrides=TINY_PAPER | changes)


def stepped(chosen, steps=2):
    processes = start_processes(chosen.training)
    style = build_style(chosen)
    networks = build_networks(processes, chosen, style)
    step = TrainingStep(processes, networks, style, chosen)
    torch.manual_seed(0)
    reports = [
        step(torch.rand(4, 1, 24, 24, 24) * 2, torch.rand(4, 1, 24, 24, 24) * 4 - 1, n + 1) for n in range(steps)
    ]
    return networks, reports


def gradients(networks):
    """AdamW's first moment: the gradients, as the optimizers saw them."""
    for name in ("generator", "discriminator"):
        optimizer = getattr(networks, f"{name}_optimizer")
        for key, parameter in getattr(networks, name).named_parameters():
            yield f"{name}.{key}", optimizer.state[parameter]["exp_avg"]


def assert_same_gradients(a, b, tolerance=1e-3):
    for (name, ours), (_, theirs) in zip(gradients(a), gradients(b), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance * float(ours.abs().max()), msg=name)


@pytest.mark.parametrize("parts", [2, 4])
def test_parts_add_up_to_the_whole_batch(parts):
    """Gradients of the first step, to rounding: AdamW turns the rounding of a gradient near 0 into a whole update."""
    changes = {"training.accumulate": parts}
    whole, _ = stepped(settings(**WITHOUT_BATCH_NORM), steps=1)
    split, _ = stepped(settings(**WITHOUT_BATCH_NORM, **changes), steps=1)
    assert_same_gradients(whole, split, 1e-4)
    whole, reports = stepped(settings(**WITHOUT_BATCH_NORM))
    split, part_reports = stepped(settings(**WITHOUT_BATCH_NORM, **changes))
    for ours, theirs in zip(reports, part_reports, strict=True):
        assert ours.weights == pytest.approx(theirs.weights, rel=1e-3)
        for name, value in ours.terms.items():
            torch.testing.assert_close(value, theirs.terms[name], rtol=1e-3, atol=1e-6)


def test_parts_leave_the_running_statistics_of_one_pass():
    """Each part goes through the generator twice; batch norm must count it once."""
    networks, _ = stepped(settings(**{"training.batch_size": 4, "training.accumulate": 2}), steps=1)
    generator = networks.generator
    by_hand = ResidualGenerator(4, 1)
    torch.manual_seed(settings().training.seed)
    by_hand = build_networks(start_processes(settings().training), settings(), None).generator
    torch.manual_seed(0)
    mr = torch.rand(4, 1, 24, 24, 24) * 2
    for part in mr.chunk(2):
        by_hand(part)
    torch.testing.assert_close(generator.stem[1].running_mean, by_hand.stem[1].running_mean)
    torch.testing.assert_close(generator.stem[1].running_var, by_hand.stem[1].running_var)


def test_computing_activations_again_changes_nothing():
    changes = {"training.batch_size": 4, "creps.content_weight": 1.0}
    kept, reports = stepped(settings(**changes))
    again, again_reports = stepped(settings(**changes, **{"training.checkpoint_activations": True}))
    assert_same_gradients(kept, again)
    for (name, ours), theirs in zip(
        kept.generator.named_buffers(), dict(again.generator.named_buffers()).values(), strict=True
    ):
        if "running" in name:
            torch.testing.assert_close(ours, theirs, msg=name)
    torch.testing.assert_close(reports[-1].terms["style"], again_reports[-1].terms["style"], rtol=1e-3, atol=0)


def test_computing_again_keeps_less():
    whole, saving = ResidualGenerator(8), ResidualGenerator(8)
    saving.checkpoint_activations = True
    mr = torch.rand(1, 1, 32, 32, 32)
    assert _kept(lambda: saving(mr)) < 0.2 * _kept(lambda: whole(mr))


@pytest.mark.parametrize("changes", [{}, {"training.checkpoint_activations": True}, {"training.accumulate": 2}])
def test_the_estimate_is_what_autograd_keeps(changes):
    chosen = settings(**{"generator.width": 8, "sampling.patch_size": [32, 48, 40], "training.batch_size": 2} | changes)
    estimate = estimate_memory(chosen, build_style(chosen))
    patches = torch.rand(2 // chosen.training.accumulate, 1, 32, 48, 40)
    generator = ResidualGenerator(8, 1)
    if not chosen.training.checkpoint_activations:
        assert estimate.generator == pytest.approx(_kept(lambda: generator(patches)), rel=0.1)
    else:
        stages = generator.stages(patches.shape[2:])
        x, most = patches, 0
        for stage in stages:
            x = x.detach().requires_grad_()
            most = max(most, _kept(lambda stage=stage, x=x: stage(x)))
            x = stage(x)
        assert most < estimate.generator < 3 * most
    assert estimate.total > estimate.generator + estimate.style


def test_the_estimate_grows_with_the_patch_and_falls_with_parts():
    def total(**changes):
        chosen = settings(**{"training.batch_size": 4} | changes)
        return estimate_memory(chosen, build_style(chosen))

    small, large = total(), total(**{"sampling.patch_size": [48, 24, 24]})
    assert large.generator == pytest.approx(2 * small.generator)
    assert total(**{"training.accumulate": 4}).generator == pytest.approx(small.generator / 4)
    assert total(**{"training.checkpoint_activations": True}).total < small.total
    without = estimate_memory(settings(**{"creps.weight": 0}), None)
    assert without.style == 0
    assert math.isclose(without.adversarial, small.discriminator / 4, rel_tol=1e-6)


def test_the_remedy_names_what_fits():
    chosen = settings(**{"training.batch_size": 4})
    style = build_style(chosen)
    total = estimate_memory(chosen, style).total
    assert settings_that_fit(chosen, style, 0.9 * total) == "Set training.accumulate: 2."
    smallest = estimate_memory(settings(**{"training.batch_size": 4, "training.accumulate": 4}), style).total
    assert "checkpoint_activations: true" in settings_that_fit(chosen, style, 0.95 * smallest)
    assert "smaller sampling.patch_size" in settings_that_fit(chosen, style, 1)


def test_running_out_of_memory_names_the_setting(cohort, tmp_path, monkeypatch):
    def fails(self, *arguments):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(TrainingStep, "__call__", fails)
    with pytest.raises(TrainingError, match=r"Out of memory on cpu at step 1: .*GB.*Set training\.accumulate: 2"):
        train(cohort, tmp_path / "run", settings())


def test_other_runtime_errors_are_not_called_memory(cohort, tmp_path, monkeypatch):
    def fails(self, *arguments):
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(TrainingStep, "__call__", fails)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        train(cohort, tmp_path / "run", settings())


def test_a_batch_that_cannot_be_shared_out_is_refused():
    with pytest.raises(SettingsError, match=r"training\.batch_size 3 cannot be split evenly"):
        start_processes(settings(**{"training.batch_size": 3, "training.accumulate": 2}).training)
    with pytest.raises(SettingsError, match=r"creps\.gram: batch needs the whole batch"):
        build_style(settings(**{"creps.gram": "batch", "training.accumulate": 2}))


def test_shares_of_a_batch_are_disjoint_and_complete():
    whole = list(BatchShare(6, 2, 5))
    shares = [list(BatchShare(6, 2, 5, rank, 3)) for rank in range(3)]
    assert whole == list(range(12, 30))
    assert all(len(share) == len(BatchShare(6, 2, 5, 0, 3)) == 6 for share in shares)
    assert sorted(k for share in shares for k in share) == whole
    assert [share[:2] for share in shares] == [[12, 13], [14, 15], [16, 17]]  # step by step, in the batch's order


def test_a_long_gradient_is_shortened():
    networks, _ = stepped(settings(**WITHOUT_BATCH_NORM, **{"training.clip_norm": 1e-4}), steps=1)
    norm = torch.stack([p.grad.norm() for p in networks.generators.parameters()]).norm()
    assert float(norm) == pytest.approx(1e-4, rel=1e-3)
