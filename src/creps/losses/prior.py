"""A term that ties the sCT to its MR by edges; not in the paper."""

from __future__ import annotations

import torch

__all__ = ["edge_aware_smoothness"]

EDGE = 0.1
"""Step between neighbouring MR voxels (network units) that counts as an edge."""


def edge_aware_smoothness(sct: torch.Tensor, mr: torch.Tensor) -> torch.Tensor:
    """Mean step between neighbouring sCT voxels, counted less the larger the MR's own step is.

    Args:
        sct: (B, 1, D, H, W) sCT in network units.
        mr: (B, 1, D, H, W) MR in network units.

    Returns:
        A scalar: over the three axes the mean of |Δ sCT| · exp(-|Δ MR| / `EDGE`), in float32.
    """
    terms = []
    for axis in (2, 3, 4):
        step = sct.float().diff(dim=axis).abs()
        terms.append((step * torch.exp(-mr.float().diff(dim=axis).abs() / EDGE)).mean())
    return torch.stack(terms).mean()
