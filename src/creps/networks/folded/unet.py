"""The U-Net in the form that runs fastest: the same function, for inference only.

Weights are kept in the precision that they are used in, activations and sums happen in place, voxel blocks are written
where the last convolution reads them, and the median of the classes is read off class by class while a part of the
voxels stays in the processor's cache.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Protocol, cast

import torch
from torch import nn
from torch.nn import functional

from creps.networks.blocks import ChannelNorm
from creps.networks.folded.operations import convolved, doubled
from creps.networks.generator import InferenceForm
from creps.networks.hu_classes import HuClasses
from creps.networks.sub_pixel import SUB_PIXEL, to_blocks, with_mask_channel

__all__ = ["FoldedUNet"]

SLAB_VOXELS = 1 << 20
"""Voxels of full resolution finished at once."""

ROWS = 1 << 15
"""Voxels whose classes are read at a time on a CPU."""


class UNetLayers(Protocol):
    """What is folded: the layers of a `UNetGenerator`."""

    fine: int
    slope: float
    stem: nn.Conv3d
    encoder: nn.ModuleList
    down: nn.ModuleList
    up: nn.ModuleList
    decoder: nn.ModuleList
    last_norm: ChannelNorm
    spread_out: nn.Conv3d
    refine: nn.Conv3d
    classes: HuClasses | None
    head: nn.Conv3d

    @property
    def stride(self) -> int: ...


class FoldedUNet(InferenceForm):
    """`UNetGenerator` for inference; its weights are copies.

    Args:
        generator: The generator.
        dtype: Precision of everything but the head, which runs in float32 as it does in the generator.
    """

    def __init__(self, generator: UNetLayers, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype, self.fine, self.stride = dtype, generator.fine, generator.stride
        self.width = generator.stem.out_channels
        slope = generator.slope
        self.stem = _Convolution(generator.stem, dtype)
        self.encoder = nn.ModuleList(_stage(stage, slope, dtype) for stage in generator.encoder)
        self.down = nn.ModuleList(_resampling(layers, dtype) for layers in generator.down)
        self.up = nn.ModuleList(_resampling(layers, dtype) for layers in generator.up)
        self.decoder = nn.ModuleList(_Block(block, slope, dtype) for block in generator.decoder)
        self.last_norm, self.slope = _Norm(generator.last_norm, dtype), slope
        self.spread_out = _Rows(generator.spread_out, dtype, _block_by_block(generator.fine))
        self.refine = _Convolution(generator.refine, dtype)
        self.classes, self.yields_spread = copy.deepcopy(generator.classes), generator.classes is not None
        self.head = _Rows(generator.head, torch.float32)

    @torch.inference_mode()
    def forward(self, mr: torch.Tensor) -> torch.Tensor:
        """(B, 1, D, H, W) MR → (B, 1, D, H, W) sCT in float32, as the generator."""
        return self._predicted(mr, spread=False)

    @torch.inference_mode()
    def with_spread(self, mr: torch.Tensor) -> torch.Tensor:
        """(B, 1, D, H, W) MR → (B, 2, D, H, W): median and standard deviation of each voxel's distribution."""
        return self._predicted(mr, spread=True)

    def bytes_at_peak(self, voxels: int) -> int:
        """Memory in bytes of a forward pass over that many voxels, input and output included."""
        coarse = self.width * self.dtype.itemsize * 8 / SUB_PIXEL
        slab, channels = min(voxels, SLAB_VOXELS), 4 * self.fine * self.dtype.itemsize
        return int(voxels * (coarse + 2 * self.dtype.itemsize + 16) + slab * (channels + 8))

    def _predicted(self, mr: torch.Tensor, *, spread: bool) -> torch.Tensor:
        image = with_mask_channel(mr.to(self.dtype), self.stride)
        coarse, size = self._coarse(image), mr.shape[2:]
        depth = coarse.shape[2]
        step = max(1, SLAB_VOXELS // (SUB_PIXEL * coarse.shape[0] * math.prod(coarse.shape[3:])))
        found = mr.new_empty((mr.shape[0], 1 + spread, 2 * depth, *size[1:]), dtype=torch.float32)
        for first in range(0, depth, step):
            last = min(depth, first + step)
            low, high = max(0, first - 1), min(depth, last + 1)  # the last convolution sees a voxel farther
            fine = self._finished(coarse[:, :, low:high], image[:, :, 2 * low : 2 * high])
            fine = fine[:, :, 2 * (first - low) : 2 * (last - low), : size[1], : size[2]]
            found[:, :, 2 * first : 2 * last] = self._read(fine, spread=spread)
        return found[:, :, : size[0]]

    def _coarse(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 2, D, H, W) → (B, width, D/2, H/2, W/2)."""
        x = self.stem(to_blocks(image))
        skips: list[torch.Tensor] = []
        for level, stage in enumerate(self.encoder):
            x = stage(x)
            if level < len(self.down):
                skips.append(x)
                x = self.down[level](x)
        for level in reversed(range(len(self.down))):
            x = doubled(self.up[level](x), skips[level].shape[2:])
            x = self.decoder[level](x.add_(skips[level]))
        return functional.leaky_relu_(self.last_norm(x), self.slope)

    def _finished(self, coarse: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """(B, width, d, h, w) and (B, 2, 2d, 2h, 2w) of the image → (B, fine, 2d, 2h, 2w)."""
        batch, _, d, h, w = coarse.shape
        blocks = self.spread_out(_rows(coarse)).reshape(batch, d, h, w, 2, 2, 2, self.fine)
        both = blocks.new_empty((batch, 2 * d, 2 * h, 2 * w, self.fine + image.shape[1]))
        voxels = both.view(batch, d, 2, h, 2, w, 2, -1).permute(0, 1, 3, 5, 2, 4, 6, 7)
        voxels[..., : self.fine] = blocks
        both[..., self.fine :] = image.permute(0, 2, 3, 4, 1)
        return functional.leaky_relu_(self.refine(both.permute(0, 4, 1, 2, 3)), self.slope)

    def _read(self, features: torch.Tensor, *, spread: bool) -> torch.Tensor:
        """(B, fine, D, H, W) → (B, 1 or 2, D, H, W) in float32."""
        batch, _, *size = features.shape
        rows = _rows(features)
        at_once = ROWS if rows.device.type == "cpu" else len(rows)
        parts = []
        for part in rows.split(at_once):
            logits = torch.addmm(self.head.bias[:, None], self.head.weight, part.float().T)  # (classes, voxels)
            parts.append(logits if self.classes is None else self.classes.read(logits, spread=spread))
        return torch.cat(parts, dim=1).reshape(1 + spread, batch, *size).movedim(0, 1)


class _Convolution(nn.Module):
    """A convolution without bias."""

    def __init__(self, layer: nn.Conv3d, dtype: torch.dtype) -> None:
        super().__init__()
        weight = layer.weight.detach().clone().to(dtype).contiguous(memory_format=torch.channels_last_3d)
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.stride, self.padding = layer.stride, int(layer.padding[0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return convolved(x, self.weight, None, self.stride, padding=self.padding)


class _Rows(nn.Module):
    """A 1 x 1 x 1 convolution as a product of matrices: (voxels, inputs) → (voxels, outputs)."""

    def __init__(self, layer: nn.Conv3d, dtype: torch.dtype, order: Sequence[int] | None = None) -> None:
        super().__init__()
        outputs = range(layer.out_channels) if order is None else order
        weight = layer.weight.detach().flatten(1)[list(outputs)].to(dtype)
        bias = torch.zeros(len(weight)) if layer.bias is None else layer.bias.detach()[list(outputs)]
        self.weight = nn.Parameter(weight.clone(), requires_grad=False)
        self.bias = nn.Parameter(bias.clone().to(dtype), requires_grad=False)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.addmm(self.bias, rows, self.weight.T)


class _Norm(nn.Module):
    """`ChannelNorm` with its scale and offset in the precision that they are used in."""

    def __init__(self, norm: ChannelNorm, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(norm.weight.detach().to(dtype), requires_grad=False)
        self.bias = nn.Parameter(norm.bias.detach().to(dtype), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        last = x.permute(0, 2, 3, 4, 1)
        normed = functional.layer_norm(last, (len(self.weight),), self.weight, self.bias, ChannelNorm.EPSILON)
        return normed.permute(0, 4, 1, 2, 3)


class _Block(nn.Module):
    """norm - conv - LeakyReLU - conv, to which the input is added in place."""

    def __init__(self, block: nn.Module, slope: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.norm, self.slope = _Norm(cast(ChannelNorm, block.norm), dtype), slope
        self.first = _Convolution(cast(nn.Conv3d, block.first), dtype)
        self.second = _Convolution(cast(nn.Conv3d, block.second), dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = functional.leaky_relu_(self.first(self.norm(x)), self.slope)
        summed: torch.Tensor = self.second(inner).add_(x)
        return summed


def _stage(blocks: nn.Module, slope: float, dtype: torch.dtype) -> nn.Sequential:
    return nn.Sequential(*(_Block(block, slope, dtype) for block in cast(nn.Sequential, blocks)))


def _resampling(layers: nn.Module, dtype: torch.dtype) -> nn.Sequential:
    """Norm and convolution between two levels."""
    norm, convolution = cast(nn.Sequential, layers)
    return nn.Sequential(_Norm(cast(ChannelNorm, norm), dtype), _Convolution(cast(nn.Conv3d, convolution), dtype))


def _block_by_block(fine: int) -> list[int]:
    """Channels c · 8 + place in the block, ordered by place and then by c."""
    return [channel * SUB_PIXEL + place for place in range(SUB_PIXEL) for channel in range(fine)]


def _rows(x: torch.Tensor) -> torch.Tensor:
    """(B, C, D, H, W) → (voxels, C), without a copy where channels come last in memory."""
    return x.permute(0, 2, 3, 4, 1).reshape(-1, x.shape[1])
