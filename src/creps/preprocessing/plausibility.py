"""Is this volume what it is said to be? Checked before anything is computed from it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from creps import hu
from creps.errors import InputError
from creps.preprocessing.intensity import MR_RANGE_NETWORK
from creps.preprocessing.label_maps import is_label_map
from creps.preprocessing.padding import Padding
from creps.volume import Array, Volume

__all__ = [
    "LOOKS_LIKE_CT",
    "NO_CT",
    "check_below_air",
    "check_ct",
    "check_extent",
    "check_mr",
    "check_mr_scale",
    "normalised",
]

LOOKS_LIKE_CT = "looks like a CT in HU"
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

HU_SHARE = 0.02
"""An MR with more than this share of its voxels below `hu.AIR_BELOW` is a CT."""

NORMALISED_RANGE = 20.0
"""A CT whose values all lie within this of 0 has been normalised; the noise of a scanner alone spans more."""

INVERTED_SHARE = 0.85
"""All corners of an inverted MR are at least this bright, relative to its 99.9th percentile (4 % in the real MRs)."""

OFFSET_SHARE = 0.15
"""The corners of an MR, and its darkest hundredth, are not both brighter than this share of the 99.9th percentile (at
most 4 % and 1.3 % in the real MRs)."""

WRAPPED_SHARE, WRAPPED_TIMES = 0.001, 10.0
"""An MR with more than this share of its voxels at its exact maximum, and that many times as bright as the 99.9th
percentile of all others, has wrapped around."""

BLACK_SHARE = 0.025
"""An MR is black if the 99th percentile in its body is below this share of the range [0, 2]. With a divisor of 1000 the
real MRs reach 3.9 % (an 8-bit-like one) to 56 %; an MR in [0, 1] reaches .05 %."""

NEGATIVE_SHARE = 0.05
"""The 1st percentile in the body of a signed MR is below 0 by more than this share of the 99th (0 in the real MRs)."""

EXTENT_MM = (20.0, 3000.0)
"""A volume of a patient is this long along each axis."""

SMALL_MM, MANY_VOXELS = 60.0, 64
"""Nobody scans a region this small with so many voxels along an axis: the spacing is in cm."""


LARGEST = 1e6
"""No CT's values are further from 0."""

LARGEST_MR = 1e10
"""No MR's are: floating-point values of Philips reach 1e9, larger ones overflow in what is computed from them."""


def check_mr(mr: Volume, name: str) -> None:
    """Refuse an MR that is empty, inverted, shifted, a label map, or looks like a CT.

    Raises:
        InputError: constant, nothing positive, with the air of a CT, a label map, brighter around the patient than
            inside, without dark voxels, wrapped around, no scanner's values, or an impossible size.
    """
    check_extent(mr.shape, mr.extent_mm, name)
    low, high = _range(mr, name, LARGEST_MR)
    if low == high or high <= 0:
        raise InputError(f"{name} is empty: its values run from {low:g} to {high:g}.", "Give the MR itself.")
    _refuse_labels(mr, name)
    if float((mr.array < hu.AIR_BELOW).mean()) > HU_SHARE:
        raise InputError(
            f"{name} {LOOKS_LIKE_CT} (values from {low:g} to {high:g}), not an MR.",
            "Give MR here and CT as the other source.",
        )
    corners, bright = _corners(mr.array), float(np.percentile(mr.array, 99.9))
    if corners > INVERTED_SHARE * bright > 0:
        raise InputError(
            f"{name} is inverted or padded with a bright value: every corner of the volume reaches {corners:g},"
            f" as bright as the brightest tissue ({bright:g}).",
            "Give the MR in scanner units, in which air is dark.",
        )
    dark = float(np.percentile(mr.array, 1))
    if min(corners, dark) > OFFSET_SHARE * bright > 0:
        raise InputError(
            f"{name} has an offset: 99 % of its voxels lie above {_figure(dark)}, which is"
            f" {100 * dark / bright:.0f} % of its brightest tissue ({_figure(bright)}), but air is about 0 in an MR.",
            "Subtract that offset, or give the MR in scanner units.",
        )
    _refuse_wrapped(mr.array, high, name)


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
    low, high = _range(ct, name, LARGEST)
    values = ct.array.ravel() if padding is None else ct.array[~padding.mask]
    if values.size:
        low, high = float(values.min()), float(values.max())
    air = values[(values < AIR_HU) & (values > hu.LOWEST_AIR)]
    if air.size < AIR_SHARE * ct.array.size or low < -10000 or normalised(low, high):
        if padding is not None:  # then what looked like padding may be air in another unit
            ct = ct.with_array(np.where(padding.mask, np.float32(padding.value), ct.array))
            values = ct.array.ravel()
            low, high = float(values.min()), float(values.max())
        _refuse_labels(ct, name)
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
        apart = ~ndimage.binary_dilation(padding.mask, np.ones((3, 3, 3)), iterations=SHELL)
    for value, share in BELOW_SHARES.items():
        below = (ct.array < value) & apart
        if below.mean() > share:
            raise InputError(
                f"{name} {NO_CT}: {100 * below.mean():.2g} % of its voxels lie below {value:g}, down to"
                f" {float(ct.array[below].min()):g}.",
                "Check rescale slope and intercept: perhaps 1024 was subtracted twice, or the values were scaled.",
            )


