"""One training step: one update of the discriminator, one of the generator (Hémon et al. 2023, eq. 5)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from lightning.fabric import Fabric
from torch import nn

from creps.losses.adversarial import gradient_penalty, real_or_fake
from creps.losses.balance import MagnitudeBalance
from creps.losses.creps import CrepsLoss
from creps.losses.prior import anchor_distance, edge_aware_smoothness
from creps.settings import Settings

__all__ = ["TERMS", "Networks", "StepReport", "TrainingStep", "average_into", "unwrapped"]


TERMS = ("d_real", "d_fake", "r1", "adversarial", "style", "content", "anchor", "smoothness")
"""Every loss term that a step may report."""


@dataclass
class Networks:
    """What is trained, what it is trained with, and what comes of it.

    Attributes:
        generator: MR → sCT.
        discriminator: CT or sCT → logits.
        generator_optimizer: AdamW over the generator.
        discriminator_optimizer: AdamW over the discriminator.
        balance: Weight of the style term.
        averaged: Moving average of the generator, if there is one.
    """

    generator: nn.Module
    discriminator: nn.Module
    generator_optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer
    balance: MagnitudeBalance
    averaged: nn.Module | None = None


@dataclass
class StepReport:
    """What a step did.

    Attributes:
        terms: Unweighted loss terms by name.
        weights: The weight each had in its network's loss.
    """

    terms: dict[str, torch.Tensor] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, value: torch.Tensor, weight: float) -> torch.Tensor:
        """Note a term and return it weighted."""
        self.terms[name] = value.detach()
        self.weights[name] = weight
        return weight * value


class TrainingStep:
    """Updates both networks from one batch of unpaired patches.

    The sCT is computed once: detached for the discriminator, then with its graph for the generator.

    Args:
        fabric: Runs the backward passes.
        networks: What to update, set up by `fabric`.
        style: The CREPs loss, or None if its weight is 0.
        settings: The whole tree.
    """

    def __init__(self, fabric: Fabric, networks: Networks, style: CrepsLoss | None, settings: Settings) -> None:
        self.fabric, self.networks, self.style, self.settings = fabric, networks, style, settings

    def __call__(self, mr: torch.Tensor, ct: torch.Tensor, guess: torch.Tensor | None = None) -> StepReport:
        """One update of each network.

        Args:
            mr: (B, 1, D, H, W) MR patches in network units.
            ct: (B, 1, D, H, W) CT patches of other patients.
            guess: (B, 1, D, H, W) CT guesses for the MR patches, if `prior.weight` is not 0.
        """
        report = StepReport()
        with self._autocast():
            sct = self.networks.generator(mr)
        sct = sct.float()
        self._update_discriminator(mr, ct, sct.detach(), report)
        self._update_generator(mr, ct, sct, guess, report)
        return report

    def warm_up(self, mr: torch.Tensor, guess: torch.Tensor) -> StepReport:
        """One update of the generator alone, towards the crude guess.

        Args:
            mr: (B, 1, D, H, W) MR patches in network units.
            guess: (B, 1, D, H, W) CT guesses for them.
        """
        report = StepReport()
        self.networks.generator_optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            sct = self.networks.generator(mr)
        self.fabric.backward(report.add("anchor", anchor_distance(sct, guess), 1.0))
        self.networks.generator_optimizer.step()
        return report

    def _update_discriminator(self, mr: torch.Tensor, ct: torch.Tensor, sct: torch.Tensor, report: StepReport) -> None:
        """BCE(D(CT), 1) + BCE(D(sCT), 0), no ½, and the gradient penalty if there is one."""
        settings, networks = self.settings.adversarial, self.networks
        networks.discriminator_optimizer.zero_grad(set_to_none=True)
        penalty = settings.gradient_penalty > 0
        if penalty:
            ct = ct.detach().requires_grad_()
        real = self._judge(ct, mr, exact=penalty)  # the penalty differentiates twice: float32
        fake = self._judge(sct, mr)
        loss = report.add("d_real", real_or_fake(real, True, settings.loss), 1.0)
        loss = loss + report.add("d_fake", real_or_fake(fake, False, settings.loss), 1.0)
        if penalty:
            loss = loss + report.add("r1", gradient_penalty(real, ct), settings.gradient_penalty)
        self.fabric.backward(loss)
        networks.discriminator_optimizer.step()

    def _update_generator(
        self, mr: torch.Tensor, ct: torch.Tensor, sct: torch.Tensor, guess: torch.Tensor | None, report: StepReport
    ) -> None:
        """BCE(D(sCT), 1) + 20 · style (eqs. 4-5)."""
        settings, networks = self.settings, self.networks
        networks.generator_optimizer.zero_grad(set_to_none=True)
        networks.discriminator.requires_grad_(False)
        logits = self._judge(sct, mr)
        adversarial = real_or_fake(logits, True, settings.adversarial.loss)
        loss = report.add("adversarial", adversarial, settings.adversarial.weight)
        if self.style is not None:
            with self._autocast():
                style, content = self.style(sct, ct)
            networks.balance.update(*self._averaged_over_ranks(style, adversarial))
            loss = loss + report.add("style", style, float(networks.balance.weight))
            if settings.creps.content_weight > 0:
                loss = loss + report.add("content", content, settings.creps.content_weight)
        if settings.prior.weight > 0 and guess is not None:
            loss = loss + report.add("anchor", anchor_distance(sct, guess), settings.prior.weight)
        if settings.prior.smoothness > 0:
            loss = loss + report.add("smoothness", edge_aware_smoothness(sct, mr), settings.prior.smoothness)
        self.fabric.backward(loss)
        networks.discriminator.requires_grad_(True)
        networks.generator_optimizer.step()

    def _judge(self, image: torch.Tensor, mr: torch.Tensor, exact: bool = False) -> torch.Tensor:
        """Logits of the discriminator.

        On the CPU in float32: there, the bfloat16 weight gradient of a 3-D convolution whose kernel is
        deeper than its input (the last one, for patches 32 deep) reads memory that nobody wrote
        (torch 2.14, seen as NaN), and the discriminator is a small share of a step.
        """
        shown = (image, mr) if self.settings.discriminator.conditional else (image,)
        with (
            torch.autocast(image.device.type, enabled=False)
            if exact or image.device.type == "cpu"
            else self._autocast()
        ):
            logits: torch.Tensor = self.networks.discriminator(*shown)
        return logits

    def _averaged_over_ranks(self, *values: torch.Tensor) -> list[torch.Tensor]:
        if self.fabric.world_size == 1:
            return list(values)
        return [self.fabric.all_reduce(value.detach(), reduce_op="mean") for value in values]  # type: ignore[misc]

    def _autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(
            self.fabric.device.type, torch.bfloat16, enabled=self.settings.training.precision == "bf16"
        )


def unwrapped(module: nn.Module) -> nn.Module:
    """The network itself, without the engine's wrapper around its forward."""
    return getattr(module, "module", module)


@torch.no_grad()
def average_into(averaged: nn.Module, generator: nn.Module, decay: float, step: int) -> None:
    """Move a running average towards the generator, buffers included.

    Early on the decay is held back to (1 + step) / (10 + step), so that the initial weights fade.

    Args:
        averaged: A copy of the generator that holds the average.
        generator: The generator after its update.
        decay: Share of the average that stays.
        step: Steps done so far.
    """
    keep = min(decay, (1 + step) / (10 + step))
    ours, theirs = averaged.state_dict(), unwrapped(generator).state_dict()
    for name, value in theirs.items():
        if value.is_floating_point():
            ours[name].lerp_(value, 1 - keep)
        else:
            ours[name].copy_(value)
