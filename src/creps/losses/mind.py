"""Modality-independent neighbourhood descriptors (Heinrich et al. 2012): self-similarity that MR and CT share."""

from __future__ import annotations

import torch
from torch.nn import functional

__all__ = ["mind_distance", "mind_features"]

SHIFTS = ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1))


def mind_features(image: torch.Tensor, distance: int = 1) -> torch.Tensor:
    """(B, 1, D, H, W) → (B, 6, D, H, W)."""
    x = image.float()
    padded = functional.pad(x, [distance] * 6, mode="replicate")
    d, h, w = x.shape[2:]
    parts = []
    for shift in SHIFTS:
        a, b, c = (distance + distance * s for s in shift)
        parts.append((x - padded[:, :, a : a + d, b : b + h, c : c + w]).square())
    differences = functional.avg_pool3d(torch.cat(parts, 1), 3, 1, 1, count_include_pad=False)
    variance = differences.mean(1, keepdim=True)
    mean = variance.mean(dim=(1, 2, 3, 4), keepdim=True)
    variance = variance.clamp(1e-3 * mean + 1e-8, 1e3 * mean + 1e-8)
    features = torch.exp(-(differences - differences.amin(1, keepdim=True)) / variance)
    return features


def mind_distance(sct: torch.Tensor, mr: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        target = mind_features(mr)
    return (mind_features(sct) - target).abs().mean()
