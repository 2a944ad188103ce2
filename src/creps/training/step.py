"""One training step: one update of the discriminator, one of the generator (Hémon et al. 2023, eq. 5)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from lightning.fabric import Fabric
from torch import nn

from creps.losses.adversarial import gradient_penalty, real_or_fake
from creps.losses.balance import MagnitudeBalance
from creps.losses.creps import CrepsLoss
from creps.losses.prior import anchor_distance, edge_aware_smoothness
from creps.networks.blocks import frozen_statistics
from creps.settings import Settings
from creps.training.distribution import average_gradients, mean_over_processes

__all__ = ["TERMS", "Networks", "Part", "StepReport", "TrainingStep", "average_into"]


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

    def add(self, name: str, value: torch.Tensor, weight: float, parts: int = 1) -> torch.Tensor:
        """Note a term (of one of several equal parts of a batch) and return it weighted."""
        self.terms[name] = self.terms.get(name, 0) + value.detach() / parts
        self.weights[name] = weight
        return weight * value


class Part(NamedTuple):
    """A part of a batch: MR, CT and, where there are any, CT guesses, each (B, 1, D, H, W)."""

    mr: torch.Tensor
    ct: torch.Tensor
    guess: torch.Tensor


class TrainingStep:
    """Updates both networks from one batch of unpaired patches.

    With one part the sCT is computed once: detached for the discriminator, then with its graph for the
    generator. With `training.accumulate` parts it is computed for each part twice, so that only one
    part's graph is alive at a time; gradients add up to those of the mean over the batch.

    Args:
        fabric: The engine: device and processes.
        networks: What to update.
        style: The CREPs loss, or None if its weight is 0.
        settings: The whole tree.
    """

    def __init__(self, fabric: Fabric, networks: Networks, style: CrepsLoss | None, settings: Settings) -> None:
        self.fabric, self.networks, self.style, self.settings = fabric, networks, style, settings

    def __call__(self, mr: torch.Tensor, ct: torch.Tensor, guess: torch.Tensor | None = None) -> StepReport:
        """One update of each network.

        Args:
            mr: (B, 1, D, H, W) MR patches in network units: this process's share of the batch.
            ct: (B, 1, D, H, W) CT patches of other patients.
            guess: (B, 1, D, H, W) CT guesses for the MR patches, if `prior.weight` is not 0.
        """
        report = StepReport()
        parts = self._parts(mr, ct, guess)
        if len(parts) == 1:
            scts = [self._synthesize(mr)]
        else:
            with torch.no_grad(), frozen_statistics(self.networks.generator):
                scts = [self._synthesize(part.mr) for part in parts]
        self._update_discriminator(parts, [sct.detach() for sct in scts], report)
        self._balance_style(parts, [sct.detach() for sct in scts])
        self._update_generator(parts, scts if len(parts) == 1 else None, report)
        return report

    def warm_up(self, mr: torch.Tensor, guess: torch.Tensor) -> StepReport:
        """One update of the generator alone, towards the crude guess.

        Args:
            mr: (B, 1, D, H, W) MR patches in network units.
            guess: (B, 1, D, H, W) CT guesses for them.
        """
        report = StepReport()
        self.networks.generator_optimizer.zero_grad(set_to_none=True)
        parts = self._parts(mr, mr, guess)
        for part in parts:
            distance = anchor_distance(self._synthesize(part.mr), part.guess)
            self.fabric.backward(report.add("anchor", distance, 1.0, len(parts)) / len(parts))
        self._move(self.networks.generator, self.networks.generator_optimizer)
        return report

    def _parts(self, mr: torch.Tensor, ct: torch.Tensor, guess: torch.Tensor | None) -> list[Part]:
        count = self.settings.training.accumulate
        guesses = mr if guess is None else guess  # a stand-in that nothing reads
        chunks = zip(mr.chunk(count), ct.chunk(count), guesses.chunk(count), strict=True)
        return [Part(*chunk) for chunk in chunks]

    def _update_discriminator(self, parts: list[Part], scts: list[torch.Tensor], report: StepReport) -> None:
        """BCE(D(CT), 1) + BCE(D(sCT), 0), no ½, and the gradient penalty if there is one."""
        settings, networks = self.settings.adversarial, self.networks
        networks.discriminator_optimizer.zero_grad(set_to_none=True)
        penalty = settings.gradient_penalty > 0
        for part, sct in zip(parts, scts, strict=True):
            ct = part.ct.detach().requires_grad_() if penalty else part.ct
            real = self._judge(ct, part.mr, exact=penalty)  # the penalty differentiates twice: float32
            fake = self._judge(sct, part.mr)
            loss = report.add("d_real", real_or_fake(real, True, settings.loss), 1.0, len(parts))
            loss = loss + report.add("d_fake", real_or_fake(fake, False, settings.loss), 1.0, len(parts))
            if penalty:
                r1 = gradient_penalty(real, ct)
                loss = loss + report.add("r1", r1, settings.gradient_penalty, len(parts))
            self.fabric.backward(loss / len(parts))
        self._move(networks.discriminator, networks.discriminator_optimizer)

    @torch.no_grad()
    def _balance_style(self, parts: list[Part], scts: list[torch.Tensor]) -> None:
        """While the style term's weight is measured: its magnitude and the adversarial one, over the whole batch."""
        if self.style is None or self.networks.balance.frozen:
            return
        sums = torch.zeros(2, device=self.fabric.device)
        for part, sct in zip(parts, scts, strict=True):
            adversarial = real_or_fake(self._judge(sct, part.mr), True, self.settings.adversarial.loss)
            with self._autocast():
                style, _ = self.style(sct, part.ct)
            sums += torch.stack([style, adversarial])
        self.networks.balance.update(*mean_over_processes(self.fabric, sums / len(parts)))

    def _update_generator(self, parts: list[Part], scts: list[torch.Tensor] | None, report: StepReport) -> None:
        """BCE(D(sCT), 1) + 20 · style (eqs. 4-5).

        Args:
            parts: The batch.
            scts: The sCT of each part with its graph; None computes them here, one after the other.
            report: Gets the terms.
        """
        networks = self.networks
        networks.generator_optimizer.zero_grad(set_to_none=True)
        networks.discriminator.requires_grad_(False)
        for number, part in enumerate(parts):
            sct = self._synthesize(part.mr) if scts is None else scts[number]
            self.fabric.backward(self._generator_loss(part, sct, report, len(parts)) / len(parts))
        networks.discriminator.requires_grad_(True)
        self._move(networks.generator, networks.generator_optimizer)

    def _generator_loss(self, part: Part, sct: torch.Tensor, report: StepReport, parts: int) -> torch.Tensor:
        settings = self.settings
        adversarial = real_or_fake(self._judge(sct, part.mr), True, settings.adversarial.loss)
        loss = report.add("adversarial", adversarial, settings.adversarial.weight, parts)
        if self.style is not None:
            with self._autocast():
                style, content = self.style(sct, part.ct)
            loss = loss + report.add("style", style, float(self.networks.balance.weight), parts)
            if settings.creps.content_weight > 0:
                loss = loss + report.add("content", content, settings.creps.content_weight, parts)
        if settings.prior.weight > 0:
            loss = loss + report.add("anchor", anchor_distance(sct, part.guess), settings.prior.weight, parts)
        if settings.prior.smoothness > 0:
            smoothness = edge_aware_smoothness(sct, part.mr)
            loss = loss + report.add("smoothness", smoothness, settings.prior.smoothness, parts)
        return loss

    def _move(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer's step along the mean gradient of all processes."""
        average_gradients(self.fabric, network)
        optimizer.step()

    def _synthesize(self, mr: torch.Tensor) -> torch.Tensor:
        with self._autocast():
            sct: torch.Tensor = self.networks.generator(mr)
        return sct.float()

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

    def _autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(
            self.fabric.device.type, torch.bfloat16, enabled=self.settings.training.precision == "bf16"
        )


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
    ours, theirs = averaged.state_dict(), generator.state_dict()
    for name, value in theirs.items():
        if value.is_floating_point():
            ours[name].lerp_(value, 1 - keep)
        else:
            ours[name].copy_(value)
