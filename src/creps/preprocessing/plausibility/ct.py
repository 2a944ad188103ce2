"""Is this volume a CT in HU?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from creps import hu
from creps.errors import InputError
from creps.preprocessing.padding import Padding
from creps.preprocessing.plausibility.size import check_extent, refuse_labels, value_range
from creps.volume import Volume

__all__ = ["NO_CT", "check_below_air", "check_ct"]

NO_CT = "is not a CT in HU"

AIR_SHARE = 0.002
"""At least this share of a CT's voxels is air (the real CTs of the tests have 6 % or more)."""

AIR_HU = -800.0
"""Air in and around a patient lies below this in a CT (its median is -1017 to -979 HU in the real CTs)."""

AIR_MEDIAN_HU = (-1060.0, -880.0)
"""The median of a CT's air lies in this range."""

ROOM_MEDIAN_HU, ROOM_SPREAD_HU = -940.0, 40.0
"""Air whose quartiles lie this close is that of the room, not of lungs; its median is below the first (at most -979 in
the real CTs)."""

BELOW_SHARES, SHELL = {hu.LOWEST_AIR: 0.05, -1300.0: 0.01}, 2
"""Value → share of voxels that may lie below it, apart from padding and this many voxels beside it. It is 0 in the real
CTs; cubic interpolation undershoots at edges."""

RINGING = 8
"""Voxels beside padding below air instead: at its edge cubic interpolation swings that far, to both sides."""

SOFT_HU, SOFT_SHARE = 200.0, 0.3
"""Of a CT's voxels above `hu.AIR_BELOW` at least this share lies within this many HU of water (78 % or more in the real
CTs, 69 % in a ball-shaped phantom head)."""

CLIPPED_SHARE = 0.0005
"""A CT with more than this share of its voxels at its exact maximum was clipped there (.009 % in the real CTs)..."""

CLIPPED_BELOW_HU = 1000.0
"""... and has lost its bone if the maximum is below this."""

MOST_TISSUES, AIR_OF_RAW, RAW_SHARE, BONE_OF_RAW = 50, 600.0, 0.2, 1300.0
"""Raw values beside padding: more different values than a phantom without noise has, more than this share above this
value (9 % or less of the dense voxels in the real CTs), and bone above soft tissue, which is at about 1024."""

NORMALISED_RANGE = 20.0
"""A CT whose values all lie within this of 0 has been normalised; the noise of a scanner alone spans more."""


def check_ct(ct: Volume, name: str, padding: Padding | None = None) -> None:
    """Refuse a CT that is not in HU.

    Args:
        ct: As it was read, or with its padding replaced by air.
        name: What the message calls it.
        padding: Its padding, which has been replaced; it is left out.

    Raises:
        InputError: no air, too little soft tissue, bone clipped off, values no CT has, a label map, or an impossible
            size.
    """
    check_extent(ct.shape, ct.extent_mm, name)
    low, high = value_range(ct, name, hu.LARGEST)
    values = ct.array.ravel() if padding is None else ct.array[~padding.mask]
    if values.size:
        low, high = float(values.min()), float(values.max())
    air = values[(values < AIR_HU) & (values > hu.LOWEST_AIR)]
    if air.size < AIR_SHARE * ct.array.size or low < -10000 or _normalised(low, high):
        if padding is not None:  # then what looked like padding may be air in another unit
            ct = ct.with_array(np.where(padding.mask, np.float32(padding.value), ct.array))
            values = ct.array.ravel()
            low, high = float(values.min()), float(values.max())
        refuse_labels(ct, name)
        raise InputError(
            f"{name} {NO_CT}: its values run from {low:g} to {high:g}, without air.", _unit_of_ct(values, low, high)
        )
    _refuse_air_of_padding(values, air, name)
    quarter, median, three = np.percentile(air, (25, 50, 75)).tolist()
    shifted = median > ROOM_MEDIAN_HU and three - quarter < ROOM_SPREAD_HU
    if shifted or not AIR_MEDIAN_HU[0] <= median <= AIR_MEDIAN_HU[1]:
        raise InputError(
            f"{name} {NO_CT}: the median of its air is {median:.0f}, not about -1000.",
            "Check rescale slope and intercept, and convert it to HU.",
        )
    _check_tissue(values, high, name)