def check_mr_scale(
    intensity: tuple[float, float, float], divisor: float, name: str, *, fixed: bool, remedy: str | None = None
) -> None:
    """Refuse an MR that its scaling turns black, white or mostly 0.

    Args:
        intensity: 1st, 50th and 99th percentile in the body, in scanner units.
        divisor: What the MR is divided by.
        name: What the message calls it.
        fixed: Whether the divisor is a setting and not the MR's own.
        remedy: What to do about a fixed divisor; default: use `preparation.mr_scale` auto.

    Raises:
        InputError: negative signal, or a body that is black or saturated.
    """
    low, middle, high = intensity
    if middle <= 0 or low < -NEGATIVE_SHARE * high:
        raise InputError(
            f"{name} has negative signal: 1st, 50th and 99th percentile in its body are {low:.3g}, {middle:.3g} and"
            f" {high:.3g}, and values below 0 become 0.",
            "Give the MR before it was normalised (z-score), or subtract its lowest value: air must be 0.",
        )
    top = MR_RANGE_NETWORK[1] * divisor
    if not fixed or (high >= BLACK_SHARE * top and middle < top):
        return
    end = f"{top:g}, the top of the range with preparation.mr_scale {divisor:g}"
    if middle >= top:
        what = f"saturated: half of its body lies above {_figure(middle)}, and everything is clipped above {end}"
    else:
        what = f"almost black: 99 % of its body lies below {_figure(high)}, which is {100 * high / top:.2g} % of {end}"
    raise InputError(
        f"{name} would be {what}.",
        remedy or "Use --preparation.mr_scale auto, which scales each MR by its own brightness.",
    )


def normalised(low: float, high: float) -> bool:
    """Whether a CT that runs from `low` to `high` has been scaled to a range such as [-1, 1]."""
    return low > -NORMALISED_RANGE and high < NORMALISED_RANGE


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
    if normalised(low, high):
        return "It looks normalised: give the CT in HU."
    at_low = float((values == low).mean())
    if low >= 0 and high <= 255:
        return "It looks like an 8-bit display window: give the CT in HU."
    if low >= 0 and high > 1500:
        return "It looks like raw values: subtract 1024 (or apply rescale slope and intercept) to get HU."
    if low >= hu.LOWEST_AIR and at_low > 0.02:
        return f"It looks clipped at {low:g} ({100 * at_low:.2g} % of its voxels): give the CT in HU without a window."
    return "Give CT in HU (raw values usually need 1024 subtracted), and MR as the other source."


def _refuse_wrapped(array: Array, high: float, name: str) -> None:
    """Refuse an MR in which negative values have become the largest ones."""
    top = array == high
    share = float(top.mean())
    if share < WRAPPED_SHARE or top.all():
        return
    rest = float(np.percentile(array[~top], 99.9))
    if 0 < WRAPPED_TIMES * rest < high:
        raise InputError(
            f"{name} has {100 * share:.2g} % of its voxels at {high:g}, {high / rest:.0f} times as bright as all others"
            f" ({_figure(rest)}).",
            "Negative values were probably stored without a sign: convert it again, and set these voxels to 0.",
        )


def _figure(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _refuse_labels(image: Volume, name: str) -> None:
    count = is_label_map(image.array)
    if count:
        raise InputError(
            f"{name} is a label map: it has only {count} different values in uniform regions.",
            "Give the image that it belongs to.",
        )


def _corners(array: Array) -> float:
    """The darkest tenth of the eight corners of a volume."""
    sizes = [max(1, n // 12) for n in array.shape]
    parts = [(slice(None, n), slice(-n, None)) for n in sizes]
    cubes = [array[d, h, w].ravel() for d in parts[0] for h in parts[1] for w in parts[2]]
    return float(np.percentile(np.concatenate(cubes), 10))


def _range(volume: Volume, name: str, largest: float) -> tuple[float, float]:
    """Lowest and highest value."""
    low, high = float(volume.array.min()), float(volume.array.max())
    if not max(-low, high) <= largest:
        raise InputError(
            f"{name} has values from {low:g} to {high:g}; no scanner produces values beyond {largest:g}.",
            "Check its data type and scaling, and convert it again.",
        )
    return low, high
