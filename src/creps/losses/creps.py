"""The CREPs loss: style of a frozen ImageNet network (Hémon et al. 2023, eqs. 1-4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from creps.networks.backbone import Backbone

__all__ = ["CrepsLoss", "gram_matrix", "network_to_grey", "style_distance"]


def network_to_grey(ct: torch.Tensor) -> torch.Tensor:
    """CT in network units [-1, 3] → grey [0, 1], by a fixed window and without clamping.

    Each image's own minimum and maximum would make the loss blind to affine HU errors.
    """
    return (ct + 1.0) / 4.0


def gram_matrix(features: torch.Tensor) -> torch.Tensor:
    """Gram matrix over channels, divided by C·H·W (eq. 1), in float32.

    Args:
        features: (N, C, H, W).

    Returns:
        (N, C, C).
    """
    n, c, h, w = features.shape
    with torch.autocast(features.device.type, enabled=False):
        flat = features.float().reshape(n, c, h * w)
        return torch.bmm(flat, flat.transpose(1, 2)) / (c * h * w)


def style_distance(
    sct: Sequence[torch.Tensor],
    ct: Sequence[torch.Tensor],
    *,
    reduction: Literal["mean", "sum"] = "mean",
    batch: int = 1,
    gram: Literal["slice", "batch"] = "slice",
) -> torch.Tensor:
    """L1 distance of Gram matrices (eq. 3), summed over entries and layers.

    Args:
        sct: Gram matrices (N, C, C) of each layer; N slices, those of one patch in a row.
        ct: The same of the CT slices that face them.
        reduction: ``mean`` over all slices, or ``sum`` over the batch of the mean over a patch's slices.
        batch: Patches in the whole batch, which `sum` multiplies by.
        gram: ``slice`` compares slice with slice, ``batch`` the averages over all slices.

    Returns:
        A scalar.
    """
    total = torch.zeros((), device=sct[0].device)
    for ours, theirs in zip(sct, ct, strict=True):
        a, b = (ours.mean(dim=0, keepdim=True), theirs.mean(dim=0, keepdim=True)) if gram == "batch" else (ours, theirs)
        total = total + (a - b).abs().sum(dim=(1, 2)).mean()
    return total * batch if reduction == "sum" else total


class CrepsLoss(nn.Module):
    """Style (and, if asked for, content) distance of sCT and CT patches.

    Every axial slice of the patches goes through the backbone in one call; slice k of an sCT patch
    faces slice k of the CT patch drawn for it. No gradient reaches the CT or the backbone.

    Args:
        backbone: The frozen feature network.
        slice_step: Use every n-th slice.
        reduction: See `style_distance`.
        gram: See `style_distance`.
        batch_size: Patches in the whole batch of a step, of which a call may see a part; default: those seen.

    Attributes:
        checkpoint_activations: Keep nothing of the backbone for the backward pass and compute it again
            there, patch by patch: the same gradients, memory for the slices of one patch, more time.
    """

    def __init__(
        self,
        backbone: Backbone,
        slice_step: int = 1,
        reduction: Literal["mean", "sum"] = "mean",
        gram: Literal["slice", "batch"] = "slice",
        batch_size: int | None = None,
    ) -> None:
        super().__init__()
        self.checkpoint_activations = False
        self.batch_size = batch_size
        self.backbone = backbone
        self.slice_step = slice_step
        self.reduction = reduction
        self.gram = gram

    def forward(self, sct: torch.Tensor, ct: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Unweighted style and content terms.

        Args:
            sct: (B, 1, D, H, W) in network units.
            ct: The same of the CT patches; another patient's.

        Returns:
            Two scalars: style (eq. 3) and content (mean L1 of the features, Fig. 1).
        """
        if not (self.checkpoint_activations and torch.is_grad_enabled()):
            return self._compare(sct, ct)
        parts = len(sct) if self.gram == "slice" else 1  # averages over the batch need all of it at once
        terms = [
            checkpoint(self._compare, *pair, use_reentrant=False, preserve_rng_state=False)
            for pair in zip(sct.chunk(parts), ct.chunk(parts), strict=True)
        ]
        return torch.stack([style for style, _ in terms]).mean(), torch.stack([content for _, content in terms]).mean()

    def _compare(self, sct: torch.Tensor, ct: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            target = self.backbone(self._slices(ct))
        features = self.backbone(self._slices(sct))
        style = style_distance(
            [gram_matrix(f) for f in features],
            [gram_matrix(f) for f in target],
            reduction=self.reduction,
            batch=self.batch_size or len(sct),
            gram=self.gram,
        )
        content = torch.stack([(a.float() - b.float()).abs().mean() for a, b in zip(features, target, strict=True)])
        return style, content.sum()

    def _slices(self, volume: torch.Tensor) -> torch.Tensor:
        """(B, 1, D, H, W) → (B·ceil(D/step), 1, H, W) in grey."""
        chosen = network_to_grey(volume[:, :, self.slice_step // 2 :: self.slice_step])
        return chosen.transpose(1, 2).flatten(0, 1)
