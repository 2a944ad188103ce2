"""The 70×70×70 PatchGAN (Hémon et al. 2023, section 2.2; Isola et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from creps.networks.blocks import LEAKY_SLOPE, conv3d, norm3d
from creps.settings.choices import Norm

__all__ = ["PatchDiscriminator", "logits_along", "smallest_input"]

KERNEL = 4


class PatchDiscriminator(nn.Module):
    """CT patch → one logit per position; by default each logit sees 70 voxels per axis.

    With the defaults it has 431,456 parameters. Fewer widths make it shallower and its receptive field smaller:
    34 voxels with three, 16 with two.

    Args:
        widths: Output channels of the normalised convolutions; all but the last halve the grid.
        norm: Normalisation after each of them (paper: batch).
        conditional: Take the MR as a second channel (the paper does not: its eq. 5 has D(sCT)).
    """

    def __init__(
        self,
        widths: Sequence[int] = (16, 32, 64, 64),
        norm: Norm = "batch",
        conditional: bool = False,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 2 if conditional else 1
        for width, stride in zip(widths, _strides(len(widths)), strict=False):
            layers += [
                conv3d(channels, width, kernel=KERNEL, stride=stride),
                norm3d(norm, width),
                nn.LeakyReLU(LEAKY_SLOPE),
            ]
            channels = width
        layers.append(conv3d(channels, 1, kernel=KERNEL))
        self.layers = nn.Sequential(*layers)

    def forward(self, ct: torch.Tensor, mr: torch.Tensor | None = None) -> torch.Tensor:
        """(B, 1, D, H, W) → logits (B, 1, d, h, w)."""
        logits: torch.Tensor = self.layers(ct if mr is None else torch.cat([ct, mr], dim=1))
        return logits


def _strides(depth: int) -> tuple[int, ...]:
    """Strides of `depth` normalised convolutions and of the last one."""
    return (2,) * (depth - 1) + (1, 1)


def logits_along(voxels: int, depth: int = 4) -> int:
    """Number of logits along an axis of that many voxels; 0 if the axis is too short."""
    for stride in _strides(depth):
        voxels = (voxels + 2 - KERNEL) // stride + 1
        if voxels < 1:
            return 0
    return voxels


def smallest_input(depth: int = 4) -> int:
    """The fewest voxels per axis that give a logit."""
    return next(n for n in range(1, 1000) if logits_along(n, depth) > 0)
