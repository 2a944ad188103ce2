"""The heads through which features of the generator are compared (Park et al. 2020, section 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

__all__ = ["Projector"]


class Projector(nn.Module):
    """A perceptron of two layers for each stage of the generator, then unit length.

    Args:
        channels: Of each stage's features.
        width: Channels of both layers (paper: 256).
    """

    def __init__(self, channels: Sequence[int], width: int = 256) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width)) for inputs in channels
        )

    def forward(self, samples: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """For each stage (B, P, C) features at P places → (B, P, width) of length 1, in float32."""
        return [
            functional.normalize(head(sample).float(), dim=2) for head, sample in zip(self.heads, samples, strict=True)
        ]
