"""Is this volume what it is said to be? Checked before anything is computed from it."""

from __future__ import annotations

import numpy as np

from creps import hu
from creps.errors import InputError
from creps.volume import Volume

__all__ = ["LOOKS_LIKE_CT", "NO_CT", "check_ct", "check_extent", "check_mr"]

LOOKS_LIKE_CT = "looks like a CT in HU"
NO_CT = "is not a CT in HU"

AIR_SHARE = 0.002
"""At least this share of a CT's voxels is air."""

HU_SHARE = 0.02
"""An MR with more than this share of its voxels below `hu.AIR_BELOW` is a CT."""


EXTENT_MM = (20.0, 3000.0)
"""A volume of a patient is this long along each axis."""

SMALL_MM, MANY_VOXELS = 60.0, 64
"""Nobody scans a region this small with so many voxels along an axis: the spacing is in cm."""


LARGEST = 1e6
"""No CT's values are further from 0."""

LARGEST_MR = 1e10
"""No MR's are: floating-point values of Philips reach 1e9, larger ones overflow in what is computed from them."""


def check_mr(mr: Volume, name: str) -> None:
    """Refuse an MR that is empty or looks like a CT.

    Raises:
        InputError: constant, nothing positive, with the air of a CT, no scanner's values, or an impossible size.
    """
    check_extent(mr.shape, mr.extent_mm, name)
    low, high = _range(mr, name, LARGEST_MR)
    if low == high or high <= 0:
        raise InputError(f"{name} is empty: its values run from {low:g} to {high:g}.", "Give the MR itself.")
    if float((mr.array < hu.AIR_BELOW).mean()) > HU_SHARE:
        raise InputError(
            f"{name} {LOOKS_LIKE_CT} (values from {low:g} to {high:g}), not an MR.",
            "Give MR here and CT as the other source.",
        )


def check_ct(ct: Volume, name: str) -> None:
    """Refuse a CT that is not in HU.

    Raises:
        InputError: no air, nothing as dense as tissue, values no CT has, or an impossible size.
    """
    check_extent(ct.shape, ct.extent_mm, name)
    low, high = _range(ct, name, LARGEST)
    if float(((ct.array < hu.AIR_BELOW) & (ct.array > hu.LOWEST_AIR)).mean()) < AIR_SHARE:
        raise InputError(
            f"{name} {NO_CT}: its values run from {low:g} to {high:g}, without air.",
            "Give CT in HU (raw values usually need 1024 subtracted), and MR as the other source.",
        )
    if float(np.percentile(ct.array, 99.5)) < hu.AIR_BELOW or low < -10000:
        raise InputError(f"{name} {NO_CT}: its values run from {low:g} to {high:g}.", "Convert it to HU first.")


def check_extent(shape: tuple[int, int, int], extent_mm: tuple[float, float, float], name: str) -> None:
    """Refuse a size that no patient has.

    Args:
        shape: (D, H, W).
        extent_mm: Edge to edge along D, H, W.
        name: What the message calls the volume.

    Raises:
        InputError: too small or too large; usually the spacing is not in mm.
    """
    small = max(extent_mm) < SMALL_MM and max(shape) >= MANY_VOXELS
    if small or min(extent_mm) < EXTENT_MM[0] or max(extent_mm) > EXTENT_MM[1]:
        size = " x ".join(f"{e:.3g}" for e in extent_mm)
        raise InputError(
            f"{name} measures {size} mm, which is impossible for a patient.",
            "Check the spacing in its header: it must be in mm.",
        )


def _range(volume: Volume, name: str, largest: float) -> tuple[float, float]:
    """Lowest and highest value."""
    low, high = float(volume.array.min()), float(volume.array.max())
    if not max(-low, high) <= largest:
        raise InputError(
            f"{name} has values from {low:g} to {high:g}; no scanner produces values beyond {largest:g}.",
            "Check its data type and scaling, and convert it again.",
        )
    return low, high
