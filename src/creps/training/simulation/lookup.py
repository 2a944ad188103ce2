"""Images looked up at places between their voxels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import embedding_bag

from creps.volume import Array, Mask

__all__ = ["looked_up"]

PADDING = 4
"""Voxels around the images that have the value beyond: a place further out sees nothing else."""

FILTER = tuple((8**0.5 - 3) ** abs(k) / 0.705627 for k in range(-3, 4))
"""From values along an axis to coefficients of quadratic B-splines: the powers of the filter's pole over their sum."""

AT_ONCE = 8192
"""Places that are looked up together; their weights stay in the processor's cache."""


def looked_up(images: Sequence[Array | Mask], places: Array, beyond: Sequence[float]) -> Array:
    """The values of images at places, interpolated with quadratic B-splines.

    A cortex is as thin as a voxel, and between two voxels linear interpolation halves it: of the bone of phantom heads
    at 2 mm, 38 % are above 900 HU, linearly 31 %.

    Args:
        images: n images (d, h, w) on one grid. All share the weights of a place, so three take little longer than one.
        places: (3, D, H, W) in voxel indices of the images.
        beyond: n values outside the images.

    Returns:
        (n, D, H, W) float32, each within the range of its image and the value beyond.
    """
    padded = _padded(images, beyond)
    least, most = padded.flatten(0, 2).aminmax(dim=0)
    coefficients = _spline_coefficients(padded).flatten(0, 2)
    strides = torch.tensor(padded.stride()[:3], dtype=torch.int32)[:, None] // len(images)
    taps = torch.cartesian_prod(*[torch.arange(-1, 2, dtype=torch.int32)] * 3) @ strides[:, 0]
    where, last = torch.from_numpy(places).flatten(1), torch.tensor(images[0].shape)[:, None] + 0.49
    found = torch.empty(where.shape[1], len(images))
    for start in range(0, where.shape[1], AT_ONCE):
        part = torch.minimum(where[:, start : start + AT_ONCE].clamp(min=-1.49), last)
        nearest = part.round()
        middle = ((nearest.to(torch.int32) + PADDING) * strides).sum(0, dtype=torch.int32)
        weights = _spline_weights(part - nearest)
        found[start : start + AT_ONCE] = embedding_bag(
            middle[:, None] + taps, coefficients, mode="sum", per_sample_weights=weights
        )
    return torch.clamp(found, least, most).T.reshape(-1, *places.shape[1:]).numpy()


def _padded(images: Sequence[Array | Mask], beyond: Sequence[float]) -> torch.Tensor:
    """(d + 2p, h + 2p, w + 2p, n) float32: the values of a voxel side by side, and `PADDING` voxels around them."""
    shape = [n + 2 * PADDING for n in images[0].shape]
    padded = torch.tensor([float(value) for value in beyond]).repeat(*shape, 1)
    inner = padded.numpy()[(slice(PADDING, -PADDING),) * 3]
    for number, image in enumerate(images):
        inner[..., number] = image
    return padded


def _spline_coefficients(images: torch.Tensor) -> torch.Tensor:
    """(d, h, w, n) coefficients of quadratic B-splines through images whose rim is constant; overwrites the images."""
    reach = len(FILTER) // 2
    source, target = images, images.clone()
    for axis in range(3):
        n = images.shape[axis] - 2 * reach
        inner = target.narrow(axis, reach, n)
        torch.mul(source.narrow(axis, reach, n), FILTER[reach], out=inner)
        for start, weight in enumerate(FILTER):
            if start != reach:
                inner.add_(source.narrow(axis, start, n), alpha=weight)
        source, target = target, source
    return source


def _spline_weights(offset: torch.Tensor) -> torch.Tensor:
    """(n, 27) weights of the voxels around the nearest one, from the (3, n) offsets from that, each in [-.5, .5]."""
    d, h, w = torch.stack(((0.5 - offset).square() / 2, 0.75 - offset.square(), (0.5 + offset).square() / 2), dim=1)
    plane = (h[:, None] * w).flatten(0, 1)
    return (d[:, None] * plane).flatten(0, 1).T.contiguous()
