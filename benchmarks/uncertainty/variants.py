"""Models that differ from the shipped ones: weights that were disturbed or coarsened. Nothing is trained here."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch

from creps import load
from creps.api.model import Model

__all__ = ["VARIANTS", "variant"]

SEED = 31


def _noisy(share: float) -> Callable[[torch.Tensor, torch.Generator], torch.Tensor]:
    """Add noise of this share of each kernel's standard deviation."""

    def change(kernel: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        return kernel + share * kernel.std() * torch.randn(kernel.shape, generator=rng)

    return change


def _coarse(bits: int) -> Callable[[torch.Tensor, torch.Generator], torch.Tensor]:
    """Round each kernel to 2^bits - 1 steps up to its largest value."""

    def change(kernel: torch.Tensor, _: torch.Generator) -> torch.Tensor:
        step = kernel.abs().max() / (2 ** (bits - 1) - 1)
        return torch.round(kernel / step) * step

    return change


def _pruned(share: float) -> Callable[[torch.Tensor, torch.Generator], torch.Tensor]:
    """Set this share of each kernel's values, the smallest, to 0."""

    def change(kernel: torch.Tensor, _: torch.Generator) -> torch.Tensor:
        limit = torch.quantile(kernel.abs().flatten()[:1_000_000], share)
        return torch.where(kernel.abs() < limit, 0.0, kernel)

    return change


VARIANTS: dict[str, Callable[[torch.Tensor, torch.Generator], torch.Tensor] | None] = {
    "shipped": None,
    "noise 10 %": _noisy(0.10),
    "noise 20 %": _noisy(0.20),
    "4 bits": _coarse(4),
    "pruned 50 %": _pruned(0.5),
}
"""Name → what is done to every kernel; the first is the shipped model as it is."""


def variant(region: str, name: str) -> Model:
    """A shipped model with changed kernels; it keeps the calibration, which was measured with the shipped weights."""
    model, change = load(region), VARIANTS[name]
    if change is None:
        return model
    generator, rng = copy.deepcopy(model.generator), torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for parameter in generator.parameters():
            if parameter.ndim > 1:
                parameter.copy_(change(parameter, rng))
    return Model(model.plan, generator.eval(), model.calibration)
