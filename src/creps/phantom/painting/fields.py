"""Smooth random fields, defined in mm so that they do not depend on the voxel grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from creps.volume import Array

__all__ = ["HEAD_HALF_BOX_MM", "Axes", "HalfBox", "gaussian_noise", "smooth_field", "smoothstep"]

Axes = Sequence[npt.NDArray[np.float64]]
"""Coordinates (mm) of the samples along each axis of an array."""

HalfBox = tuple[float, float, float]
"""Half size (mm) along D, H, W of the box around the origin that random fields cover."""

HEAD_HALF_BOX_MM: HalfBox = (168.0, 168.0, 168.0)
"""The box of the head."""

_SPLINE_SD = 0.48**0.5
"""Standard deviation that a cubic B-spline leaves of white nodes, per axis (0.46 to 0.5)."""


def smooth_field(
    rng: np.random.Generator, axes: Axes, length_mm: float, half_box_mm: HalfBox = HEAD_HALF_BOX_MM
) -> Array:
    """A stationary Gaussian field of about unit variance on an axis-parallel grid.

    Random nodes `length_mm` apart, joined by cubic B-splines. The nodes are drawn before the grid
    matters, so the same generator state gives the same field at any resolution.

    Args:
        rng: Source of the nodes.
        axes: Three sorted coordinate vectors (mm), in array order.
        length_mm: Distance of the nodes.
        half_box_mm: What the nodes cover; the field is constant beyond.

    Returns:
        (len(axes[0]), len(axes[1]), len(axes[2])), float32.
    """
    counts = [int(np.ceil(2 * half / length_mm)) + 4 for half in half_box_mm]
    nodes = rng.standard_normal(counts, dtype=np.float32)
    depth, rows, columns = (
        _spline_weights(axis, length_mm, half, count)
        for axis, half, count in zip(axes, half_box_mm, counts, strict=True)
    )
    field = np.tensordot(depth, nodes, axes=(1, 0))
    field = np.matmul(rows, field)
    field = np.matmul(field, columns.T)
    return np.asarray(field, dtype=np.float32)


def _spline_weights(positions: npt.NDArray[np.float64], length_mm: float, half_mm: float, count: int) -> Array:
    """(len(positions), count) cubic B-spline weights, scaled to unit variance."""
    place = (np.clip(positions, -half_mm, half_mm) + half_mm) / length_mm + 1.0
    distance = np.abs(place[:, None] - np.arange(count)[None, :])
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.asarray(np.where(distance < 1, near, far) / _SPLINE_SD, dtype=np.float32)


def gaussian_noise(rng: np.random.Generator, shape: tuple[int, int, int], blur_voxels: float) -> Array:
    """Unit-variance noise correlated over `blur_voxels` in the last two axes (a reconstruction kernel)."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    if blur_voxels <= 0:
        return noise
    reach = int(np.ceil(3 * blur_voxels))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / blur_voxels) ** 2).astype(np.float32)
    kernel /= np.sqrt(np.sum(kernel**2))
    for axis in (1, 2):
        noise = _convolve(noise, kernel, axis)
    return noise


def _convolve(array: Array, kernel: Array, axis: int) -> Array:
    """Periodic convolution along one axis, so the variance is the same up to the border."""
    from scipy import ndimage

    return np.asarray(ndimage.convolve1d(array, kernel, axis=axis, mode="wrap"), dtype=np.float32)


def smoothstep(values: Array, low: float, high: float) -> Array:
    """0 below `low`, 1 above `high` (or the other way round if `low > high`), smooth between."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)
