"""Padding of resampled images: a constant value where the scan holds nothing, other than air."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from creps import hu
from creps.volume import Array, Mask, Volume

__all__ = ["Padding", "ct_without_padding", "find_padding", "mr_without_padding", "mr_without_undershoot"]

AIR_VALUES = (hu.LOWEST_AIR, -900.0)
"""A constant of a CT in this range is air: scanners clip theirs at -1000 or -1024 HU."""

SMALLEST = (27, 0.0005)
"""Padding has at least this many voxels, and this share of the volume's. No constant region in a corner of the real CTs
and MRs that creps is tested with is this large, apart from air."""

ROUNDING_HU = 0.5
"""An interpolation moves a constant below air by less."""

SOLID = 0.73
"""At least this share of the neighbours of its voxels lies in the padding too (.79 or more in single planes and thin
wedges). In a real CT stored in steps of 8 to 32 HU, fat in a corner reaches .69."""

BLENDED_SHARE = 0.02
"""A second interpolation leaves a shell of values between padding and air; at least this share of the shell
has them."""

BLENDED = (-900.0, -100.0)
"""Values in HU that such a shell has between padding of 0 HU and air."""

NEGATIVE_SHARE = 0.01
"""An MR that reaches below 0 by more than this share of its bright signal is negative apart from its padding."""

UNDERSHOOT = 0.05
"""Of an MR that was interpolated, at most this many times as many voxels lie below 0 by more than this share of the
99th percentile as lie above 0 by it (.004 in the real MRs, turned with cubic B-splines). Of a z-scored one it is 1."""


@dataclass(frozen=True)
class Padding:
    """Where an image holds a constant instead of a scan.

    Attributes:
        value: The constant.
        mask: (D, H, W), True in the padding.
        others: Constants of smaller regions of the mask.
    """

    value: float
    mask: Mask
    others: tuple[float, ...] = ()

    @property
    def share(self) -> float:
        """Share of the volume."""
        return float(self.mask.mean())

    def note(self, modality: str) -> str:
        """What a log, a manifest or a record says about its replacement."""
        unit, air = (" HU", f"air ({hu.AIR:g} HU)") if modality == "ct" else ("", "0")
        remedy = f" Resample with a background of {hu.AIR:g} HU to avoid this." if modality == "ct" else ""
        values = " and ".join(f"{value:g}{unit}" for value in (self.value, *self.others))
        return f"{100 * self.share:.2g} % of its voxels are padding (exactly {values}) and were set to {air}.{remedy}"


def find_padding(array: Array, air: tuple[float, float] | None = None) -> Padding | None:
    """Find an exactly constant region that reaches a corner of the volume.

    A scan fills a convex part of its box, so whatever lies outside it reaches a corner, also after a rotation and a
    crop. Noise keeps tissue and air from being constant.

    Args:
        array: (D, H, W) in any unit.
        air: Values that a constant region may have without being padding.

    Returns:
        The largest such region of one value, or None.
    """
    corners = [(d, h, w) for d in (0, -1) for h in (0, -1) for w in (0, -1)]
    values = {float(array[corner]) for corner in corners}
    best: Padding | None = None
    least = _least(array)
    for value in sorted(values):
        same = array == np.float32(value)
        if (air is not None and air[0] <= value <= air[1]) or int(same.sum()) < least:
            continue
        labels, _ = ndimage.label(same, np.ones((3, 3, 3)))
        reached = np.unique([labels[corner] for corner in corners])
        mask: Mask = np.isin(labels, reached[reached > 0])
        large = mask.sum() >= least and (best is None or mask.sum() > best.mask.sum())
        if large and _solidity(mask) >= SOLID:
            best = Padding(value, mask)
    return None if best is None or best.mask.all() else best


def ct_without_padding(ct: Volume) -> tuple[Volume, Padding | None]:
    """Replace the padding of a CT by air.

    Resampling tools fill what lies outside a scan: elastix, ANTs and ITK with 0 HU by default, which is water; scanners
    with -2000 or -3024. Interpolation would draw either into the patient.

    Args:
        ct: In HU.

    Returns:
        The CT, with -1000 HU in its padding, and the padding; the CT itself and None if there is none.
    """
    array, found = ct.array, list[Padding]()
    # A scanner's padding lies in no corner after a rotation, and then another value does.
    while (padding := _below_air(array) or find_padding(array, AIR_VALUES)) is not None:
        array = _with_air(array, padding)
        found.append(padding)
    if not found:
        return ct, None
    largest, *others = sorted(found, key=lambda one: -one.share)
    mask: Mask = np.logical_or.reduce([one.mask for one in found])
    return ct.with_array(array), Padding(largest.value, mask, tuple(one.value for one in others))


def mr_without_padding(mr: Volume) -> tuple[Volume, Padding | None]:
    """Replace the negative padding of an MR by 0, where its signal is not negative.

    Args:
        mr: In scanner units.

    Returns:
        The MR and the padding; the MR itself and None if there is none.
    """
    if float(mr.array.min()) >= 0:
        return mr, None
    padding = find_padding(mr.array)
    if padding is None or padding.value >= 0 or padding.mask.all():
        return mr, None
    rest = mr.array[~padding.mask]
    if float(rest.min()) < -NEGATIVE_SHARE * float(np.percentile(rest, 99)):
        return mr, None
    return mr.with_array(np.where(padding.mask, np.float32(0), mr.array)), padding


def mr_without_undershoot(mr: Volume) -> Volume:
    """Set the few negative values to 0 that cubic interpolation (the default of elastix and SPM) leaves beside edges.

    Thresholds and padding are measured from an MR's lowest value, which one such voxel would move.

    Args:
        mr: In scanner units.

    Returns:
        The MR; the MR itself if nothing is negative, or too much of it is.
    """
    if float(mr.array.min()) >= 0:
        return mr
    share = np.float32(UNDERSHOOT * float(np.percentile(mr.array, 99)))
    below, above = int((mr.array < -share).sum()), int((mr.array > share).sum())
    return mr.with_array(np.maximum(mr.array, 0)) if share > 0 and below <= UNDERSHOOT * above else mr


def _least(array: Array) -> float:
    """Fewest voxels of padding."""
    return max(SMALLEST[0], SMALLEST[1] * array.size)


def _solidity(mask: Mask) -> float:
    """Share of the neighbours of a mask's voxels that lie in it, across faces and within the volume."""
    within = between = 0
    for axis in range(3):
        planes = np.moveaxis(mask, axis, 0)
        within += 2 * int((planes[1:] & planes[:-1]).sum())
        between += int((planes[1:] ^ planes[:-1]).sum())
    return within / max(1, within + between)


