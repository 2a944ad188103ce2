"""What a training step costs, counted rather than timed: passes, calls, modules, waits for the device."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from creps.losses import creps as creps_loss
from creps.losses.creps import CrepsLoss
from creps.networks.backbone import Backbone
from creps.settings import load_settings
from creps.training.build import build_networks, build_style
from creps.training.memory import _kept
from creps.training.processes import start_processes
from creps.training.step import TrainingStep
from tests.conftest import TINY_PAPER

RECIPES = {
    "paper": {"creps.balance": "never"},
    "paper, bf16": {"creps.balance": "never", "training.precision": "bf16"},
    "two parts": {"creps.balance": "never", "training.accumulate": 2},
    "content and R1": {"creps.balance": "never", "creps.content_weight": 1.0, "adversarial.gradient_penalty": 1.0},
    "cyclegan": {"recipe": "cyclegan"},
    "cut": {"recipe": "cut"},
    "anatomy": {"recipe": "anatomy"},
}


def prepared(**changes):
    chosen = load_settings(overrides=TINY_PAPER | changes)
    processes, style = start_processes(chosen.training), build_style(chosen)
    step = TrainingStep(processes, build_networks(processes, chosen, style), style, chosen)
    torch.manual_seed(0)
    patches = [torch.rand(2, 1, 24, 24, 24) for _ in range(3)]
    return step, lambda: step(patches[0], patches[1], 1, (patches[2], patches[1]))


def counted(module):
    """Sizes of what goes through a module, with and without a graph."""
    calls = {True: [], False: []}
    module.register_forward_pre_hook(lambda _, inputs: calls[torch.is_grad_enabled()].append(len(inputs[0])))
    return calls


def on_the_cpu(networks):
    """Tensors that stay on the CPU whatever the device: the style term's weight, AdamW's numbers of steps."""
    optimizers = [o for o in (networks.generator_optimizer, networks.discriminator_optimizer) if o is not None]
    steps = [state["step"] for optimizer in optimizers for state in optimizer.state.values()]
    return [*networks.balance.buffers(), *steps]


class NoWaits(TorchDispatchMode):
    """Fails where a value of the device is asked for: the host would wait until everything before is done."""

    def __init__(self, allowed=()):
        super().__init__()
        self.allowed = {tensor.data_ptr() for tensor in allowed}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        waits = {
            torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default,
            torch.ops.aten.equal.default, torch.ops.aten.masked_select.default,
        }  # fmt: skip
        if func in waits and args[0].data_ptr() not in self.allowed:
            raise AssertionError(f"{func} in a step")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("changes", RECIPES.values(), ids=RECIPES.keys())
def test_a_step_never_waits_for_the_device(changes):
    step, run = prepared(**changes)
    run()  # the optimizers have their state now
    with NoWaits(on_the_cpu(step.networks)):
        run()


def test_waits_are_noticed():
    step, run = prepared(**{"creps.balance": "always"})
    assert not step.networks.balance.frozen
    with pytest.raises(AssertionError, match="_local_scalar_dense"), NoWaits(on_the_cpu(step.networks)):
        run()


@pytest.mark.parametrize(("recipe", "with_graph", "without"), [("paper", 1, 0), ("anatomy", 1, 1)])
def test_the_generator_runs_once_for_both_updates(recipe, with_graph, without):
    """Of an anatomy step, the MR's own pass moves batch norm's statistics only: it keeps no graph."""
    step, run = prepared(recipe=recipe, **{"creps.balance": "never"})
    calls = counted(step.networks.generator)
    run()
    assert calls == {True: [2] * with_graph, False: [2] * without}


@pytest.mark.parametrize("changes", [{}, {"creps.content_weight": 1.0}])
def test_every_slice_goes_through_the_perceptual_network_once(changes):
    step, run = prepared(**{"creps.balance": "never", "creps.slice_step": 1} | changes)
    calls = counted(step.style.backbone.network)
    run()
    assert calls == {True: [48], False: [48]}  # 24 of each patch: of the sCT with, of the CT without a graph


def test_slices_go_in_as_few_calls_as_the_size_allows(monkeypatch):
    monkeypatch.setattr(creps_loss, "CPU_PIXELS", 20 * 24**2)
    step, run = prepared(**{"creps.balance": "never", "creps.slice_step": 1})
    calls = counted(step.style.backbone.network)
    run()
    assert calls == {True: [16, 16, 16], False: [16, 16, 16]}
    assert step.style.slices_at_once(224, 224, torch.device("cuda")) == 64


def test_slices_in_turn_give_the_values_and_gradients_of_all_at_once(monkeypatch):
    loss = CrepsLoss(Backbone("convnext_tiny", "random", ["features.1.0.block.5"], image_size=None))
    generator = torch.Generator().manual_seed(0)
    sct, ct = (torch.rand(2, 1, 5, 24, 20, generator=generator) * 4 - 1 for _ in range(2))
    found = {}
    for slices in (10, 3, 1):
        monkeypatch.setattr(creps_loss, "CPU_PIXELS", slices * 24 * 20)
        image = sct.clone().requires_grad_()
        style, content = loss(image, ct)
        (20 * style + 3 * content).backward()
        with torch.no_grad():
            again = loss(image, ct)
        assert torch.equal(torch.stack(again), torch.stack([style, content]).detach())
        found[slices] = style.detach(), content.detach(), image.grad
    plain = sct.clone().requires_grad_()
    terms = loss._compare(loss._slices(plain), loss._slices(ct))
    (20 * terms[0] + 3 * terms[1]).backward()
    for style, content, gradient in found.values():
        torch.testing.assert_close(style, terms[0].detach())
        torch.testing.assert_close(content, terms[1].detach())
        torch.testing.assert_close(gradient, plain.grad, rtol=1e-4, atol=1e-6 * float(plain.grad.abs().max()))


def test_without_content_nothing_of_it_is_computed():
    step, run = prepared(**{"creps.balance": "never"})
    assert not step.style.content
    assert "content" not in run().terms


def test_the_loss_keeps_an_image_and_no_activations():
    """The gradient comes with the value: nothing of the network waits for the backward pass."""
    loss = CrepsLoss(Backbone("convnext_tiny", "random", ["features.1.0.block.5"], image_size=None))
    sct, ct = torch.rand(1, 1, 4, 24, 24, requires_grad=True), torch.rand(1, 1, 4, 24, 24)
    value = loss(sct, ct)[0]
    (saved,) = value.grad_fn.saved_tensors
    assert saved.numel() == sct.numel()
    all_at_once = _kept(lambda: loss._compare(loss._slices(sct), loss._slices(ct)))
    assert saved.numel() * 4 < all_at_once / 50


def test_the_perceptual_network_ends_at_the_last_layer_used():
    network = Backbone("convnext_tiny", "random").network
    kinds = [sum(isinstance(m, kind) for m in network.modules()) for kind in (nn.Conv2d, nn.Linear)]
    assert kinds == [4 + 16, 2 * 16]  # 4 that make the image smaller, 3 + 3 + 9 blocks and half of one
    early = Backbone("convnext_tiny", "random", ["features.1.0.block.5"]).network
    assert sum(isinstance(m, nn.Conv2d) for m in early.modules()) == 2


def test_networks_and_slices_are_channels_last():
    step, run = prepared(**{"creps.balance": "never"})
    for network in step.networks.named().values():
        kernels = [p for p in network.parameters() if p.dim() == 5 and 1 not in p.shape[:2] and p.shape[2:].numel() > 1]
        assert kernels
        assert all(p.is_contiguous(memory_format=torch.channels_last_3d) for p in kernels)
    seen = []
    step.style.backbone.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    run()
    assert all(images.is_contiguous(memory_format=torch.channels_last) for images in seen)
