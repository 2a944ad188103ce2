"""Agreement of HU values. Arrays are (D, H, W)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from creps import hu
from creps.volume import Mask

__all__ = [
    "HU",
    "check_comparable",
    "edge_sharpness",
    "histogram_distance_hu",
    "mean_absolute_error_hu",
    "mean_error_hu",
    "psnr_db",
]

HU = npt.NDArray[np.floating]
"""An image in HU, (D, H, W)."""


def mean_absolute_error_hu(ct_hu: HU, sct_hu: HU, mask: Mask) -> float:
    """Return the mean of |sct - ct| in HU over the mask, without clipping (SynthRAD2023).

    Args:
        ct_hu: The true CT in HU, (D, H, W).
        sct_hu: The synthetic CT in HU, (D, H, W).
        mask: The voxels to score, boolean, (D, H, W).

    Raises:
        ValueError: they cannot be compared (see `check_comparable`).

    Examples:
        >>> ct = np.array([[[0.0, 0.0, 40.0, 1000.0]]])
        >>> sct = np.array([[[500.0, 10.0, 20.0, 1030.0]]])
        >>> mask = np.array([[[False, True, True, True]]])
        >>> mean_absolute_error_hu(ct, sct, mask)
        20.0
    """
    return float(np.abs(_difference(ct_hu, sct_hu, mask)).mean())


def mean_error_hu(ct_hu: HU, sct_hu: HU, mask: Mask) -> float:
    """Return the mean of sct - ct in HU over the mask: the bias, negative if the sCT is too low.

    Args:
        ct_hu: The true CT in HU, (D, H, W).
        sct_hu: The synthetic CT in HU, (D, H, W).
        mask: The voxels to score, boolean, (D, H, W).

    Raises:
        ValueError: they cannot be compared (see `check_comparable`).

    Examples:
        >>> ct = np.array([[[0.0, 40.0, 1000.0]]])
        >>> mean_error_hu(ct, ct - 15, ct > -1)
        -15.0
    """
    return float(_difference(ct_hu, sct_hu, mask).mean())


def psnr_db(ct_hu: HU, sct_hu: HU, mask: Mask, range_hu: tuple[float, float]) -> float:
    """Return 10·log10(L² / MSE) in dB over the mask, both clipped to a range of width L (SynthRAD2023, SynthRAD2025).

    Args:
        ct_hu: The true CT in HU, (D, H, W).
        sct_hu: The synthetic CT in HU, (D, H, W).
        mask: The voxels to score, boolean, (D, H, W).
        range_hu: Lower and upper end of the range.

    Raises:
        ValueError: they cannot be compared (see `check_comparable`), or both are equal and the ratio is infinite.

    Examples:
        >>> ct = np.zeros((2, 3, 4))
        >>> psnr_db(ct, ct + 100, ct == 0, (-1000.0, 9000.0))
        40.0
    """
    check_comparable(ct_hu, sct_hu, mask)
    low, high = range_hu
    inside = [np.clip(array[mask].astype(np.float64), low, high) for array in (ct_hu, sct_hu)]
    squared_error = float(np.mean((inside[1] - inside[0]) ** 2))
    if squared_error == 0:
        raise ValueError("both images are equal inside the mask: the signal-to-noise ratio is infinite")
    return float(10 * np.log10((high - low) ** 2 / squared_error))


def histogram_distance_hu(ct_hu: HU, sct_hu: HU, mask: Mask) -> float:
    """Return the 1-D Wasserstein distance in HU of the two histograms inside the mask.

    It is how far HU values must move on average to turn one histogram into the other, wherever the voxels are. Both
    histograms have the same number of voxels, so it is the mean distance of the sorted values.

    Args:
        ct_hu: The true CT in HU, (D, H, W).
        sct_hu: The synthetic CT in HU, (D, H, W).
        mask: The voxels to score, boolean, (D, H, W).

    Raises:
        ValueError: they cannot be compared (see `check_comparable`).

    Examples:
        Exchanged voxels have the same histogram; an offset moves it.

        >>> ct = np.array([[[0.0, 40.0, 1000.0]]])
        >>> histogram_distance_hu(ct, ct[..., ::-1], ct > -1)
        0.0
        >>> histogram_distance_hu(ct, ct + 7, ct > -1)
        7.0
    """
    check_comparable(ct_hu, sct_hu, mask)
    ct, sct = (np.sort(array[mask]).astype(np.float64) for array in (ct_hu, sct_hu))
    return float(np.abs(sct - ct).mean())


def edge_sharpness(ct_hu: HU, sct_hu: HU, mask: Mask, spacing_mm: Sequence[float]) -> float:
    """Return the mean gradient magnitude of the sCT at the CT's bone and air edges, relative to the CT's own.

    The edges are the voxels of the mask with a face neighbour on the other side of `hu.BONE_ABOVE` or
    `hu.AIR_BELOW` in the CT. Gradients are central differences in HU/mm. The ratio is 1 if the sCT is as sharp as the
    CT and 0 if it is flat; a misplaced edge counts as blurred.

    Args:
        ct_hu: The true CT in HU, (D, H, W).
        sct_hu: The synthetic CT in HU, (D, H, W).
        mask: The voxels to score, boolean, (D, H, W).
        spacing_mm: Voxel spacing along D, H, W.

    Raises:
        ValueError: they cannot be compared (see `check_comparable`), an axis has one voxel, a value beside
            the mask is not finite, or the CT has no such edge in the mask.

    Examples:
        >>> ct = np.zeros((4, 4, 4))
        >>> ct[2:] = 1000.0
        >>> edge_sharpness(ct, 0.5 * ct, ct >= 0, (1.0, 1.0, 1.0))
        0.5
    """
    check_comparable(ct_hu, sct_hu, mask)
    if min(ct_hu.shape) < 2:
        raise ValueError("a gradient needs two voxels along every axis")
    box = _box(mask)
    edges = mask[box] & (_edge(ct_hu[box] > hu.BONE_ABOVE) | _edge(ct_hu[box] < hu.AIR_BELOW))
    if not edges.any():
        raise ValueError("the CT has no edge of bone or air inside the mask")
    ct, sct = (float(_gradient_magnitude(array[box], spacing_mm)[edges].mean()) for array in (ct_hu, sct_hu))
    if not np.isfinite([ct, sct]).all():
        raise ValueError("a value beside the mask is not finite")
    if ct == 0:
        raise ValueError("the CT has no gradient at its edges: what is one voxel thin has the same on both sides")
    return sct / ct


def check_comparable(ct_hu: HU, sct_hu: HU, mask: Mask) -> None:
    """Refuse images that cannot be compared.

    Args:
        ct_hu: The true CT in HU, (D, H, W).
        sct_hu: The synthetic CT in HU, (D, H, W).
        mask: The voxels to score, boolean, (D, H, W).

    Raises:
        ValueError: the shapes differ, the mask is empty or not boolean, or a value inside it is not finite.

    Examples:
        >>> ct = np.zeros((2, 2, 2))
        >>> check_comparable(ct, ct, ct > 0)
        Traceback (most recent call last):
        ValueError: the mask is empty
    """
    if mask.dtype != np.bool_:  # 0 and 1 as integers would be taken as indices
        raise ValueError("the mask must be boolean: use mask > 0")
    if not ct_hu.shape == sct_hu.shape == mask.shape:
        raise ValueError(f"shapes differ: ct {ct_hu.shape}, sct {sct_hu.shape}, mask {mask.shape}")
    if not mask.any():
        raise ValueError("the mask is empty")
    for name, array in (("ct", ct_hu), ("sct", sct_hu)):
        if not np.isfinite(array[mask]).all():
            raise ValueError(f"{name} has NaN or infinite values inside the mask")


def _difference(ct_hu: HU, sct_hu: HU, mask: Mask) -> npt.NDArray[np.float64]:
    check_comparable(ct_hu, sct_hu, mask)
    return sct_hu[mask].astype(np.float64) - ct_hu[mask].astype(np.float64)


def _box(mask: Mask) -> tuple[slice, ...]:
    """The mask's bounding box with a margin of one voxel inside the array."""
    (found,) = ndimage.find_objects(mask.astype(np.uint8))
    return tuple(slice(max(0, part.start - 1), part.stop + 1) for part in found)


def _edge(inside: Mask) -> Mask:
    """Voxels with a face neighbour on the other side."""
    edge = np.zeros_like(inside)
    for axis in range(inside.ndim):
        along, at = np.moveaxis(inside, axis, 0), np.moveaxis(edge, axis, 0)
        changes = along[1:] != along[:-1]
        at[1:] |= changes
        at[:-1] |= changes
    return edge


def _gradient_magnitude(array_hu: HU, spacing_mm: Sequence[float]) -> npt.NDArray[np.float32]:
    """(D, H, W) in HU/mm."""
    slopes = np.gradient(np.asarray(array_hu, dtype=np.float32), *spacing_mm)
    return np.sqrt(sum(slope**2 for slope in slopes)).astype(np.float32)
