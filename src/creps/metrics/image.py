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


def mean_absolute_error_hu(ct_hu: HU, sct_hu: HU, mask: Mask) -> float:
    """Mean |ct - sct| over the mask, without clipping (SynthRAD2023).

    Raises:
        ValueError: they cannot be compared (`check_comparable`).
    """
    return float(np.abs(_difference(ct_hu, sct_hu, mask)).mean())


def mean_error_hu(ct_hu: HU, sct_hu: HU, mask: Mask) -> float:
    """Mean of sct - ct over the mask: the signed bias.

    Raises:
        ValueError: they cannot be compared (`check_comparable`).
    """
    return float(_difference(ct_hu, sct_hu, mask).mean())


def psnr_db(ct_hu: HU, sct_hu: HU, mask: Mask, range_hu: tuple[float, float]) -> float:
    """10·log10(L² / MSE) over the mask, both clipped to the range of width L (SynthRAD2023, SynthRAD2025).

    Raises:
        ValueError: they cannot be compared (`check_comparable`), or both are equal and the ratio is infinite.
    """
    check_comparable(ct_hu, sct_hu, mask)
    low, high = range_hu
    inside = [np.clip(array[mask].astype(np.float64), low, high) for array in (ct_hu, sct_hu)]
    squared_error = float(np.mean((inside[1] - inside[0]) ** 2))
    if squared_error == 0:
        raise ValueError("both images are equal inside the mask: the signal-to-noise ratio is infinite")
    return float(10 * np.log10((high - low) ** 2 / squared_error))


def histogram_distance_hu(ct_hu: HU, sct_hu: HU, mask: Mask) -> float:
    """1-D Wasserstein distance in HU of the two histograms inside the mask.

    How far HU must be moved on average to make one histogram the other, wherever the voxels are. Both have as many
    voxels, so it is the mean distance of the sorted values.

    Raises:
        ValueError: they cannot be compared (`check_comparable`).
    """
    check_comparable(ct_hu, sct_hu, mask)
    ct, sct = (np.sort(array[mask]).astype(np.float64) for array in (ct_hu, sct_hu))
    return float(np.abs(sct - ct).mean())


def edge_sharpness(ct_hu: HU, sct_hu: HU, mask: Mask, spacing_mm: Sequence[float]) -> float:
    """Mean gradient magnitude at the true CT's bone and air edges, sCT : CT.

    The edges are the voxels of the mask with a face neighbour on the other side of `hu.BONE_ABOVE` or
    `hu.AIR_BELOW` in the CT; the gradient is taken by central differences in HU/mm. 1 is as sharp as the CT, 0 is
    flat. An edge in the wrong place counts as blurred.

    Args:
        ct_hu: (D, H, W), the truth.
        sct_hu: (D, H, W).
        mask: (D, H, W), where edges count.
        spacing_mm: Along D, H, W.

    Raises:
        ValueError: shapes differ, an axis is one voxel long, the mask is empty or not boolean, a value is not finite,
            or the CT has no such edge in it.
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
    """Refuse what cannot be compared.

    Raises:
        ValueError: shapes differ, the mask is empty or not boolean, or a value inside it is not finite.
    """
    if mask.dtype != np.bool_:  # 0 and 1 as integers would be taken as indices
        raise ValueError("the mask must be boolean: use mask > 0")
    if not ct_hu.shape == sct_hu.shape == mask.shape:
        raise ValueError(f"shapes differ: ct {ct_hu.shape}, sct {sct_hu.shape}, mask {mask.shape}")
    if not mask.any():
        raise ValueError("the mask is empty")
    for name, array in (("ct", ct_hu), ("sct", sct_hu)):
        if not np.isfinite(array[mask]).all():
            raise ValueError(f"{name} has values inside the mask that are not finite")


def _difference(ct_hu: HU, sct_hu: HU, mask: Mask) -> npt.NDArray[np.float64]:
    check_comparable(ct_hu, sct_hu, mask)
    return sct_hu[mask].astype(np.float64) - ct_hu[mask].astype(np.float64)


def _box(mask: Mask) -> tuple[slice, ...]:
    """The box around the mask, a voxel wider where the array goes on, at least two voxels along every axis."""
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
