"""One training step: one update of the discriminators, one of the generators (Hémon et al. 2023, eq. 5)."""

from __future__ import annotations

import torch
from torch import nn

from creps.losses.creps import CrepsLoss
from creps.networks.blocks import frozen_statistics, has_statistics
from creps.settings import Settings
from creps.training.discriminators import adversarial_loss, comparisons, discriminator_loss
from creps.training.distribution import average_gradients
from creps.training.networks import Networks
from creps.training.passes import Part, Passes, SimulatedBatch, Synthetic
from creps.training.processes import Processes
from creps.training.report import StepReport
from creps.training.terms import active_terms, images_used

__all__ = ["TrainingStep"]


class TrainingStep:
    """Updates all networks from one batch of patches.

    With one part, the sCT is computed once: detached for the discriminators, then with its graph for the generators.
    With `training.accumulate` parts it is computed twice for each part, so that only one part's activations are in
    memory at a time; batch norm sees each part by itself.

    Args:
        processes: The processes of the run.
        networks: What is updated.
        style: The CREPs loss, or None.
        settings: The whole tree.
    """

    def __init__(self, processes: Processes, networks: Networks, style: CrepsLoss | None, settings: Settings) -> None:
        self.processes, self.networks, self.style, self.settings = processes, networks, style, settings
        self.passes = Passes(processes.device, networks, settings, style)
        self.terms = active_terms(settings)
        self.uses_sct = any(term.uses_sct for term in self.terms)
        self.reads = images_used(settings, statistics=has_statistics(networks.generator))

    def __call__(
        self, mr: torch.Tensor, ct: torch.Tensor, number: int, simulated: SimulatedBatch | None = None
    ) -> StepReport:
        """One update of each network.

        Args:
            mr: (B, 1, D, H, W) MR patches in network units: this process's share of the batch; (B, 0) if none is used.
            ct: (B, 1, D, H, W) CT patches that face them, as `sampling.ct_positions` says; (B, 0) if none is used.
            number: Number of the step in the run; random draws of the step depend on nothing else.
            simulated: Simulated MR patches and the CT patches that they show, (B, 1, D, H, W) each, if a term uses
                them.
        """
        report = StepReport()
        parts = self._parts(mr, ct, simulated)
        if len(parts) == 1:
            synthetic = [self._synthesize(parts[0])]
        else:
            needed = parts if self.networks.discriminators else []  # nothing else uses them before the generators' turn
            with torch.no_grad(), frozen_statistics(self.networks.generators):
                synthetic = [self._synthesize(part) for part in needed]
        detached = [images.detached() for images in synthetic]
        self._update_discriminators(parts, detached, report)
        self._balance_style(parts, detached)
        self._update_generators(parts, synthetic if len(parts) == 1 else None, report, number)
        return report

    def _parts(self, mr: torch.Tensor, ct: torch.Tensor, simulated: SimulatedBatch | None) -> list[Part]:
        count = self.settings.training.accumulate
        batch = (mr, ct, *(simulated or (mr, ct)))
        return [Part(*chunk) for chunk in zip(*(images.chunk(count) for images in batch), strict=True)]

    def _synthesize(self, part: Part) -> Synthetic:
        return self.passes.synthesize(part, sct_graph=self.uses_sct)

    def _update_discriminators(self, parts: list[Part], synthetic: list[Synthetic], report: StepReport) -> None:
        optimizer = self.networks.discriminator_optimizer
        if optimizer is None:
            return
        optimizer.zero_grad(set_to_none=True)
        for part, images in zip(parts, synthetic, strict=True):
            for comparison in comparisons(self.passes, part, images):
                loss = discriminator_loss(self.passes, comparison, report, len(parts))
                self.backward(loss / len(parts))
        self._move(self.networks.discriminators, optimizer)

    @torch.no_grad()
    def _balance_style(self, parts: list[Part], synthetic: list[Synthetic]) -> None:
        """While the style term's weight is measured: its magnitude and the adversarial one, over the whole batch."""
        if self.style is None or self.networks.balance.frozen:
            return
        sums = torch.zeros(2, device=self.processes.device)
        for part, images in zip(parts, synthetic, strict=True):
            of_ct = next(comparisons(self.passes, part, images))  # the discriminator of CT comes first
            adversarial = adversarial_loss(self.passes, of_ct)
            with self.passes.autocast():
                style, _ = self.style(images.sct, part.ct)
            sums += torch.stack([style, adversarial])
        self.networks.balance.update(*self.processes.mean(sums / len(parts)))

    def _update_generators(
        self, parts: list[Part], synthetic: list[Synthetic] | None, report: StepReport, number: int
    ) -> None:
        """One update along the sum of the terms.

        Args:
            parts: The batch.
            synthetic: The synthetic images of each part, with their graphs; None computes them here, part by part.
            report: Records the terms.
            number: Number of the step.
        """
        networks = self.networks
        networks.generator_optimizer.zero_grad(set_to_none=True)
        networks.discriminators.requires_grad_(False)
        for place, part in enumerate(parts):
            images = self._synthesize(part) if synthetic is None else synthetic[place]
            added = [
                report.add(*one, len(parts))
                for term in self.terms
                for one in term.compute(self.passes, part, images, number)
            ]
            self.backward(sum(added[1:], added[0]) / len(parts))
        networks.discriminators.requires_grad_(True)
        self._move(networks.generators, networks.generator_optimizer, self.settings.training.clip_norm)

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of a loss (a scalar)."""
        torch.autograd.backward(loss)

    def _move(self, networks: nn.Module, optimizer: torch.optim.Optimizer, clip_norm: float = 0.0) -> None:
        """One optimizer step along the mean gradient of all processes, shortened to `clip_norm` if that is above 0."""
        average_gradients(self.processes, networks)
        if clip_norm > 0:
            nn.utils.clip_grad_norm_(networks.parameters(), clip_norm)
        optimizer.step()
