"""The image metrics of the SynthRAD challenges. Arrays are (D, H, W) in HU.

SynthRAD2023: Huijben et al. 2024, Med Image Anal 97:103276 (range [-1024, 3000], L = 4024). SynthRAD2025: both images
set to -1024 outside the mask first; L is 4095 in the official container and 4024 in another official repository.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.metrics import structural_similarity

from creps.metrics.image import HU, check_comparable, mean_absolute_error_hu, psnr_db
from creps.volume import Mask

__all__ = [
    "RANGE_4024_HU",
    "RANGE_4095_HU",
    "synthrad2023_mae_hu",
    "synthrad2023_psnr_db",
    "synthrad2023_ssim",
    "synthrad2025_mae_hu",
    "synthrad2025_ms_ssim",
    "synthrad2025_psnr_db",
]

Float64 = npt.NDArray[np.float64]

RANGE_4024_HU = (-1024.0, 3000.0)
"""L = 4024: SynthRAD2023, and one of the repositories of SynthRAD2025."""

RANGE_4095_HU = (-1024.0, 3071.0)
"""L = 4095: the official container of SynthRAD2025."""

WINDOW = 7
"""Edge of the uniform window of SSIM in voxels."""

MARGIN = WINDOW // 2
"""Voxels along each face whose window leaves the image."""

K1, K2 = 0.01, 0.03

SMALLEST_SIDE = 97
"""Shorter sides are padded to this, so that a voxel is left at the fifth level."""

LEVEL_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def synthrad2023_mae_hu(ct_hu: HU, sct_hu: HU, mask: Mask) -> float:
    """Return the mean of |sct - ct| in HU over the mask, without clipping.

    Args:
        ct_hu: The true CT in HU, (D, H, W).
        sct_hu: The synthetic CT in HU, (D, H, W).
        mask: The voxels to score, boolean, (D, H, W).

    Raises:
        ValueError: they cannot be compared (see `check_comparable`).

    Examples:
        >>> ct, sct = np.full((16, 16, 16), 40.0), np.full((16, 16, 16), 50.0)
        >>> mask = np.ones(ct.shape, dtype=bool)
        >>> synthrad2023_mae_hu(ct, sct, mask)
        10.0
    """
    return mean_absolute_error_hu(ct_hu, sct_hu, mask)


def synthrad2023_psnr_db(ct_hu: HU, sct_hu: HU, mask: Mask) -> float:
    """Return 10·log10(L² / MSE) in dB over the mask, both clipped to [-1024, 3000] HU, L = 4024.

    Args:
        ct_hu: The true CT in HU, (D, H, W).
        sct_hu: The synthetic CT in HU, (D, H, W).
        mask: The voxels to score, boolean, (D, H, W).

    Raises:
        ValueError: they cannot be compared (see `check_comparable`), or both are equal in the mask.

    Examples:
        >>> ct, sct = np.full((16, 16, 16), 40.0), np.full((16, 16, 16), 50.0)
        >>> mask = np.ones(ct.shape, dtype=bool)
        >>> round(synthrad2023_psnr_db(ct, sct, mask), 2)
        52.09
    """
    return psnr_db(ct_hu, sct_hu, mask, RANGE_4024_HU)


def synthrad2023_ssim(ct_hu: HU, sct_hu: HU, mask: Mask) -> float:
    """Return the mean over the mask of the 3-D SSIM with a uniform window of 7³ voxels.

    Both images are clipped to [-1024, 3000] HU, set to -1024 outside the mask and shifted by 1024; K1 = 0.01,
    K2 = 0.03, sample covariance, L = 4024. The three voxels along each face of the image are ignored.

    Args:
        ct_hu: The true CT in HU, (D, H, W).
        sct_hu: The synthetic CT in HU, (D, H, W).
        mask: The voxels to score, boolean, (D, H, W).

    Raises:
        ValueError: they cannot be compared (see `check_comparable`), a side is shorter than the window, or no
            voxel of the mask is left.

    Examples:
        >>> ct, sct = np.full((16, 16, 16), 40.0), np.full((16, 16, 16), 50.0)
        >>> mask = np.ones(ct.shape, dtype=bool)
        >>> round(synthrad2023_ssim(ct, sct, mask), 4)
        1.0
    """
    check_comparable(ct_hu, sct_hu, mask)
    if min(mask.shape) < WINDOW:
        raise ValueError(f"SSIM needs {WINDOW} voxels along every axis; the images have {_sides(mask)}")
    box = _mask_box(mask)
    inside = mask[box]
    ct, sct = (_masked(array[box], inside, RANGE_4024_HU) for array in (ct_hu, sct_hu))
    low, high = RANGE_4024_HU
    _, similarity = structural_similarity(ct, sct, win_size=WINDOW, data_range=high - low, full=True)
    counted = _cropped(inside)
    if not counted.any():
        raise ValueError(f"no voxel of the mask is more than {MARGIN} voxels from the faces of the image")
    return float(_cropped(similarity)[counted].mean())


def synthrad2025_mae_hu(ct_hu: HU, sct_hu: HU, mask: Mask) -> float:
    """Return the mean of |sct - ct| in HU over the mask, without clipping: equal to SynthRAD2023's.

    Args:
        ct_hu: The true CT in HU, (D, H, W).
        sct_hu: The synthetic CT in HU, (D, H, W).
        mask: The voxels to score, boolean, (D, H, W).

    Raises:
        ValueError: they cannot be compared (see `check_comparable`).

    Examples:
        >>> ct, sct = np.full((16, 16, 16), 40.0), np.full((16, 16, 16), 50.0)
        >>> mask = np.ones(ct.shape, dtype=bool)
        >>> synthrad2025_mae_hu(ct, sct, mask)
        10.0
    """
    return mean_absolute_error_hu(ct_hu, sct_hu, mask)


def synthrad2025_psnr_db(ct_hu: HU, sct_hu: HU, mask: Mask, range_hu: tuple[float, float] = RANGE_4095_HU) -> float:
    """Return 10·log10(L² / MSE) in dB over the mask, both clipped to a range of width L.

    Args:
        ct_hu: The true CT in HU, (D, H, W).
        sct_hu: The synthetic CT in HU, (D, H, W).
        mask: The voxels to score, boolean, (D, H, W).
        range_hu: Lower and upper end of the range.

    Raises:
        ValueError: they cannot be compared (see `check_comparable`), or both are equal in the mask.

    Examples:
        >>> ct, sct = np.full((16, 16, 16), 40.0), np.full((16, 16, 16), 50.0)
        >>> mask = np.ones(ct.shape, dtype=bool)
        >>> round(synthrad2025_psnr_db(ct, sct, mask), 2)
        52.25
    """
    return psnr_db(ct_hu, sct_hu, mask, range_hu)


def synthrad2025_ms_ssim(ct_hu: HU, sct_hu: HU, mask: Mask, range_hu: tuple[float, float] = RANGE_4095_HU) -> float:
    """Return the challenge's multi-scale SSIM over the mask.

    It is the product of five levels, each the mean over the mask of (luminance · contrast · structure)^weight. Unlike
    in Wang et al. 2003, luminance counts at every level, as in the challenge's code. Sides shorter than 97 are padded
    with their edge values; the three voxels along each face of a level are ignored.

    Args:
        ct_hu: The true CT in HU, (D, H, W).
        sct_hu: The synthetic CT in HU, (D, H, W).
        mask: The voxels to score, boolean, (D, H, W).
        range_hu: Both are clipped to this range; its width is L.

    Raises:
        ValueError: they cannot be compared (see `check_comparable`), or no voxel of the mask is left at a level.

    Examples:
        >>> ct, sct = np.full((16, 16, 16), 40.0), np.full((16, 16, 16), 50.0)
        >>> mask = np.ones(ct.shape, dtype=bool)
        >>> round(synthrad2025_ms_ssim(ct, sct, mask), 3)
        1.0
    """
    check_comparable(ct_hu, sct_hu, mask)
    pad = [((SMALLEST_SIDE - n) // 2, SMALLEST_SIDE - n - (SMALLEST_SIDE - n) // 2) if n < SMALLEST_SIDE else (0, 0)
           for n in mask.shape]  # fmt: skip
    x, y = (np.pad(_masked(array, mask, range_hu), pad, mode="edge") for array in (ct_hu, sct_hu))
    inside = np.pad(mask, pad, mode="edge")
    result = 1.0
    for level, weight in enumerate(LEVEL_WEIGHTS, start=1):
        counted = _cropped(inside)
        if not counted.any():
            raise ValueError(
                f"MS-SSIM cannot be computed: the mask is so small, or so near the faces of the image, that no voxel"
                f" of it is left at level {level} of {len(LEVEL_WEIGHTS)}"
            )
        similarity = _cropped(_level(x, y, range_hu[1] - range_hu[0]))
        result *= float(np.clip(np.mean(similarity[counted] ** weight), 0, 1))
        if level < len(LEVEL_WEIGHTS):
            x, y, inside = _halved(x), _halved(y), inside[::2, ::2, ::2]
    return result


def _level(x: Float64, y: Float64, width: float) -> Float64:
    """Luminance · contrast · structure, each at least 0, (D, H, W)."""
    c1, c2 = (K1 * width) ** 2, (K2 * width) ** 2
    sample = WINDOW**3 / (WINDOW**3 - 1)
    mean_x, mean_y = _window_mean(x), _window_mean(y)
    variance_x = sample * (_window_mean(x * x) - mean_x * mean_x)
    variance_y = sample * (_window_mean(y * y) - mean_y * mean_y)
    covariance = sample * (_window_mean(x * y) - mean_x * mean_y)
    variance_x, variance_y = np.maximum(variance_x, 0), np.maximum(variance_y, 0)  # rounding goes below 0
    deviations = np.sqrt(variance_x * variance_y)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    contrast = (2 * deviations + c2) / (variance_x + variance_y + c2)
    structure = (covariance + c2 / 2) / (deviations + c2 / 2)
    return np.maximum(luminance, 0) * np.maximum(contrast, 0) * np.maximum(structure, 0)


def _window_mean(array: Float64) -> Float64:
    return np.asarray(ndimage.uniform_filter(array, WINDOW))


def _halved(array: Float64) -> Float64:
    """Every second voxel of the mean over the voxel and its predecessors (2³), padded with 0.

    This is the challenge's convolution with 2³ ones / 8 in mode "same", followed by ``[::2, ::2, ::2]``.
    """
    for axis in range(3):
        along = np.moveaxis(array, axis, 0)
        means = along[::2] / 2
        means[1:] += along[1:-1:2] / 2
        array = np.moveaxis(means, 0, axis)
    return array


def _masked(array_hu: HU, mask: Mask, range_hu: tuple[float, float]) -> Float64:
    """Clip, set to the lowest value outside the mask, and shift so that the lowest value is 0."""
    low, high = range_hu
    return np.where(mask, np.clip(array_hu.astype(np.float64), low, high), low) - low


def _mask_box(mask: Mask) -> tuple[slice, ...]:
    """The mask's bounding box with the margin that its windows need, at least a window wide."""
    (found,) = ndimage.find_objects(mask.astype(np.uint8))
    box = []
    for part, length in zip(found, mask.shape, strict=True):
        first, end = max(0, part.start - MARGIN), min(length, part.stop + MARGIN)
        box.append(slice(first, end) if end - first >= WINDOW else slice(0, length))
    return tuple(box)


def _cropped(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array without `MARGIN` voxels along each face."""
    return array[MARGIN:-MARGIN, MARGIN:-MARGIN, MARGIN:-MARGIN]


def _sides(mask: Mask) -> str:
    return " x ".join(map(str, mask.shape))