def _below_air(array: Array) -> Padding | None:
    """Solid regions of the most frequent value below air, wherever they lie: scanners pad with it around a circle."""
    below: npt.NDArray[np.int64] = np.rint(array[(array < hu.LOWEST_AIR) & (array > -hu.LARGEST)]).astype(np.int64)
    if below.size < _least(array):
        return None
    values, counts = np.unique(below, return_counts=True)
    value = float(values[counts.argmax()])
    mask: Mask = np.abs(array - np.float32(value)) < ROUNDING_HU
    return Padding(value, mask) if mask.sum() >= _least(array) and _solidity(mask) >= SOLID else None


def _with_air(array: Array, padding: Padding) -> Array:
    """The array with air in the padding, and in what an interpolation has made of it."""
    filled = np.where(padding.mask, np.float32(hu.AIR), array)
    if padding.value < hu.LOWEST_AIR:
        return np.where(filled < hu.LOWEST_AIR, np.float32(hu.AIR), filled)
    return _without_shell(filled, padding.mask)


def _without_shell(array: Array, padding: Mask) -> Array:
    """Remove the layer of voxels between padding and air that an interpolation has blended of both."""
    cube = np.ones((3, 3, 3), dtype=bool)
    shell = ndimage.binary_dilation(padding, cube) & ~padding
    between = shell & (array > BLENDED[0]) & (array < BLENDED[1])
    if between.sum() < BLENDED_SHARE * shell.sum():
        return array
    beside_air = np.where(shell | padding, np.float32(np.inf), array)
    lowest = ndimage.minimum_filter(beside_air, size=3)
    blended = shell & (array > AIR_VALUES[1]) & (lowest <= AIR_VALUES[1])
    return np.where(blended, np.float32(hu.AIR), array)
