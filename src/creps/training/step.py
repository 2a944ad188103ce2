"""One training step: one update of the discriminators, one of the generators (Hémon et al. 2023, eq. 5)."""

from __future__ import annotations

import torch
from lightning.fabric import Fabric
from torch import nn

from creps.losses.creps import CrepsLoss
from creps.networks.blocks import frozen_statistics
from creps.settings import Settings
from creps.training.critics import discriminator_loss, shown, verdict
from creps.training.distribution import average_gradients, mean_over_processes
from creps.training.networks import Networks
from creps.training.passes import Fakes, Part, Passes
from creps.training.report import StepReport
from creps.training.terms import generator_terms

__all__ = ["TrainingStep"]


class TrainingStep:
    """Updates all networks from one batch of patches.

    With one part the sCT is computed once: detached for the discriminator, then with its graph for the
    generator. With `training.accumulate` parts it is computed for each part twice, so that only one
    part's activations are alive at a time; batch norm sees each part by itself.

    Args:
        fabric: The engine.
        networks: What is updated.
        style: The CREPs loss, or None.
        settings: The whole tree.
    """

    def __init__(self, fabric: Fabric, networks: Networks, style: CrepsLoss | None, settings: Settings) -> None:
        self.fabric, self.networks, self.style, self.settings = fabric, networks, style, settings
        self.passes = Passes(fabric, networks, settings)
        self.terms = generator_terms(self.passes, style)

    def __call__(
        self, mr: torch.Tensor, ct: torch.Tensor, number: int, simulated: torch.Tensor | None = None
    ) -> StepReport:
        """One update of each network.

        Args:
            mr: (B, 1, D, H, W) MR patches in network units: this process's share of the batch.
            ct: (B, 1, D, H, W) CT patches that face them, as `sampling.ct_positions` says.
            number: Of this step in its run, on which alone depends what is drawn in it.
            simulated: (B, 1, D, H, W) MR simulated from the CT patches, if a term uses them.
        """
        report = StepReport()
        parts = self._parts(mr, ct, simulated)
        if len(parts) == 1:
            fakes = [self.passes.fakes(parts[0])]
        else:
            judged = parts if self.networks.discriminators else []  # nobody else looks before the generator's update
            with torch.no_grad(), frozen_statistics(self.networks.generators):
                fakes = [self.passes.fakes(part) for part in judged]
        detached = [fake.detached() for fake in fakes]
        self._update_discriminators(parts, detached, report)
        self._balance_style(parts, detached)
        self._update_generators(parts, fakes if len(parts) == 1 else None, report, number)
        return report

    def _parts(self, mr: torch.Tensor, ct: torch.Tensor, simulated: torch.Tensor | None) -> list[Part]:
        count = self.settings.training.accumulate
        painted = mr if simulated is None else simulated  # a stand-in that nothing reads
        chunks = zip(mr.chunk(count), ct.chunk(count), painted.chunk(count), strict=True)
        return [Part(*chunk) for chunk in chunks]

    def _update_discriminators(self, parts: list[Part], fakes: list[Fakes], report: StepReport) -> None:
        optimizer = self.networks.discriminator_optimizer
        if optimizer is None:
            return
        optimizer.zero_grad(set_to_none=True)
        for part, fake in zip(parts, fakes, strict=True):
            for images in shown(self.passes, part, fake):
                loss = discriminator_loss(self.passes, images, report, len(parts))
                self.fabric.backward(loss / len(parts))
        self._move(self.networks.discriminators, optimizer)

    @torch.no_grad()
    def _balance_style(self, parts: list[Part], fakes: list[Fakes]) -> None:
        """While the style term's weight is measured: its magnitude and the adversarial one, over the whole batch."""
        if self.style is None or self.networks.balance.frozen:
            return
        sums = torch.zeros(2, device=self.fabric.device)
        for part, fake in zip(parts, fakes, strict=True):
            of_ct = next(images for images in shown(self.passes, part, fake) if not images.suffix)
            adversarial = verdict(self.passes, of_ct)
            with self.passes.autocast():
                style, _ = self.style(fake.sct, part.ct)
            sums += torch.stack([style, adversarial])
        self.networks.balance.update(*mean_over_processes(self.fabric, sums / len(parts)))

    def _update_generators(self, parts: list[Part], fakes: list[Fakes] | None, report: StepReport, number: int) -> None:
        """The sum of the terms.

        Args:
            parts: The batch.
            fakes: The images made of each part, with their graphs; None computes them here, one after the other.
            report: Gets the terms.
            number: Of the step.
        """
        networks = self.networks
        networks.generator_optimizer.zero_grad(set_to_none=True)
        networks.discriminators.requires_grad_(False)
        for place, part in enumerate(parts):
            fake = self.passes.fakes(part) if fakes is None else fakes[place]
            added = [report.add(*one, len(parts)) for term in self.terms for one in term(part, fake, number)]
            self.fabric.backward(sum(added[1:], added[0]) / len(parts))
        networks.discriminators.requires_grad_(True)
        self._move(networks.generators, networks.generator_optimizer)

    def _move(self, networks: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer's step along the mean gradient of all processes."""
        average_gradients(self.fabric, networks)
        optimizer.step()
