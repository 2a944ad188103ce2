"""Forward passes of a step's networks, each in its precision."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from lightning.fabric import Fabric
from torch import nn

from creps.machine import resolve_precision
from creps.networks.blocks import frozen_statistics
from creps.settings import Settings
from creps.training.networks import Networks

__all__ = ["Fakes", "Part", "Passes", "judges_sct"]


class Part(NamedTuple):
    """A part of a batch: MR, CT and, where there is one, the MR simulated from it, each (B, 1, D, H, W)."""

    mr: torch.Tensor
    ct: torch.Tensor
    simulated: torch.Tensor


class Fakes(NamedTuple):
    """What the generators make of a part: the sCT of its MR and, in a cycle, the synthetic MR of its CT."""

    sct: torch.Tensor
    mr: torch.Tensor | None

    def back(self) -> torch.Tensor:
        """The synthetic MR, of which a cycle is made.

        Raises:
            ValueError: there is no cycle, and so none was made.
        """
        if self.mr is None:
            raise ValueError("no MR is made of CT without cycle.weight")
        return self.mr

    def detached(self) -> Fakes:
        """The same without their graphs."""
        return Fakes(self.sct.detach(), None if self.mr is None else self.mr.detach())


class Passes:
    """Runs networks on patches.

    Args:
        fabric: The engine.
        networks: What is run.
        settings: The whole tree.
    """

    def __init__(self, fabric: Fabric, networks: Networks, settings: Settings) -> None:
        self.device, self.networks, self.settings = fabric.device, networks, settings
        self.precision = resolve_precision(settings.training.precision, fabric.device)

    def fakes(self, part: Part) -> Fakes:
        """The passes that batch norm's running statistics follow: the generators' own inputs."""
        back = self.generate(self.networks.inverse_generator, part.ct) if self.settings.cycle.weight > 0 else None
        with torch.set_grad_enabled(torch.is_grad_enabled() and judges_sct(self.settings)):
            return Fakes(self.generate(self.networks.generator, part.mr), back)

    def generate(self, generator: nn.Module, image: torch.Tensor) -> torch.Tensor:
        """An image through a generator, (B, 1, D, H, W) in float32."""
        with self.autocast():
            result: torch.Tensor = generator(image)
        return result.float()

    def generate_again(self, generator: nn.Module, image: torch.Tensor) -> torch.Tensor:
        """The same for any other image: running statistics stay those of the generator's own input."""
        with frozen_statistics(generator):
            return self.generate(generator, image)

    def judge(self, discriminator: nn.Module, *images: torch.Tensor, exact: bool = False) -> torch.Tensor:
        """Logits of a discriminator.

        On the CPU in float32: there, the bfloat16 weight gradient of a 3-D convolution whose kernel is
        deeper than its input (the last one, for patches 32 deep) reads memory that nobody wrote
        (torch 2.14, seen as NaN), and the discriminator is a small share of a step.

        Args:
            discriminator: Which one.
            images: The image, and for a conditional discriminator the MR.
            exact: In float32 on every device.
        """
        full = exact or self.device.type == "cpu"
        with torch.autocast(self.device.type, enabled=False) if full else self.autocast():
            logits: torch.Tensor = discriminator(*images)
        return logits

    def autocast(self) -> AbstractContextManager[object]:
        """The precision of the run."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")


def judges_sct(settings: Settings) -> bool:
    """Whether any term looks at the sCT; otherwise the MR's own pass only moves batch norm's statistics."""
    terms = (settings.adversarial, settings.creps, settings.cycle, settings.nce, settings.supervised)
    return any(term.weight > 0 for term in terms) or settings.creps.content_weight > 0
