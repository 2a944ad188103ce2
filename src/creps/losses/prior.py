"""Terms that tie the sCT to its MR by contrast and by edges; not in the paper."""

from __future__ import annotations

import torch

__all__ = ["anchor_distance", "edge_aware_smoothness"]

EDGE = 0.1
"""Step between neighbouring MR voxels (network units) that counts as an edge."""


def anchor_distance(sct: torch.Tensor, guess: torch.Tensor) -> torch.Tensor:
    """Mean absolute distance of the sCT to a crude guess (see `creps.training.prior`), in float32.

    Args:
        sct: sCT in network units, any shape.
        guess: The guess in network units, the same shape.

    Returns:
        A scalar.
    """
    return (sct.float() - guess).abs().mean()


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