def check_below_air(ct: Volume, name: str, padding: Padding | None) -> None:
    """Refuse a CT with values below air, as after subtracting 1024 twice.

    Args:
        ct: As it was read, with its padding.
        name: What the message calls it.
        padding: Its padding.

    Raises:
        InputError: more of its voxels than `BELOW_SHARES` lie below air, apart from padding and its surroundings.
    """
    if float(ct.array.min()) >= hu.LOWEST_AIR:
        return
    apart = np.ones(ct.shape, dtype=bool)
    if padding is not None:
        reach = RINGING if min((padding.value, *padding.others)) < hu.LOWEST_AIR else SHELL
        apart = ~ndimage.binary_dilation(padding.mask, np.ones((3, 3, 3)), iterations=reach)
    for value, share in BELOW_SHARES.items():
        below = (ct.array < value) & apart
        if below.mean() > share:
            raise InputError(
                f"{name} {NO_CT}: {100 * below.mean():.2g} % of its voxels lie below {value:g}, down to"
                f" {float(ct.array[below].min()):g}.",
                "Check rescale slope and intercept: perhaps 1024 was subtracted twice, or the values were scaled.",
            )


def _normalised(low: float, high: float) -> bool:
    """Whether a CT that runs from `low` to `high` has been scaled to a range such as [-1, 1]."""
    return low > -NORMALISED_RANGE and high < NORMALISED_RANGE


def _refuse_air_of_padding(values: npt.NDArray[np.float32], air: npt.NDArray[np.float32], name: str) -> None:
    """Refuse raw values that were resampled with a background of -1000 or -1024: nothing lies between it and tissue."""
    between = (values > hu.LOWEST_AIR) & (values < hu.AIR_BELOW) & (values != air[0])
    dense = values[values > hu.AIR_BELOW]
    if between.mean() < AIR_SHARE and dense.size and len(np.unique(dense)) > MOST_TISSUES and dense.min() > -SOFT_HU:
        low, high = float(dense.min()), float(dense.max())
        if high > BONE_OF_RAW and float((dense > AIR_OF_RAW).mean()) > RAW_SHARE:
            raise InputError(
                f"{name} {NO_CT}: its only air is padding of exactly {air[0]:g}, and the scan"
                f" runs from {low:g} to {high:g}.",
                "It looks like raw values: subtract 1024 (or apply rescale slope and intercept) to get HU.",
            )


def _check_tissue(values: npt.NDArray[np.float32], high: float, name: str) -> None:
    """Refuse a CT without soft tissue near water, and one whose bone is clipped off."""
    dense = values[values > hu.AIR_BELOW]
    soft = float((np.abs(dense) <= SOFT_HU).mean()) if dense.size else 0.0
    if soft < SOFT_SHARE:
        raise InputError(
            f"{name} {NO_CT}: only {100 * soft:.2g} % of what is denser than {hu.AIR_BELOW:g} lies within"
            f" {SOFT_HU:g} of water.",
            "Check rescale slope and intercept, and convert it to HU.",
        )
    at_top = float((values == high).mean())
    if high < CLIPPED_BELOW_HU and at_top > CLIPPED_SHARE:
        raise InputError(
            f"{name} {NO_CT}: it is clipped at {high:g} HU, the value of {100 * at_top:.2g} % of its voxels, so bone is"
            " lost.",
            "Give the CT as reconstructed, without a display window.",
        )


def _unit_of_ct(values: npt.NDArray[np.float32], low: float, high: float) -> str:
    """What to do about a CT without air: its most likely unit decides."""
    if _normalised(low, high):
        return "It looks normalised: give the CT in HU."
    at_low = float((values == low).mean())
    if low >= 0 and high <= 255:
        return "It looks like an 8-bit display window: give the CT in HU."
    if low >= 0 and high > 1500:
        return "It looks like raw values: subtract 1024 (or apply rescale slope and intercept) to get HU."
    if low >= hu.LOWEST_AIR and at_low > 0.02:
        return f"It looks clipped at {low:g} ({100 * at_low:.2g} % of its voxels): give the CT in HU without a window."
    return "Give CT in HU (raw values usually need 1024 subtracted), and MR as the other source."
