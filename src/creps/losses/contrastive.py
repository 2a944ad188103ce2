"""PatchNCE: the features of a voxel recognised in another image, among other voxels (Park et al. 2020, eqs. 2-3)."""

from __future__ import annotations

import torch
from torch.nn import functional

__all__ = ["at_places", "patch_nce"]


def at_places(features: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Features at some voxels.

    >>> features = torch.arange(8.0).view(1, 1, 2, 2, 2)
    >>> at_places(features, torch.tensor([0, 5])).squeeze().tolist()
    [0.0, 5.0]

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
    """Cross entropy of recognising each query's own voxel among the P voxels of its image, in float32.

    −log( exp(q·k/τ) / Σⱼ exp(q·kⱼ/τ) ), mean over voxels and batch: ln P if all keys are equal.

    >>> alike = torch.ones(1, 4, 1)
    >>> float(patch_nce(alike, alike))  # doctest: +ELLIPSIS
    1.386294...

    Args:
        query: (B, P, C), unit vectors along C: features of the sCT.
        key: (B, P, C), the same of the image that it was made from; without gradient.
        temperature: τ.

    Returns:
        A scalar.
    """
    with torch.autocast(query.device.type, enabled=False):
        similarity = torch.bmm(query.float(), key.float().transpose(1, 2)) / temperature
    batch, places, _ = similarity.shape
    own = torch.arange(places, device=similarity.device).repeat(batch)
    return functional.cross_entropy(similarity.flatten(0, 1), own)
