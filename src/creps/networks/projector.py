"""The heads through which features of the generator are compared (Park et al. 2020, section 3)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional

__all__ = ["Projector"]


class Projector(nn.Module):
    """A perceptron of two layers for each stage of the generator, then unit length.

    Args:
        channels: Stage → channels of its features; the heads keep the stages' names, so that weights never move
            from one stage to another.
        width: Channels of both layers (paper: 256).
    """

    def __init__(self, channels: Mapping[str, int], width: int = 256) -> None:
        super().__init__()
        self.heads = nn.ModuleDict(
            {
                stage: nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width))
                for stage, inputs in channels.items()
            }
        )

    def forward(self, samples: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """For each stage (B, P, C) features at P places → (B, P, width) of length 1, in float32."""
        return {stage: functional.normalize(self.heads[stage](x).float(), dim=2) for stage, x in samples.items()}
