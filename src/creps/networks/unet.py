"""A residual U-Net with a head over classes of HU (not in the paper): more view for the same work."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from creps.networks.blocks import conv3d, norm3d
from creps.networks.generator import Generator
from creps.networks.hu_classes import HuClasses
from creps.settings.choices import Norm

__all__ = ["UNetGenerator"]

KERNEL = 3

SUB_PIXEL = 8
"""Voxels of full resolution in one of half resolution."""


class UNetGenerator(Generator):
    """A residual U-Net whose first level is at half resolution.

    The image enters as blocks of 2 x 2 x 2 voxels and leaves in the same way, so nearly all of the work is done at half
    resolution and below; a last pair of convolutions at full resolution sees the image once more. With classes, every
    voxel gets a distribution over HU (`HuClasses`); its median is the sCT. Without, the sCT is regressed.

    Args:
        width: Channels at half resolution; twice as many at each further level.
        levels: Resolutions, half resolution included.
        blocks: Residual blocks at each level of the encoder; the decoder has one.
        norm: Normalisation after each convolution but the last.
        classes: Whether the head tells a distribution over HU.
    """

    def __init__(
        self, width: int = 32, levels: int = 4, blocks: int = 1, norm: Norm = "instance", *, classes: bool = True
    ) -> None:
        super().__init__()
        self.levels = levels
        self.width = max(16, width // 2)
        widths = [width * 2**level for level in range(levels)]
        self.stem = nn.Sequential(conv3d(SUB_PIXEL, width), norm3d(norm, width), nn.LeakyReLU(0.01))
        self.encoder, self.down = nn.ModuleList(), nn.ModuleList()
        self.up, self.decoder = nn.ModuleList(), nn.ModuleList()
        for level, channels in enumerate(widths):
            self.encoder.append(nn.Sequential(*(_Block(channels, norm) for _ in range(blocks))))
            if level + 1 < levels:
                deeper = widths[level + 1]
                self.down.append(nn.Sequential(conv3d(channels, deeper, stride=2), norm3d(norm, deeper)))
                self.up.append(nn.Sequential(conv3d(deeper, channels, kernel=1), norm3d(norm, channels)))
                self.decoder.append(_Block(channels, norm))
        fine = self.width
        self.spread_out = nn.Conv3d(width, SUB_PIXEL * fine, 1)
        self.refine = nn.Sequential(conv3d(fine + 1, fine), norm3d(norm, fine), nn.LeakyReLU(0.01))
        self.classes = HuClasses() if classes else None
        self.head = nn.Conv3d(fine, len(self.classes) if self.classes is not None else 1, 1)

    def logits(self, mr: torch.Tensor) -> torch.Tensor:
        """(B, 1, D, H, W) → (B, classes, D, H, W) in float32; one channel without classes."""
        size = mr.shape[2:]
        padded = _padded(mr, 2**self.levels)
        x = self.stem(_to_blocks(padded))
        skips: list[torch.Tensor] = []
        for level, stage in enumerate(self.encoder):
            x = _safely(stage, x)
            if level + 1 < self.levels:
                skips.append(x)
                x = _safely(self.down[level], x)
        for level in reversed(range(self.levels - 1)):
            skip = skips[level]
            x = functional.interpolate(self.up[level](x), size=skip.shape[2:], mode="trilinear", align_corners=False)
            x = _safely(self.decoder[level], x + skip)
        fine = torch.cat([_from_blocks(self.spread_out(x)), padded.to(x.dtype)], dim=1)
        fine = self.refine(fine)[..., : size[0], : size[1], : size[2]]
        with torch.autocast(fine.device.type, enabled=False):  # bfloat16 would round bone to steps of 8 HU
            told: torch.Tensor = self.head(fine.float())
        return told

    def forward(self, mr: torch.Tensor) -> torch.Tensor:
        """(B, 1, D, H, W) MR → (B, 1, D, H, W) sCT, both in network units; any size."""
        told = self.logits(mr)
        return told if self.classes is None else self.classes.median(told)

    def distance(self, mr: torch.Tensor, ct: torch.Tensor) -> torch.Tensor:
        """With classes, half the cross entropy to softly assigned classes and half the L1 of the mean."""
        if self.classes is None:
            return super().distance(mr, ct)
        told = self.logits(mr)
        return 0.5 * self.classes.cross_entropy(told, ct) + 0.5 * (self.classes.mean(told) - ct).abs().mean()

    def spread(self, mr: torch.Tensor) -> torch.Tensor | None:
        """Standard deviation of each voxel's distribution, (B, 1, D, H, W) in network units; None without classes."""
        return None if self.classes is None else self.classes.deviation(self.logits(mr))


class _Block(nn.Module):
    """conv - norm - LeakyReLU - conv - norm, added to the input, LeakyReLU."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            conv3d(channels, channels),
            norm3d(norm, channels),
            nn.LeakyReLU(0.01),
            conv3d(channels, channels),
            norm3d(norm, channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, D, H, W) → the same shape."""
        return functional.leaky_relu(x + self.layers(x), 0.01)


def _safely(stage: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Run a stage; in float32 where the CPU's bfloat16 weight gradient reads uninitialised memory.

    That is so for 3-D convolutions whose kernel is deeper than their input (torch 2.14, seen as NaN).
    """
    if x.device.type == "cpu" and min(x.shape[2:]) < KERNEL:
        with torch.autocast("cpu", enabled=False):
            x = stage(x.float())
    else:
        x = stage(x)
    return x


def _padded(mr: torch.Tensor, multiple: int) -> torch.Tensor:
    """Zeros at the far ends, up to a multiple of `multiple` along each axis."""
    ends: Sequence[int] = [-n % multiple for n in mr.shape[2:]]
    return functional.pad(mr, (0, ends[2], 0, ends[1], 0, ends[0]))


def _to_blocks(x: torch.Tensor) -> torch.Tensor:
    """(B, 1, 2d, 2h, 2w) → (B, 8, d, h, w): blocks of 2 x 2 x 2 voxels become channels."""
    b, _, d, h, w = x.shape
    blocks = x.reshape(b, d // 2, 2, h // 2, 2, w // 2, 2).permute(0, 2, 4, 6, 1, 3, 5)
    return blocks.reshape(b, SUB_PIXEL, d // 2, h // 2, w // 2)


def _from_blocks(x: torch.Tensor) -> torch.Tensor:
    """(B, 8c, d, h, w) → (B, c, 2d, 2h, 2w); the inverse of `_to_blocks` for c = 1."""
    b, channels, d, h, w = x.shape
    c = channels // SUB_PIXEL
    blocks = x.reshape(b, c, 2, 2, 2, d, h, w).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return blocks.reshape(b, c, 2 * d, 2 * h, 2 * w)
