"""What the fast forms of generators compute with."""

from __future__ import annotations

import torch
from torch.nn import functional

__all__ = ["convolved", "doubled"]


def convolved(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, stride: tuple[int, ...], *, padding: int
) -> torch.Tensor:
    """A convolution, zero-padded.

    On a CPU oneDNN is called by name: left to choose, torch runs a single small float32 patch through a loop that is
    eight times slower (observed with torch 2.14). oneDNN refuses bfloat16 on a CPU without AVX-512.
    """
    if x.device.type == "cpu" and _onednn_convolves(x.dtype):
        return torch.mkldnn_convolution(x, weight, bias, (padding,) * 3, stride, (1, 1, 1), 1)
    return functional.conv3d(x, weight, bias, stride, padding)


def _onednn_convolves(dtype: torch.dtype) -> bool:
    """Whether oneDNN can be called by name and convolves that type on this CPU; the names are undocumented."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch, "mkldnn_convolution"):
        return False
    if dtype == torch.float32:
        return True
    supports_bf16 = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return dtype == torch.bfloat16 and supports_bf16 is not None and bool(supports_bf16())


def doubled(x: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """Trilinear up-sampling to `size`; where that is exactly double, depth first and then planes: the same, faster."""
    if tuple(size) != tuple(2 * n for n in x.shape[2:]):
        return functional.interpolate(x, size=tuple(size), mode="trilinear", align_corners=False)
    batch, channels, depth, height, width = x.shape
    deep = x.new_empty((batch, 2 * depth, height, width, channels)).permute(0, 4, 1, 2, 3)
    before = torch.cat([x[:, :, :1], x[:, :, :-1]], dim=2)
    after = torch.cat([x[:, :, 1:], x[:, :, -1:]], dim=2)
    torch.lerp(x, before, 0.25, out=deep[:, :, 0::2])
    torch.lerp(x, after, 0.25, out=deep[:, :, 1::2])
    planes = deep.permute(0, 2, 1, 3, 4).reshape(batch * 2 * depth, channels, height, width)
    planes = functional.interpolate(planes, size=tuple(size[1:]), mode="bilinear", align_corners=False)
    return planes.reshape(batch, 2 * depth, channels, *size[1:]).permute(0, 2, 1, 3, 4)
