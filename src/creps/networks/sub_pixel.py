"""Between full and half resolution: blocks of 2 x 2 x 2 voxels as channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

__all__ = ["SUB_PIXEL", "from_blocks", "to_blocks", "with_mask_channel"]

SUB_PIXEL = 8
"""Voxels of full resolution in one of half resolution."""


def with_mask_channel(mr: torch.Tensor, multiple: int) -> torch.Tensor:
    """(B, 1, D, H, W) → (B, 2, …): the image and ones where it is; zeros fill each axis up to a multiple."""
    ends: Sequence[int] = [-n % multiple for n in mr.shape[2:]]
    both = torch.cat([mr, torch.ones_like(mr)], dim=1)
    return functional.pad(both, (0, ends[2], 0, ends[1], 0, ends[0]))


def to_blocks(x: torch.Tensor) -> torch.Tensor:
    """(B, c, 2d, 2h, 2w) → (B, 8c, d, h, w): blocks of 2 x 2 x 2 voxels become channels."""
    b, c, d, h, w = x.shape
    blocks = x.reshape(b, c, d // 2, 2, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 7, 2, 4, 6)
    return blocks.reshape(b, SUB_PIXEL * c, d // 2, h // 2, w // 2).contiguous(memory_format=torch.channels_last_3d)


def from_blocks(x: torch.Tensor) -> torch.Tensor:
    """(B, 8c, d, h, w) → (B, c, 2d, 2h, 2w): the inverse of `to_blocks`."""
    b, channels, d, h, w = x.shape
    c = channels // SUB_PIXEL
    blocks = x.reshape(b, c, 2, 2, 2, d, h, w).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return blocks.reshape(b, c, 2 * d, 2 * h, 2 * w)
