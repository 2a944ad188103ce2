"""Distance of two images."""

from __future__ import annotations

import torch

__all__ = ["absolute_distance"]


def absolute_distance(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean absolute distance (L1), in float32.

    >>> float(absolute_distance(torch.tensor([0.0, 1.0]), torch.tensor([0.5, 1.0])))
    0.25

    Args:
        image: In network units, any shape.
        target: The same shape: a registered CT, the CT of a simulated MR, or the start of a cycle.

    Returns:
        A scalar.
    """
    return (image.float() - target).abs().mean()
