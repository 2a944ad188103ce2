"""The residual generator: a shallow 3-D network (Hémon et al. 2023, section 2.2)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from creps.networks.blocks import LEAKY_SLOPE, conv3d, norm3d
from creps.networks.folded import FoldedResidual
from creps.networks.generator import Generator, Stage
from creps.settings.choices import Norm

__all__ = ["ResidualGenerator"]


class ResidualBlock(nn.Module):
    """conv - norm - LeakyReLU - conv - norm, added to the input."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            conv3d(channels, channels),
            norm3d(norm, channels),
            nn.LeakyReLU(LEAKY_SLOPE),
            conv3d(channels, channels),
            norm3d(norm, channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, D, H, W) → the same shape."""
        return x + self.layers(x)


class ResidualGenerator(Generator):
    """Residual blocks between one down-sampling and one up-sampling block.

    Convolutions have no bias and pad with zeros; ReLU outside the residual blocks; neither norm nor activation after
    the last convolution, so that the whole HU range can be reached. With the defaults it has 1,468,096 parameters.

    Args:
        width: Channels at full resolution; twice as many at half resolution.
        residual_blocks: Number of residual blocks (paper: 6).
        norm: Normalisation after each convolution but the last (paper: batch).
    """

    def __init__(self, width: int = 32, residual_blocks: int = 6, norm: Norm = "batch") -> None:
        super().__init__()
        self.width = width
        self.bounded = norm != "instance"
        self.stem = _convolution(1, width, norm)
        self.down = _convolution(width, 2 * width, norm, stride=2)
        self.blocks = nn.Sequential(*(ResidualBlock(2 * width, norm) for _ in range(residual_blocks)))
        self.up = _convolution(2 * width, width, norm)
        self.head = nn.Sequential(_convolution(width, width, norm), conv3d(width, 1, kernel=1))

    @property
    def halo(self) -> int | None:
        """How many voxels away from a voxel its prediction still depends on: 31 by default, None with instance norm.

        Each block sees 2 x 2 voxels (two convolutions at half resolution) on either side; stem and head 1 each,
        down- and up-sampling with their convolutions 5 together.
        """
        return 4 * len(self.blocks) + 7 if self.bounded else None

    def features(self, image: torch.Tensor, names: Sequence[str]) -> dict[str, torch.Tensor]:
        """Feature maps of the encoder.

        Args:
            image: (B, 1, D, H, W) in network units.
            names: ``input``, ``stem``, ``down``, ``block1``, ``block2``, …

        Returns:
            Name → (B, C, D, H, W), C as in `feature_channels`; half the size from ``down`` on.
        """
        stages: dict[str, Stage] = {"stem": self.stem, "down": self.down}
        stages |= {f"block{number}": block for number, block in enumerate(self.blocks, 1)}
        x, found = image, {"input": image}
        for name, stage in stages.items():
            if found.keys() >= set(names):
                break
            x = found[name] = self.run(stage, x)
        return {name: found[name] for name in names}

    def feature_channels(self, names: Sequence[str]) -> dict[str, int]:
        """Name → channels of `features`."""
        return {name: {"input": 1, "stem": self.width}.get(name, 2 * self.width) for name in names}

    def stages(self, size: torch.Size) -> list[Stage]:
        """Encoder, each block, decoder, for a volume of that size (D, H, W)."""
        return [self._encoded, *self.blocks, partial(self._decoded, size=size)]

    def folded(self, dtype: torch.dtype) -> FoldedResidual | None:
        """With the norms folded into the convolutions; None with instance norm, whose statistics are each input's."""
        return FoldedResidual(self, dtype) if self.bounded else None

    def _encoded(self, mr: torch.Tensor) -> torch.Tensor:
        encoded: torch.Tensor = self.down(self.stem(mr))
        return encoded

    def _decoded(self, x: torch.Tensor, size: torch.Size) -> torch.Tensor:
        x = functional.interpolate(self.up(x), size=size, mode="trilinear", align_corners=False)
        x = self.head[0](x)
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 would round bone to steps of 8 HU
            sct: torch.Tensor = self.head[1](x.float())
        return sct


def _convolution(inputs: int, outputs: int, norm: Norm, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(conv3d(inputs, outputs, stride=stride), norm3d(norm, outputs), nn.ReLU())
