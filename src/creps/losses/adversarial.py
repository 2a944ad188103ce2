"""Adversarial losses on the logits of the PatchGAN (Hémon et al. 2023, eq. 5)."""

from __future__ import annotations

import torch
from torch.nn import functional

from creps.settings.choices import AdversarialLoss

__all__ = ["gradient_penalty", "real_or_fake"]


def real_or_fake(logits: torch.Tensor, real: bool, loss: AdversarialLoss) -> torch.Tensor:
    """Mean loss of logits against "all real" or "all synthetic", in float32.

    Args:
        logits: One per patch position, any shape.
        real: What they should say.
        loss: Binary cross entropy, or least squares against 1 and 0 (Mao et al. 2017).
    """
    target = torch.full_like(logits, float(real), dtype=torch.float32)
    if loss == "bce":
        return functional.binary_cross_entropy_with_logits(logits.float(), target)
    return functional.mse_loss(logits.float(), target)


def gradient_penalty(logits: torch.Tensor, ct: torch.Tensor) -> torch.Tensor:
    """R1 penalty on real CT (Mescheder et al. 2018): squared norm of the logits' gradient, halved.

    Args:
        logits: Of `ct`, computed without autocast.
        ct: (B, 1, D, H, W) with `requires_grad`.

    Returns:
        A scalar: for each patch the squared norm of the gradient of its summed logits over the number
        of its logits, averaged over the batch, times ½. So its size does not depend on the patch's.
    """
    (gradient,) = torch.autograd.grad(logits.float().sum(), ct, create_graph=True)
    per_patch = logits[0].numel()
    return 0.5 * gradient.square().flatten(1).sum(dim=1).mean() / per_patch
