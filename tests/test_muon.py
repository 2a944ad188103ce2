"""The optimizer `muon`: orthogonal updates of hidden weights, AdamW for the others."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from creps.networks.unet import UNetGenerator
from creps.settings import load_settings
from creps.training.build import build_networks
from creps.training.muon import MOMENTUM, SIZE, Muon, orthogonalized
from creps.training.networks import Networks
from creps.training.processes import start_processes
from creps.training.state import restore, snapshot


@given(st.integers(2, 40), st.integers(2, 200), st.integers(0, 9))
def test_singular_values_end_near_one(rows: int, columns: int, seed: int) -> None:
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    before = torch.linalg.svdvals(matrix)
    found = torch.linalg.svdvals(orthogonalized(matrix.float()).double())
    assert found.max() < 1.25
    assert found[before > 0.05 * before.norm()].min() > 0.5


def test_directions_stay_and_only_sizes_change() -> None:
    matrix = torch.randn(6, 30, generator=torch.Generator().manual_seed(1))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    product = left.T @ orthogonalized(matrix) @ right.T
    off_diagonal = product - torch.diag(product.diagonal())
    assert off_diagonal.abs().max() < 1e-4
    assert product.diagonal().min() > 0.5


def test_update_does_not_depend_on_the_size_of_the_gradient() -> None:
    moved = []
    for size in (1e-3, 1e3):
        weight = nn.Parameter(torch.zeros(8, 4, 3, 3, 3))
        weight.grad = size * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
        Muon([weight], [], lr=0.01, weight_decay=0).step()
        moved.append(weight.detach())
    torch.testing.assert_close(*moved, rtol=1e-3, atol=1e-6)
    assert moved[0].square().mean().sqrt().item() == pytest.approx(0.01 * SIZE, rel=0.3)


def test_momentum_is_nesterovs() -> None:
    weight = nn.Parameter(torch.zeros(2, 2))
    optimizer = Muon([weight], [], lr=1.0, weight_decay=0)
    first, second = torch.tensor([[1.0, 0], [0, 0.5]]), torch.tensor([[0.0, 1], [1, 0]])
    weight.grad = first
    optimizer.step()
    before = weight.detach().clone()
    weight.grad = second
    optimizer.step()
    average = MOMENTUM * (1 - MOMENTUM) * first + (1 - MOMENTUM) * second
    expected = orthogonalized(second.lerp(average, MOMENTUM))
    torch.testing.assert_close(before - weight.detach(), SIZE * 2**0.5 * expected)


def test_weights_decay_without_a_gradient_direction() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    weight.grad = torch.zeros(2, 2)
    Muon([weight], [], lr=0.1, weight_decay=0.5).step()
    torch.testing.assert_close(weight.detach(), torch.full((2, 2), 0.95))


def test_others_move_as_with_adamw() -> None:
    ours, theirs = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    hidden = nn.Parameter(torch.ones(2, 2))
    muon = Muon([hidden], [ours], lr=0.1, weight_decay=0.01)
    adamw = torch.optim.AdamW([theirs], lr=0.1, weight_decay=0.01)
    for step in range(3):
        for parameter in (ours, theirs, hidden):
            parameter.grad = torch.full_like(parameter, step - 0.5)
        muon.step()
        adamw.step()
    torch.testing.assert_close(ours, theirs)


def test_a_resumed_optimizer_goes_on_as_if_it_had_never_stopped() -> None:
    def run(stop_after: int | None) -> torch.Tensor:
        weight, bias = nn.Parameter(torch.eye(3)), nn.Parameter(torch.zeros(3))
        optimizer = Muon([weight], [bias], lr=0.1)
        for step in range(4):
            if step == stop_after:
                state = optimizer.state_dict()
                optimizer = Muon([weight], [bias], lr=0.1)
                optimizer.load_state_dict(state)
            weight.grad = torch.randn(3, 3, generator=torch.Generator().manual_seed(step))
            bias.grad = weight.grad[0].clone()
            optimizer.step()
        return torch.cat([weight.detach(), bias.detach()[None]])

    torch.testing.assert_close(run(2), run(None), rtol=0, atol=0)


def test_a_unet_keeps_its_first_and_last_layers_with_adamw() -> None:
    generator = UNetGenerator(width=8, levels=2)
    names = {id(parameter): name for name, parameter in generator.named_parameters()}
    hidden = {names[id(parameter)] for parameter in generator.hidden_weights()}
    assert {name.split(".")[0] for name in hidden} == {"encoder", "down", "up", "decoder"}
    assert all(parameter.ndim == 5 for parameter in generator.hidden_weights())


def test_a_checkpoint_of_muon_goes_on_as_if_the_run_had_never_stopped() -> None:
    """Muon orders its parameters otherwise than the networks do."""
    changes = {"recipe": "anatomy", "generator.width": 4, "generator.levels": 2, "generator.fine": 4}
    settings = load_settings(overrides=changes | {"sampling.patch_size": [16, 16, 16], "training.device": "cpu"})
    processes = start_processes(settings.training)

    def step(networks: Networks, number: int) -> None:
        for parameter in networks.generators.parameters():
            noise = torch.Generator().manual_seed(number)
            parameter.grad = torch.randn(parameter.shape, generator=noise)
        networks.generator_optimizer.step()

    ours, theirs = build_networks(processes, settings, None), build_networks(processes, settings, None)
    assert isinstance(ours.generator_optimizer, Muon)
    for number in range(2):
        step(ours, number)
    restore(theirs, snapshot(ours))
    step(ours, 2)
    step(theirs, 2)
    for one, other in zip(ours.generators.parameters(), theirs.generators.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
