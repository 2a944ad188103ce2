"""What each discriminator compares, its own loss, and the loss it gives the generators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import nn

from creps.losses.adversarial import gradient_penalty, real_or_fake
from creps.training.passes import Part, Passes, Synthetic
from creps.training.report import StepReport

__all__ = ["Comparison", "adversarial_loss", "comparisons", "discriminator_loss"]


class Comparison(NamedTuple):
    """Real and synthetic images for one discriminator.

    Attributes:
        suffix: Of its terms' names: none for CT, ``_mr`` for MR.
        discriminator: The network.
        real: (B, 1, D, H, W) real patches.
        synthetic: (B, 1, D, H, W) synthetic ones.
        condition: Further inputs: the MR, if the discriminator is conditional.
    """

    suffix: str
    discriminator: nn.Module
    real: torch.Tensor
    synthetic: torch.Tensor
    condition: tuple[torch.Tensor, ...]


def comparisons(passes: Passes, part: Part, synthetic: Synthetic) -> Iterator[Comparison]:
    """The images of a part for each discriminator of the recipe."""
    networks, conditional = passes.networks, passes.settings.discriminator.conditional
    if "discriminator" in networks.discriminators:
        condition = (part.mr,) if conditional else ()
        yield Comparison("", networks.discriminator, part.ct, synthetic.sct, condition)
    if "mr_discriminator" in networks.discriminators:
        yield Comparison("_mr", networks.discriminators["mr_discriminator"], part.mr, synthetic.cycle_mr(), ())


def discriminator_loss(passes: Passes, images: Comparison, report: StepReport, parts: int) -> torch.Tensor:
    """BCE(D(CT), 1) + BCE(D(sCT), 0), no ½, and the gradient penalty if there is one (eq. 5); the same for MR.

    Args:
        passes: Runs the discriminator.
        images: What it compares.
        report: Records the terms.
        parts: Parts of the batch, of which this is one.

    Returns:
        A scalar.
    """
    settings, suffix = passes.settings.adversarial, images.suffix
    penalty = settings.gradient_penalty > 0
    real = images.real.detach().requires_grad_() if penalty else images.real
    real_logits = passes.discriminate(images.discriminator, real, *images.condition, exact=penalty)  # two derivatives
    synthetic_logits = passes.discriminate(images.discriminator, images.synthetic, *images.condition)
    loss = report.add(f"d_real{suffix}", real_or_fake(real_logits, True, settings.loss), 1.0, parts)
    loss = loss + report.add(f"d_fake{suffix}", real_or_fake(synthetic_logits, False, settings.loss), 1.0, parts)
    if penalty:
        r1 = gradient_penalty(real_logits, real)
        loss = loss + report.add(f"r1{suffix}", r1, settings.gradient_penalty, parts)
    return loss


def adversarial_loss(passes: Passes, images: Comparison) -> torch.Tensor:
    """The generators' side of eq. 5, BCE(D(sCT), 1): low if the discriminator takes synthetic images for real."""
    logits = passes.discriminate(images.discriminator, images.synthetic, *images.condition)
    return real_or_fake(logits, True, passes.settings.adversarial.loss)
