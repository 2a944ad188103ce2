"""The residual generator in the form that runs fastest: the same function, for inference only.

Batch norm's running statistics are folded into the convolutions, activations and sums happen in place, weights
are kept in the precision they are used in, and the last convolution converts to float32 piece by piece.
"""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_weights

from creps.networks.blocks import LEAKY_SLOPE
from creps.networks.folded.operations import convolved, doubled
from creps.networks.generator import InferenceForm

__all__ = ["FoldedResidual"]

HEAD_ROWS = 1 << 16
"""Voxels that the last convolution takes to float32 at a time: they stay in the processor's cache."""


class ResidualLayers(Protocol):
    """What is folded: the layers of a `ResidualGenerator`."""

    width: int
    stem: nn.Sequential
    down: nn.Sequential
    blocks: nn.Sequential
    up: nn.Sequential
    head: nn.Sequential


class FoldedResidual(InferenceForm):
    """`ResidualGenerator` in evaluation mode with its norms folded in; its weights are copies.

    Args:
        generator: The generator to fold, with batch norm or none.
        dtype: Precision of everything but the last convolution, which runs in float32 as it does in the generator.

    Attributes:
        dtype: As given.
        width: Channels at full resolution.

    Raises:
        TypeError: instance norm, whose statistics are those of each input.
    """

    def __init__(self, generator: ResidualLayers, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype, self.width = dtype, generator.width
        whole, last = cast(nn.Sequential, generator.head[0]), generator.head[1]
        self.stem = _Convolution(generator.stem, dtype)
        self.down = _Convolution(generator.down, dtype)
        self.blocks = nn.ModuleList(_Block(block, dtype) for block in generator.blocks)
        self.up = _Convolution(generator.up, dtype)
        self.head = _Convolution(whole, dtype)
        self.last = nn.Parameter(
            cast(torch.Tensor, last.weight).detach().float().reshape(-1, 1).clone(), requires_grad=False
        )

    @torch.inference_mode()
    def forward(self, mr: torch.Tensor) -> torch.Tensor:
        """(B, 1, D, H, W) MR → (B, 1, D, H, W) sCT in float32, as the generator in evaluation mode."""
        size = mr.shape[2:]
        x = self.down(self.stem(mr.to(self.dtype, memory_format=torch.channels_last_3d)))
        for block in self.blocks:
            x = block(x)
        x = doubled(self.up(x), size)
        return self._sct(self.head(x))

    def bytes_at_peak(self, voxels: int) -> int:
        """Memory in bytes of a forward pass over that many voxels, input and output included.

        It peaks at the last 3 x 3 x 3 convolution, whose input and output are two full-resolution maps of `width`
        channels; the MR is held beside them in float32 and in `dtype`.
        """
        return voxels * (2 * self.width * self.dtype.itemsize + 4 + self.dtype.itemsize)

    def _sct(self, x: torch.Tensor) -> torch.Tensor:
        """The 1 x 1 x 1 convolution in float32: bfloat16 would round bone to steps of 8 HU."""
        batch, channels, *size = x.shape
        rows = x.permute(0, 2, 3, 4, 1).reshape(-1, channels)
        sct = rows.new_empty((len(rows), 1), dtype=torch.float32)
        for first in range(0, len(rows), HEAD_ROWS):
            torch.mm(rows[first : first + HEAD_ROWS].float(), self.last, out=sct[first : first + HEAD_ROWS])
        return sct.reshape(batch, 1, *size)


class _Block(nn.Module):
    """A residual block, its input added in place."""

    def __init__(self, block: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        layers = cast(nn.Sequential, block.layers)
        self.first, self.second = _Convolution(layers[:3], dtype), _Convolution(layers[3:], dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        summed: torch.Tensor = self.second(self.first(x)).add_(x)
        return summed


class _Convolution(nn.Module):
    """conv - norm - activation (if there is one), the norm folded in, the activation in place."""

    def __init__(self, layers: nn.Sequential, dtype: torch.dtype) -> None:
        super().__init__()
        convolution, norm = layers[0], layers[1]
        if not isinstance(convolution, nn.Conv3d):
            raise TypeError(f"a convolution was expected, not {type(convolution).__name__}")
        weight, bias = convolution.weight.detach(), None
        if isinstance(norm, nn.BatchNorm3d):
            if norm.running_mean is None or norm.running_var is None:
                raise ValueError("batch norm without running statistics cannot be folded")
            weight, bias = fuse_conv_bn_weights(
                weight, None, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
            )
            bias = nn.Parameter(bias.detach().to(dtype), requires_grad=False)
        elif not isinstance(norm, nn.Identity):
            raise TypeError(f"{type(norm).__name__} cannot be folded into a convolution")
        weight = weight.detach().clone().to(dtype).contiguous(memory_format=torch.channels_last_3d)
        self.weight, self.bias = nn.Parameter(weight, requires_grad=False), bias
        self.stride = convolution.stride
        self.slope = {nn.ReLU: 0.0, nn.LeakyReLU: LEAKY_SLOPE}.get(type(layers[-1]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = convolved(x, self.weight, self.bias, self.stride, padding=1)
        if self.slope is None:
            return x
        return functional.leaky_relu_(x, self.slope) if self.slope else x.relu_()
