"""Adversarial losses on the logits of a discriminator (Hémon et al. 2023, eq. 5)."""

from __future__ import annotations

import torch
from torch.nn import functional

from creps.settings.choices import AdversarialLoss

__all__ = ["gradient_penalty", "real_or_fake"]


def real_or_fake(logits: torch.Tensor, real: bool, loss: AdversarialLoss) -> torch.Tensor:
    """Mean loss of logits against the label "real" or "synthetic", in float32.

    An undecided discriminator has ln 2 of cross entropy, whatever the label:

    >>> float(real_or_fake(torch.zeros(2, 1, 3, 3, 3), True, "bce"))  # doctest: +ELLIPSIS
    0.693147...
    >>> float(real_or_fake(torch.tensor([0.5, 1.5]), True, "least_squares"))
    0.25

    Args:
        logits: One per patch position, any shape.
        real: The label: True is real, False is synthetic.
        loss: ``bce`` is binary cross entropy, ``least_squares`` the squared distance to 1 or 0 (Mao et al. 2017).

    Returns:
        A scalar.
    """
    target = torch.full_like(logits, float(real), dtype=torch.float32)
    if loss == "bce":
        return functional.binary_cross_entropy_with_logits(logits.float(), target)
    return functional.mse_loss(logits.float(), target)


def gradient_penalty(logits: torch.Tensor, ct: torch.Tensor) -> torch.Tensor:
    """R1 penalty on real images (Mescheder et al. 2018): ½ ‖∇ₓ Σ D(x)‖² / (number of logits), mean over the batch.

    Divided by the number of logits of a patch, so that it does not grow with the patch.

    >>> ct = torch.ones(1, 1, 1, 1, 2, requires_grad=True)
    >>> float(gradient_penalty(3 * ct, ct).detach())  # ½ · (3² + 3²) / 2
    4.5

    Args:
        logits: Logits of `ct`, (B, …), computed without autocast.
        ct: (B, 1, D, H, W) real patches with `requires_grad`.

    Returns:
        A scalar with a graph.
    """
    (gradient,) = torch.autograd.grad(logits.float().sum(), ct, create_graph=True)
    per_patch = logits[0].numel()
    return 0.5 * gradient.square().flatten(1).sum(dim=1).mean() / per_patch
