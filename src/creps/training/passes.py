"""Forward passes of a step's networks, each in its precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import nn

from creps.losses.creps import CrepsLoss
from creps.machine import resolve_precision
from creps.networks.blocks import frozen_statistics, has_statistics
from creps.networks.generator import Generator
from creps.settings import Settings
from creps.training.networks import Networks

__all__ = ["Part", "Passes", "SimulatedBatch", "Synthetic"]

SimulatedBatch = tuple[torch.Tensor, torch.Tensor]
"""Simulated MR patches and the CT patches that they show."""


class Part(NamedTuple):
    """A part of a batch, each (B, 1, D, H, W) in network units.

    Attributes:
        mr: MR patches.
        ct: The CT patches that face them.
        simulated_mr: Simulated MR patches; `mr` stands in for them where no term uses them.
        simulated_ct: The CT patches that they show; likewise.
    """

    mr: torch.Tensor
    ct: torch.Tensor
    simulated_mr: torch.Tensor
    simulated_ct: torch.Tensor


class Synthetic(NamedTuple):
    """What the generators make of a part, each (B, 1, D, H, W) in network units.

    Attributes:
        sct: Synthetic CT of the MR; empty where neither a term nor batch norm's statistics need it.
        mr: Synthetic MR of the CT; None without a cycle.
    """

    sct: torch.Tensor
    mr: torch.Tensor | None

    def cycle_mr(self) -> torch.Tensor:
        """The synthetic MR of a recipe with a cycle.

        Raises:
            ValueError: the recipe has no cycle.
        """
        if self.mr is None:
            raise ValueError("no MR is synthesized from CT without cycle.weight")
        return self.mr

    def detached(self) -> Synthetic:
        """The same images without their graphs."""
        return Synthetic(self.sct.detach(), None if self.mr is None else self.mr.detach())


class Passes:
    """Runs networks on patches.

    Args:
        device: Where the networks are.
        networks: The networks.
        settings: The whole tree.
        style: The CREPs loss, or None.
    """

    def __init__(
        self, device: torch.device, networks: Networks, settings: Settings, style: CrepsLoss | None = None
    ) -> None:
        self.device, self.networks, self.settings, self.style = device, networks, settings, style
        self.precision = resolve_precision(settings.training.precision, device)

    def synthesize(self, part: Part, *, sct_graph: bool = True) -> Synthetic:
        """Each generator on its own input, which batch norm's running statistics follow.

        Args:
            part: The patches.
            sct_graph: Keep the graph of the sCT; False if no loss term uses it.
        """
        if not (sct_graph or has_statistics(self.networks.generator)):
            return Synthetic(part.mr.new_empty(0), None)
        mr = self.generate(self.networks.inverse_generator, part.ct) if self.settings.cycle.weight > 0 else None
        with nullcontext() if sct_graph else torch.no_grad():
            return Synthetic(self.generate(self.networks.generator, part.mr), mr)

    def generate(self, generator: nn.Module, image: torch.Tensor, *, track: bool = True) -> torch.Tensor:
        """An image through a generator.

        Args:
            generator: Which one.
            image: (B, 1, D, H, W) in network units.
            track: Whether batch norm's running statistics follow this image: those of the generator's own kind of
                input only, as synthesis sees no other.

        Returns:
            (B, 1, D, H, W) in network units, float32.
        """
        with self.autocast(), nullcontext() if track else frozen_statistics(generator):
            result: torch.Tensor = generator(image)
        return result.float()

    def distance(self, generator: Generator, mr: torch.Tensor, ct: torch.Tensor) -> torch.Tensor:
        """How far the sCT of a simulated MR is from its CT; batch norm's statistics do not follow it.

        Args:
            generator: Which one.
            mr: (B, 1, D, H, W) in network units.
            ct: Likewise.

        Returns:
            A scalar, float32.
        """
        with self.autocast(), frozen_statistics(generator):
            return generator.distance(mr, ct)

    def discriminate(self, discriminator: nn.Module, *images: torch.Tensor, exact: bool = False) -> torch.Tensor:
        """Logits of a discriminator.

        On the CPU in float32: there, the bfloat16 weight gradient of a 3-D convolution whose kernel is deeper than
        its input (the last one, for patches 32 deep) reads uninitialised memory (torch 2.14, seen as NaN), and the
        discriminator is a small share of a step.

        Args:
            discriminator: Which one.
            images: (B, 1, D, H, W): the image, and for a conditional discriminator the MR.
            exact: Compute in float32 on every device.
        """
        full = exact or self.device.type == "cpu"
        with torch.autocast(self.device.type, enabled=False) if full else self.autocast():
            logits: torch.Tensor = discriminator(*images)
        return logits

    def autocast(self) -> AbstractContextManager[object]:
        """The precision of the run."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")
