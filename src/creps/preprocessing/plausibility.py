"""Is this volume what it is said to be? Checked before anything is computed from it."""

from __future__ import annotations

import numpy as np

from creps.errors import InputError
from creps.volume import Volume

__all__ = ["check_ct", "check_mr"]

AIR_HU = -300.0
"""A CT in HU has air below this."""

AIR_SHARE = 0.002
"""At least this share of a CT's voxels is air."""

HU_SHARE = 0.02
"""An MR with more than this share of its voxels below `AIR_HU` is a CT."""


EXTENT_MM = (20.0, 3000.0)
"""A volume of a patient is this long along each axis."""


def check_mr(mr: Volume, name: str) -> None:
    """Refuse an MR that is empty or looks like a CT.

    Raises:
        InputError: constant, without a positive value, with the air of a CT, or of an impossible size.
    """
    _check_extent(mr, name)
    low, high = float(mr.array.min()), float(mr.array.max())
    if low == high or high <= 0:
        raise InputError(f"{name} is empty: its values run from {low:g} to {high:g}.", "Give the MR itself.")
    if float((mr.array < AIR_HU).mean()) > HU_SHARE:
        raise InputError(
            f"{name} looks like a CT in HU (values from {low:g} to {high:g}), not an MR.",
            "Give MR here and CT in the other place.",
        )


def check_ct(ct: Volume, name: str) -> None:
    """Refuse a CT that is not in HU.

    Raises:
        InputError: no air, nothing as dense as tissue, values no CT has, or an impossible size.
    """
    _check_extent(ct, name)
    low, high = float(ct.array.min()), float(ct.array.max())
    if float((ct.array < AIR_HU).mean()) < AIR_SHARE:
        raise InputError(
            f"{name} is not a CT in HU: its values run from {low:g} to {high:g}, without air.",
            "Give CT in HU (raw values usually need 1024 subtracted), and MR in the other place.",
        )
    if float(np.percentile(ct.array, 99.5)) < AIR_HU or low < -10000:
        raise InputError(
            f"{name} is not a CT in HU: its values run from {low:g} to {high:g}.", "Convert it to HU first."
        )


def _check_extent(volume: Volume, name: str) -> None:
    if min(volume.extent_mm) < EXTENT_MM[0] or max(volume.extent_mm) > EXTENT_MM[1]:
        size = " x ".join(f"{e:.3g}" for e in volume.extent_mm)
        raise InputError(
            f"{name} measures {size} mm, which is no part of a patient.",
            "Check the spacing in its header: it must be in mm.",
        )
