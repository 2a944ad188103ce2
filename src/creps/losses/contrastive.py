"""PatchNCE: the same place in two images, recognised among other places (Park et al. 2020, eqs. 2-3)."""

from __future__ import annotations

import torch
from torch.nn import functional

__all__ = ["at_places", "patch_nce"]


def at_places(features: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Features at some places.

    Args:
        features: (B, C, D, H, W).
        places: (P,) indices into D·H·W.

    Returns:
        (B, P, C).
    """
    _, _, _, height, width = features.shape
    z, y, x = places // (height * width), places // width % height, places % width
    return features[:, :, z, y, x].transpose(1, 2)


def patch_nce(query: torch.Tensor, key: torch.Tensor, temperature: float = 0.07) -> torch.Tensor:
    """Cross entropy of finding each query's own place among all places of the same image, in float32.

    Args:
        query: (B, P, C) of length 1 along C: the sCT.
        key: The same of the image that it was made from; without gradient.
        temperature: What similarities are divided by.

    Returns:
        A scalar, the mean over places and batch: ln P if all keys are alike.
    """
    with torch.autocast(query.device.type, enabled=False):
        similarity = torch.bmm(query.float(), key.float().transpose(1, 2)) / temperature
    batch, places, _ = similarity.shape
    own = torch.arange(places, device=similarity.device).repeat(batch)
    return functional.cross_entropy(similarity.flatten(0, 1), own)
