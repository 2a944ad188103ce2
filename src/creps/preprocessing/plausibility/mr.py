"""Is this volume an MR in scanner units?"""

from __future__ import annotations

import numpy as np

from creps import hu
from creps.errors import InputError
from creps.preprocessing.intensity import MR_RANGE_NETWORK
from creps.preprocessing.plausibility.size import check_extent, refuse_labels, value_range
from creps.volume import Array, Volume

__all__ = ["LOOKS_LIKE_CT", "check_mr", "check_mr_scale"]

LOOKS_LIKE_CT = "looks like a CT in HU"

HU_SHARE = 0.02
"""An MR with more than this share of its voxels below `hu.AIR_BELOW` is a CT."""

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

LARGEST_MR = 1e10
"""No MR has values further from 0: floating-point values of Philips reach 1e9, larger ones overflow later."""


def check_mr(mr: Volume, name: str) -> None:
    """Refuse an MR that is empty, inverted, shifted, a label map, or looks like a CT.

    Raises:
        InputError: constant, nothing positive, with the air of a CT, a label map, brighter around the patient than
            inside, without dark voxels, wrapped around, no scanner's values, or an impossible size.
    """
    check_extent(mr.shape, mr.extent_mm, name)
    low, high = value_range(mr, name, LARGEST_MR)
    if low == high or high <= 0:
        raise InputError(f"{name} is empty: its values run from {low:g} to {high:g}.", "Give the MR itself.")
    refuse_labels(mr, name)
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
            "Subtract that offset, or give the MR in scanner units; one that was cropped within the patient, whole.",
        )
    _refuse_wrapped(mr.array, high, name)


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


def _corners(array: Array) -> float:
    """The darkest tenth of the eight corners of a volume."""
    sizes = [max(1, n // 12) for n in array.shape]
    parts = [(slice(None, n), slice(-n, None)) for n in sizes]
    cubes = [array[d, h, w].ravel() for d in parts[0] for h in parts[1] for w in parts[2]]
    return float(np.percentile(np.concatenate(cubes), 10))
