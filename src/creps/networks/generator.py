"""The generator: a shallow 3-D residual network (Hémon et al. 2023, section 2.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from creps.networks.blocks import LEAKY_SLOPE, conv3d, frozen_statistics, norm3d
from creps.settings.choices import Norm, Padding

__all__ = ["Generator"]

Stage = Callable[[torch.Tensor], torch.Tensor]


class ResidualBlock(nn.Module):
    """conv - norm - LeakyReLU - conv - norm, added to the input."""

    def __init__(self, channels: int, norm: Norm, padding: Padding) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            conv3d(channels, channels, padding_mode=padding),
            norm3d(norm, channels),
            nn.LeakyReLU(LEAKY_SLOPE),
            conv3d(channels, channels, padding_mode=padding),
            norm3d(norm, channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, D, H, W) → the same shape."""
        return x + self.layers(x)


class Generator(nn.Module):
    """MR patch → CT patch, both in network units (MR in [0, 2], CT in [-1, 3]); or the way back, in a cycle.

    Residual blocks between one down-sampling and one up-sampling block; no bias; ReLU outside the
    residual blocks; neither norm nor activation after the last convolution, so that the whole HU
    range can be reached. With the defaults it has 1,468,096 parameters.

    Args:
        width: Channels at full resolution; twice as many at half resolution.
        residual_blocks: Number of residual blocks (paper: 6).
        norm: Normalisation after each convolution but the last (paper: batch).
        norm_in_blocks: Whether the residual blocks normalise too (paper: yes).
        padding: How convolutions see beyond the patch; zero is background in MR and water in CT.

    Attributes:
        checkpoint_activations: Keep only what lies between stages (encoder, each block, decoder) for the
            backward pass and compute the rest again there: the same gradients, less memory, more time.
    """

    def __init__(
        self,
        width: int = 32,
        residual_blocks: int = 6,
        norm: Norm = "batch",
        norm_in_blocks: bool = True,
        padding: Padding = "zeros",
    ) -> None:
        super().__init__()
        self.checkpoint_activations = False
        self.width = width
        inner = norm if norm_in_blocks else "none"
        self.stem = _convolution(1, width, norm, padding)
        self.down = _convolution(width, 2 * width, norm, padding, stride=2)
        self.blocks = nn.Sequential(*(ResidualBlock(2 * width, inner, padding) for _ in range(residual_blocks)))
        self.up = _convolution(2 * width, width, norm, padding)
        self.head = nn.Sequential(_convolution(width, width, norm, padding), conv3d(width, 1, kernel=1))

    def forward(self, mr: torch.Tensor) -> torch.Tensor:
        """(B, 1, D, H, W) MR → (B, 1, D, H, W) sCT; any size of at least 2 voxels per axis."""
        x = mr
        for stage in self.stages(mr.shape[2:]):
            x = self._run(stage, x)
        return x

    def features(self, image: torch.Tensor, names: Sequence[str]) -> dict[str, torch.Tensor]:
        """What stages of the encoder make of an image.

        Args:
            image: (B, 1, D, H, W) in network units.
            names: ``input``, ``stem``, ``down``, ``block1``, ``block2``, …

        Returns:
            Stage → (B, C, D, H, W), C as in `feature_channels`; half the size from ``down`` on.
        """
        stages: dict[str, Stage] = {"stem": self.stem, "down": self.down}
        stages |= {f"block{number}": block for number, block in enumerate(self.blocks, 1)}
        x, found = image, {"input": image}
        for name, stage in stages.items():
            if found.keys() >= set(names):
                break
            x = found[name] = self._run(stage, x)
        return {name: found[name] for name in names}

    def feature_channels(self, names: Sequence[str]) -> dict[str, int]:
        """Channels of each of `features`."""
        width = self.width
        return {name: {"input": 1, "stem": width}.get(name, 2 * width) for name in names}

    @property
    def halo(self) -> int:
        """How far a voxel sees, in evaluation mode and with nothing normalised by instance: 31 voxels by default.

        Each block sees 2 x 2 voxels (two convolutions at half resolution) on either side; stem and head 1 each,
        down- and up-sampling with their convolutions 5 together.
        """
        return 4 * len(self.blocks) + 7

    def stages(self, size: torch.Size) -> list[Stage]:
        """What a volume of that size (D, H, W) goes through, one after the other."""
        return [self._encoded, *self.blocks, partial(self._decoded, size=size)]

    def _encoded(self, mr: torch.Tensor) -> torch.Tensor:
        encoded: torch.Tensor = self.down(self.stem(mr))
        return encoded

    def _decoded(self, x: torch.Tensor, size: torch.Size) -> torch.Tensor:
        x = functional.interpolate(self.up(x), size=size, mode="trilinear", align_corners=False)
        x = self.head[0](x)
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 would round bone to steps of 8 HU
            sct: torch.Tensor = self.head[1](x.float())
        return sct

    def _run(self, stage: Stage, x: torch.Tensor) -> torch.Tensor:
        return self._checkpointed(stage, x) if self.checkpoint_activations and torch.is_grad_enabled() else stage(x)

    def _checkpointed(self, stage: Stage, x: torch.Tensor) -> torch.Tensor:
        again = frozen_statistics(self)  # the backward pass sees the batch a second time
        result: torch.Tensor = checkpoint(
            stage, x, use_reentrant=False, preserve_rng_state=False, context_fn=lambda: (nullcontext(), again)
        )
        return result


def _convolution(inputs: int, outputs: int, norm: Norm, padding: Padding, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(conv3d(inputs, outputs, stride=stride, padding_mode=padding), norm3d(norm, outputs), nn.ReLU())
