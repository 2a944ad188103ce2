"""The CREPs loss: style of a frozen ImageNet network (Hémon et al. 2023, eqs. 1-4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from creps.networks.backbone import Backbone

__all__ = ["CrepsLoss", "gram_matrix", "network_to_grey", "style_distance"]

CPU_PIXELS, GPU_PIXELS = 8 * 224**2, 64 * 224**2
"""Pixels that go through the backbone in one call. On a CPU more would leave the caches, and every layer would write
to memory that the system has yet to hand out; a GPU wants enough to be busy (benchmarks/speed)."""


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
        return torch.bmm(flat / (c * h * w), flat.transpose(1, 2))  # fewer to divide than the products


def style_distance(
    sct: Sequence[torch.Tensor],
    ct: Sequence[torch.Tensor],
    *,
    gram: Literal["slice", "batch"] = "slice",
) -> torch.Tensor:
    """L1 distance of Gram matrices (eq. 3), summed over entries and layers.

    Args:
        sct: Gram matrices (N, C, C) of each layer; N slices, those of one patch in a row.
        ct: The same of the CT slices that face them.
        gram: ``slice`` compares slice with slice, ``batch`` the averages over all slices.

    Returns:
        A scalar.
    """
    total = torch.zeros((), device=sct[0].device)
    for ours, theirs in zip(sct, ct, strict=True):
        a, b = (ours.mean(dim=0, keepdim=True), theirs.mean(dim=0, keepdim=True)) if gram == "batch" else (ours, theirs)
        total = total + (a - b).abs().sum(dim=(1, 2)).mean()
    return total


class CrepsLoss(nn.Module):
    """Style (and, if asked for, content) distance of sCT and CT patches.

    Axial slices go through the backbone, many in a call; slice k of an sCT patch faces slice k of the CT patch drawn
    for it. No gradient reaches the CT or the backbone. That of the sCT is computed together with the value, call by
    call, so that only one call's activations are alive.

    Args:
        backbone: The frozen feature network.
        slice_step: Use every n-th slice.
        gram: See `style_distance`; averages over the batch take all slices in one call.
        content: Whether the content term is wanted; without, it is 0.
    """

    def __init__(
        self,
        backbone: Backbone,
        slice_step: int = 1,
        gram: Literal["slice", "batch"] = "slice",
        *,
        content: bool = True,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.slice_step = slice_step
        self.gram = gram
        self.content = content

    def forward(self, sct: torch.Tensor, ct: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Unweighted style and content terms.

        Args:
            sct: (B, 1, D, H, W) in network units.
            ct: The same of the CT patches; another patient's.

        Returns:
            Two scalars: style (eq. 3) and content (mean L1 of the features, Fig. 1).
        """
        ours, theirs = self._slices(sct), self._slices(ct)
        terms = self._compare(ours, theirs) if self.gram == "batch" else self._compare_in_turn(ours, theirs)
        return terms[0], terms[1] if self.content else torch.zeros_like(terms[0])

    def slices_at_once(self, height: int, width: int, device: torch.device) -> int | None:
        """How many slices of that size go through the backbone in one call; None is all of them."""
        if self.gram == "batch":
            return None
        side = self.backbone.image_size
        pixels = height * width if side is None else side**2
        return max(1, (CPU_PIXELS if device.type == "cpu" else GPU_PIXELS) // pixels)

    def _compare_in_turn(self, ours: torch.Tensor, theirs: torch.Tensor) -> list[torch.Tensor]:
        """The terms of all slices, computed some slices at a time, each with its gradient."""
        learns = torch.is_grad_enabled() and ours.requires_grad
        count, _, height, width = ours.shape
        calls = -(-count // (self.slices_at_once(height, width, ours.device) or count))
        found = []
        for some, facing in zip(ours.detach().tensor_split(calls), theirs.tensor_split(calls), strict=True):
            with torch.set_grad_enabled(learns):
                image = some.detach().requires_grad_(learns)
                terms = [len(some) / count * term for term in self._compare(image, facing)]
            found.append([(term.detach(), _gradient(term, image, terms) if learns else image) for term in terms])
        values = [torch.stack([value for value, _ in term]).sum() for term in zip(*found, strict=True)]
        if not learns:
            return values
        gradients = [torch.cat([gradient for _, gradient in term]) for term in zip(*found, strict=True)]
        return [_Known.apply(ours, *known) for known in zip(values, gradients, strict=True)]

    def _compare(self, ours: torch.Tensor, theirs: torch.Tensor) -> list[torch.Tensor]:
        """Style and, if it is wanted, content of slices (N, 1, H, W)."""
        with torch.no_grad():
            target = self.backbone(theirs)
            facing = [gram_matrix(f) for f in target]
        features = self.backbone(ours)
        grams = [gram_matrix(f) for f in features]
        terms = [style_distance(grams, facing, gram=self.gram)]
        if self.content:
            distances = [(a.float() - b.float()).abs().mean() for a, b in zip(features, target, strict=True)]
            terms.append(torch.stack(distances).sum())
        return terms

    def _slices(self, volume: torch.Tensor) -> torch.Tensor:
        """(B, 1, D, H, W) → (B·ceil(D/step), 1, H, W) in grey."""
        chosen = network_to_grey(volume[:, :, self.slice_step // 2 :: self.slice_step])
        return chosen.transpose(1, 2).flatten(0, 1)


def _gradient(term: torch.Tensor, image: torch.Tensor, terms: Sequence[torch.Tensor]) -> torch.Tensor:
    """Of one of an image's terms; the last one needs their graph no more."""
    (gradient,) = torch.autograd.grad(term, image, retain_graph=term is not terms[-1])
    return gradient


class _Known(torch.autograd.Function):
    """A value whose gradient has been computed already."""

    @staticmethod
    def forward(ctx: Any, image: torch.Tensor, value: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        del image  # only its graph is wanted
        ctx.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return upstream * gradient, None, None
