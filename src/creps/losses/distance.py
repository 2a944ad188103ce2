"""How far two images are apart."""

from __future__ import annotations

import torch

__all__ = ["absolute_distance"]


def absolute_distance(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean absolute distance (L1), in float32.

    Args:
        image: In network units, any shape.
        target: The same: a crude guess, a registered CT, or where a cycle began.

    Returns:
        A scalar.
    """
    return (image.float() - target).abs().mean()
