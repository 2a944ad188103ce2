"""The networks of a run: two groups with names, each with an optimizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from creps.losses.balance import MagnitudeBalance
from creps.networks.generator import Generator
from creps.networks.projector import Projector

__all__ = ["Networks", "average_into"]


@dataclass
class Networks:
    """Everything that a training step changes.

    Attributes:
        generators: ``generator`` (MR → sCT) and, where the recipe has them, ``inverse_generator`` (CT → MR) and
            ``projector`` (heads of PatchNCE).
        discriminators: ``discriminator`` (CT or sCT → logits) and ``mr_discriminator``; empty without an adversarial
            term.
        generator_optimizer: AdamW or Muon over the generators.
        discriminator_optimizer: AdamW over the discriminators, if there are any.
        balance: Weight of the style term.
        averaged: Exponential moving average of the generator, if there is one.
    """

    generators: nn.ModuleDict
    discriminators: nn.ModuleDict
    generator_optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer | None
    balance: MagnitudeBalance
    averaged: nn.Module | None = None

    @property
    def generator(self) -> Generator:
        """MR → sCT."""
        return cast(Generator, self.generators["generator"])

    @property
    def inverse_generator(self) -> Generator:
        """CT → MR, for recipes with a cycle."""
        return cast(Generator, self.generators["inverse_generator"])

    @property
    def projector(self) -> Projector:
        """Heads on the generator's features, for recipes with PatchNCE."""
        return cast(Projector, self.generators["projector"])

    @property
    def discriminator(self) -> nn.Module:
        """CT or sCT → logits, for recipes with an adversarial term."""
        return self.discriminators["discriminator"]

    def named(self) -> dict[str, nn.Module]:
        """Every trained network by its name."""
        return dict(self.generators.items()) | dict(self.discriminators.items())


@torch.no_grad()
def average_into(averaged: nn.Module, generator: nn.Module, decay: float, step: int) -> None:
    """Update an exponential moving average of the generator, buffers included.

    The decay is at most (1 + step) / (10 + step), so that the initial weights fade early.

    Args:
        averaged: A copy of the generator that holds the average.
        generator: The generator after its update.
        decay: Share of the average that remains, in [0, 1).
        step: Steps done so far, this one included.
    """
    keep = min(decay, (1 + step) / (10 + step))
    ours, theirs = averaged.state_dict(), generator.state_dict()
    for name, value in theirs.items():
        if value.is_floating_point():
            ours[name].lerp_(value, 1 - keep)
        else:
            ours[name].copy_(value)
