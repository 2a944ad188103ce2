"""The discriminators: what each is shown, its own loss, and what it says to the generators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import nn

from creps.losses.adversarial import gradient_penalty, real_or_fake
from creps.training.passes import Fakes, Part, Passes
from creps.training.report import StepReport

__all__ = ["Shown", "discriminator_loss", "shown", "verdict"]


class Shown(NamedTuple):
    """What one discriminator is shown.

    Attributes:
        suffix: Of its terms' names: none for CT, ``_mr`` for MR.
        discriminator: The network.
        real: (B, 1, D, H, W) patches of its kind.
        fake: (B, 1, D, H, W) synthetic ones.
        beside: What it is shown with them: the MR, if it is conditional.
    """

    suffix: str
    discriminator: nn.Module
    real: torch.Tensor
    fake: torch.Tensor
    beside: tuple[torch.Tensor, ...]


def shown(passes: Passes, part: Part, fakes: Fakes) -> Iterator[Shown]:
    """What each discriminator is shown of a part."""
    networks, conditional = passes.networks, passes.settings.discriminator.conditional
    if "discriminator" in networks.discriminators:
        yield Shown("", networks.discriminator, part.ct, fakes.sct, (part.mr,) if conditional else ())
    if "mr_discriminator" in networks.discriminators:
        yield Shown("_mr", networks.discriminators["mr_discriminator"], part.mr, fakes.back(), ())


def discriminator_loss(passes: Passes, images: Shown, report: StepReport, parts: int) -> torch.Tensor:
    """BCE(D(CT), 1) + BCE(D(sCT), 0), no ½, and the gradient penalty if there is one (eq. 5); the same for MR."""
    settings, suffix = passes.settings.adversarial, images.suffix
    penalty = settings.gradient_penalty > 0
    real = images.real.detach().requires_grad_() if penalty else images.real
    real_logits = passes.judge(images.discriminator, real, *images.beside, exact=penalty)  # differentiated twice
    fake_logits = passes.judge(images.discriminator, images.fake, *images.beside)
    loss = report.add(f"d_real{suffix}", real_or_fake(real_logits, True, settings.loss), 1.0, parts)
    loss = loss + report.add(f"d_fake{suffix}", real_or_fake(fake_logits, False, settings.loss), 1.0, parts)
    if penalty:
        r1 = gradient_penalty(real_logits, real)
        loss = loss + report.add(f"r1{suffix}", r1, settings.gradient_penalty, parts)
    return loss


def verdict(passes: Passes, images: Shown) -> torch.Tensor:
    """How far a discriminator is from taking the synthetic images for real."""
    logits = passes.judge(images.discriminator, images.fake, *images.beside)
    return real_or_fake(logits, True, passes.settings.adversarial.loss)
