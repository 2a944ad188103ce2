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
"""Pixels that go through the backbone in one call. On a CPU more would not fit into the caches, and every layer would
write to newly allocated memory; a GPU needs more to be busy (benchmarks/speed)."""


def network_to_grey(ct: torch.Tensor) -> torch.Tensor:
    """CT in network units [-1, 3] → grey [0, 1]: a fixed window without clamping.

    Windows by each image's minimum and maximum would hide affine errors in HU.

    >>> network_to_grey(torch.tensor([-1.0, 0.0, 3.0])).tolist()
    [0.0, 0.25, 1.0]
    """
    return (ct + 1.0) / 4.0


def gram_matrix(features: torch.Tensor) -> torch.Tensor:
    """Gram matrix over channels (eq. 1): G[i, j] = Σ F[i]·F[j] over pixels / (C·H·W), in float32.

    >>> gram_matrix(torch.tensor([[[[1.0, 1.0]], [[0.0, 2.0]]]])).tolist()
    [[[0.5, 0.5], [0.5, 1.0]]]

    Args:
        features: (N, C, H, W) features of N slices.

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
    """L1 distance of Gram matrices (eq. 3): Σ |G(sCT) − G(CT)| over entries and layers, mean over slices.

    Args:
        sct: For each layer (N, C, C) Gram matrices of N sCT slices, the slices of one patch in a row.
        ct: For each layer (N, C, C) Gram matrices of the CT slices that face them.
        gram: ``slice`` compares slice by slice, ``batch`` compares the averages over all slices.

    Returns:
        A scalar.
    """
    total = torch.zeros((), device=sct[0].device)
    for ours, theirs in zip(sct, ct, strict=True):
        a, b = (ours, theirs) if gram == "slice" else (ours.mean(dim=0, keepdim=True), theirs.mean(dim=0, keepdim=True))
        total = total + (a - b).abs().sum(dim=(1, 2)).mean()
    return total


class CrepsLoss(nn.Module):
    """Style and, optionally, content distance of sCT and CT patches.

    Axial slices go through the backbone, several in a call; slice k of an sCT patch faces slice k of the CT patch drawn
    for it. No gradient reaches the CT or the backbone. The gradient of the sCT is computed together with the value,
    call by call, so that only the activations of one call are in memory.

    Args:
        backbone: The frozen feature network.
        slice_step: Use every n-th slice.
        gram: See `style_distance`; averages over the batch need all slices in one call.
        content: Whether to compute the content term; otherwise it is 0.
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
            sct: (B, 1, D, H, W) sCT patches in network units.
            ct: (B, 1, D, H, W) CT patches of other patients in network units.

        Returns:
            Two scalars: style (eq. 3) and content (mean L1 distance of the features, Fig. 1).
        """
        sct_slices, ct_slices = self._slices(sct), self._slices(ct)
        compare = self._compare if self.gram == "batch" else self._compare_in_chunks
        terms = compare(sct_slices, ct_slices)
        return terms[0], terms[1] if self.content else torch.zeros_like(terms[0])

    def slices_at_once(self, height: int, width: int, device: torch.device) -> int | None:
        """How many slices of `height` × `width` pixels go through the backbone in one call; None is all of them."""
        if self.gram == "batch":
            return None
        side = self.backbone.image_size
        pixels = height * width if side is None else side**2
        return max(1, (CPU_PIXELS if device.type == "cpu" else GPU_PIXELS) // pixels)

    def _compare_in_chunks(self, sct: torch.Tensor, ct: torch.Tensor) -> list[torch.Tensor]:
        """The terms of all slices (N, 1, H, W), some slices at a time, each term with its gradient."""
        learns = torch.is_grad_enabled() and sct.requires_grad
        count, _, height, width = sct.shape
        chunks = -(-count // (self.slices_at_once(height, width, sct.device) or count))
        found = []
        for sct_chunk, ct_chunk in zip(sct.detach().tensor_split(chunks), ct.tensor_split(chunks), strict=True):
            with torch.set_grad_enabled(learns):
                image = sct_chunk.detach().requires_grad_(learns)
                terms = [len(image) / count * term for term in self._compare(image, ct_chunk)]
            found.append([(term.detach(), _gradient(term, image, terms) if learns else image) for term in terms])
        values = [torch.stack([value for value, _ in term]).sum() for term in zip(*found, strict=True)]
        if not learns:
            return values
        gradients = [torch.cat([gradient for _, gradient in term]) for term in zip(*found, strict=True)]
        return [_WithGradient.apply(sct, *known) for known in zip(values, gradients, strict=True)]

    def _compare(self, sct: torch.Tensor, ct: torch.Tensor) -> list[torch.Tensor]:
        """Style and, optionally, content of slices (N, 1, H, W)."""
        with torch.no_grad():
            ct_features = self.backbone(ct)
            ct_grams = [gram_matrix(f) for f in ct_features]
        sct_features = self.backbone(sct)
        sct_grams = [gram_matrix(f) for f in sct_features]
        terms = [style_distance(sct_grams, ct_grams, gram=self.gram)]
        if self.content:
            pairs = zip(sct_features, ct_features, strict=True)
            terms.append(torch.stack([(a.float() - b.float()).abs().mean() for a, b in pairs]).sum())
        return terms

    def _slices(self, volume: torch.Tensor) -> torch.Tensor:
        """(B, 1, D, H, W) → (B·ceil(D/step), 1, H, W) in grey."""
        chosen = network_to_grey(volume[:, :, self.slice_step // 2 :: self.slice_step])
        return chosen.transpose(1, 2).flatten(0, 1)


def _gradient(term: torch.Tensor, image: torch.Tensor, terms: Sequence[torch.Tensor]) -> torch.Tensor:
    """Gradient of one of an image's terms; the graph they share is freed after the last one."""
    (gradient,) = torch.autograd.grad(term, image, retain_graph=term is not terms[-1])
    return gradient


class _WithGradient(torch.autograd.Function):
    """A value whose gradient has already been computed."""

    @staticmethod
    def forward(ctx: Any, image: torch.Tensor, value: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        del image  # it only connects the graph
        ctx.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return upstream * gradient, None, None
