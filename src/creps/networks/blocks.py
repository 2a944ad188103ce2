"""Building blocks that generators and discriminators share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional

from creps.settings.choices import Norm

__all__ = ["LEAKY_SLOPE", "ChannelNorm", "conv3d", "frozen_statistics", "has_statistics", "norm3d"]

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)

LEAKY_SLOPE = 0.2
"""LeakyReLU slope of the residual blocks and of the discriminator (section 2.2, cGAN)."""


def norm3d(kind: Norm, channels: int) -> nn.Module:
    """A normalisation layer over (B, channels, D, H, W); `none` passes its input on."""
    if kind == "batch":
        return nn.BatchNorm3d(channels)
    if kind == "instance":
        return nn.InstanceNorm3d(channels, affine=True)
    return nn.Identity()


class ChannelNorm(nn.Module):
    """Normalises each voxel of (B, C, D, H, W) over its channels, with a learned scale and offset.

    Nothing depends on other voxels or other images: training and synthesis compute the same, whatever the patch. (The
    layer norm of ConvNeXt, Liu et al. 2022.)
    """

    EPSILON = 1e-4
    """Added to the variance; bfloat16 needs more than float32."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, D, H, W) → the same shape."""
        last = x.permute(0, 2, 3, 4, 1)
        scale, offset = self.weight.to(x.dtype), self.bias.to(x.dtype)
        normed = functional.layer_norm(last, (len(self.weight),), scale, offset, self.EPSILON)
        return normed.permute(0, 4, 1, 2, 3)


class _Conv3d(nn.Conv3d):
    """A convolution whose weight gradient is right for few slices, too.

    oneDNN (torch 2.14, CPUs with AVX-512 bfloat16 units) returns wrong, even infinite gradients for a padded bfloat16
    convolution of stride 1 with no more slices than the kernel has. These few voxels are computed in float32.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  # torch's name
        """(B, C, D, H, W) → (B, outputs, d, h, w)."""
        trains = input.device.type == "cpu" and torch.is_grad_enabled() and torch.is_autocast_enabled("cpu")
        kernel = self.kernel_size[0]
        if not (trains and kernel > 1 and self.stride[0] == 1 and input.shape[2] <= kernel):
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.float()).to(torch.get_autocast_dtype("cpu"))


def conv3d(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> nn.Conv3d:
    """A zero-padded convolution without bias: the paper uses none anywhere (section 2.2, cGAN)."""
    return _Conv3d(inputs, outputs, kernel, stride, padding=1 if kernel > 1 else 0, bias=False)


def has_statistics(network: nn.Module) -> bool:
    """Whether batch norm follows what passes through a network."""
    return any(isinstance(module, BATCH_NORMS) for module in network.modules())


@contextmanager
def frozen_statistics(network: nn.Module) -> Iterator[None]:
    """Leave batch norm's running statistics unchanged while the same batch passes through a second time."""
    norms = [module for module in network.modules() if isinstance(module, BATCH_NORMS)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
