"""Morphology of body masks: balls in mm, the largest piece, what a slice encloses.

A ball grows a mask 64 voxels at a time: the rows are packed into words, widened bit by bit along W and ORed over the
ball's disc along D and H. The result is that of a distance map with a threshold, without the map.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from creps.volume import Mask

__all__ = [
    "body_box",
    "box_around",
    "filled",
    "grow",
    "largest",
    "no_longer_than",
    "opened",
    "reachable_air",
    "shrink",
    "sizes_within",
    "voxel_ml",
]

Words = npt.NDArray[np.uint64]
Box = tuple[slice, slice, slice]

WORD = 64

ROUNDING = 1e-6
"""A voxel whose distance is the radius, but for its rounding, belongs to the ball."""

SLAB = 8
"""Slices that pieces are counted in at a time."""


def grow(mask: Mask, spacing_mm: Sequence[float], radius_mm: float) -> Mask:
    """(D, H, W): voxels no further than the radius from one of the mask; nothing lies beyond the edge."""
    reach = _reach(spacing_mm, radius_mm)
    box = box_around(mask, [reach.shape[0] - 1, reach.shape[1] - 1, int(reach.max())])
    grown = np.zeros_like(mask)
    if mask.any():
        grown[box] = _grown(mask[box], reach)
    return grown


def shrink(mask: Mask, spacing_mm: Sequence[float], radius_mm: float) -> Mask:
    """(D, H, W): voxels further than the radius from all outside the mask, which continues beyond the edge."""
    box = box_around(mask, (1, 1, 1))
    shrunk = np.zeros_like(mask)
    shrunk[box] = ~_grown(~mask[box], _reach(spacing_mm, radius_mm))
    return shrunk


def opened(mask: Mask, spacing_mm: Sequence[float], radius_mm: float) -> Mask:
    """(D, H, W): the mask without what is thinner than the ball."""
    return mask & grow(shrink(mask, spacing_mm, radius_mm), spacing_mm, radius_mm)


def sizes_within(labels: npt.NDArray[np.int32], count: int, where: Mask) -> npt.NDArray[np.int64]:
    """(1 + count,) voxels of each piece within `where`; none for the background."""
    sizes = np.bincount(labels[where], minlength=count + 1)
    sizes[0] = 0
    return sizes


def reachable_air(tissue: Mask, spacing_mm: Sequence[float], ball_mm: float, start: Mask) -> Mask:
    """(D, H, W): air covered by a ball that moves through the air from any voxel of `start`.

    Args:
        tissue: (D, H, W) what the ball cannot enter.
        spacing_mm: Voxel spacing along D, H, W.
        ball_mm: Radius of the ball.
        start: (D, H, W) centres of the ball to start from; those too close to tissue do not count.
    """
    labels, count = ndimage.label(~grow(tissue, spacing_mm, ball_mm))
    reached = np.zeros(count + 1, dtype=bool)
    reached[labels[start]] = True
    reached[0] = False
    return grow(reached[labels], spacing_mm, ball_mm) & ~tissue


def no_longer_than(
    labels: npt.NDArray[np.int32], keep: npt.NDArray[np.bool_], spacing_mm: Sequence[float], longest_mm: float
) -> npt.NDArray[np.bool_]:
    """(1 + count,): of the pieces to keep, those whose box is no longer than a limit along any axis."""
    boxes, kept = ndimage.find_objects(labels), keep.copy()
    kept[0] = False
    for label in np.flatnonzero(kept):
        extents = [(part.stop - part.start) * s for part, s in zip(boxes[label - 1], spacing_mm, strict=True)]
        kept[label] = max(extents) <= longest_mm
    return kept


def voxel_ml(spacing_mm: Sequence[float]) -> float:
    """Volume of a voxel in ml."""
    return float(np.prod(spacing_mm)) / 1000


def largest(mask: Mask) -> Mask:
    """(D, H, W): the largest piece of a mask, voxels being neighbours across faces; the first of several."""
    box = box_around(mask, (0, 0, 0))
    labels, count = ndimage.label(mask[box])
    if count < 2:
        return mask
    sizes = np.zeros(count + 1, dtype=np.int64)
    for i in range(0, len(labels), SLAB):
        sizes += np.bincount(labels[i : i + SLAB].ravel(), minlength=count + 1)
    alone = np.zeros_like(mask)
    alone[box] = labels == 1 + np.argmax(sizes[1:])
    return alone


def filled(mask: Mask) -> Mask:
    """Fill what is enclosed within a slice, axial, then coronal, then sagittal."""
    box = box_around(mask, (0, 0, 0))
    whole = mask.copy()
    for axis in range(3):
        _fill_planes(whole[box], axis)
    return whole


def body_box(mask: Mask) -> tuple[tuple[int, int], ...]:
    """((first, end), ...) along D, H, W of the box around the mask; the whole array if it is empty."""
    parts = []
    rows, columns = np.any(mask, axis=2), np.any(mask, axis=0)
    for axis, seen in enumerate((np.any(rows, axis=1), np.any(columns, axis=1), np.any(columns, axis=0))):
        where = np.flatnonzero(seen)
        parts.append((int(where[0]), int(where[-1]) + 1) if where.size else (0, mask.shape[axis]))
    return tuple(parts)


def box_around(mask: Mask, margin: Sequence[int]) -> Box:
    """The box around the mask with a margin in voxels, within the array."""
    d, h, w = (
        slice(max(0, first - more), min(n, end + more))
        for (first, end), more, n in zip(body_box(mask), margin, mask.shape, strict=True)
    )
    return d, h, w


def _reach(spacing_mm: Sequence[float], radius_mm: float) -> npt.NDArray[np.int64]:
    """[along D, along H] voxels from the ball's centre: how many it reaches along W; -1 for none."""
    d, h, w = spacing_mm
    limit = radius_mm * (1 + ROUNDING)
    along_d, along_h = (np.arange(int(limit / s) + 1) * s for s in (d, h))
    left = limit**2 - along_d[:, None] ** 2 - along_h**2
    return np.where(left < 0, -1, np.sqrt(np.maximum(left, 0)) / w).astype(np.int64)


def _grown(mask: Mask, reach: npt.NDArray[np.int64]) -> Mask:
    """The mask grown by a ball of that reach (see `_reach`)."""
    rows = [_packed(mask)]
    for _ in range(int(reach.max())):
        rows.append(_wider(rows[-1]))
    grown = np.zeros_like(rows[0])
    for d, reaches in enumerate(reach):
        disc = np.zeros_like(grown)
        for h, length in enumerate(reaches):
            if length >= 0:
                _or_shifted(disc, rows[length], h, axis=1)
        _or_shifted(grown, disc, d, axis=0)
    return _unpacked(grown, mask.shape[2])


def _packed(mask: Mask) -> Words:
    """(D, H, words): voxel i of a row is bit i of its words."""
    depth, height, width = mask.shape
    octets = np.zeros((depth, height, -(-width // WORD) * 8), dtype=np.uint8)
    bits = np.packbits(mask, axis=2, bitorder="little")
    octets[..., : bits.shape[2]] = bits
    return octets.view("<u8")


def _unpacked(words: Words, width: int) -> Mask:
    """What `_packed` was given."""
    bits = np.unpackbits(words.view(np.uint8), axis=2, count=width, bitorder="little")
    return bits.view(np.bool_)


def _wider(words: Words) -> Words:
    """Every row grown by a voxel to both sides."""
    one, top = np.uint64(1), np.uint64(WORD - 1)
    wider = words | (words << one) | (words >> one)
    wider[..., 1:] |= words[..., :-1] >> top
    wider[..., :-1] |= words[..., 1:] << top
    return wider


def _or_shifted(target: Words, source: Words, by: int, axis: int) -> None:
    """OR `source`, moved by a number of voxels in both directions along an axis, into `target`."""
    if by == 0:
        target |= source
    elif by < target.shape[axis]:
        first, last = [slice(None)] * 3, [slice(None)] * 3
        first[axis], last[axis] = slice(None, -by), slice(by, None)
        target[tuple(last)] |= source[tuple(first)]
        target[tuple(first)] |= source[tuple(last)]


def _fill_planes(mask: Mask, axis: int) -> None:
    """Fill, in place, what is enclosed within the planes across an axis.

    A voxel from which a straight line leaves the plane is not enclosed; only the others are searched.
    """
    words = _packed(mask)
    across = [other for other in range(3) if other != axis]
    suspects = _between(words, across[0]) & _between(words, across[1]) & ~words
    if not suspects.any():
        return
    hidden = _unpacked(suspects, mask.shape[2])
    box = box_around(hidden, (1, 1, 1))
    hidden = hidden[box]
    outside = ~(mask[box] | hidden)
    labels, count = ndimage.label(hidden, _cross(axis))
    reached = np.zeros(count + 1, dtype=bool)
    reached[0] = True
    for other in across:
        first, last = [slice(None)] * 3, [slice(None)] * 3
        first[other], last[other] = slice(None, -1), slice(1, None)
        reached[labels[tuple(first)][outside[tuple(last)]]] = True
        reached[labels[tuple(last)][outside[tuple(first)]]] = True
    mask[box] |= ~reached[labels]


def _cross(axis: int) -> Mask:
    """(3, 3, 3): neighbours across the edges of a pixel, in the planes across an axis."""
    cross = ndimage.generate_binary_structure(3, 1)
    cross[(slice(None),) * axis + ([0, 2],)] = False
    return np.asarray(cross)


def _between(words: Words, axis: int) -> Words:
    """Voxels with one of the mask on either side along an axis, and the mask itself."""
    if axis < 2:
        after = np.flip(np.bitwise_or.accumulate(np.flip(words, axis), axis), axis)
        return np.asarray(np.bitwise_or.accumulate(words, axis) & after)
    before, after = words.copy(), words.copy()
    for step in (1, 2, 4, 8, 16, 32):
        before |= before << np.uint64(step)
        after |= after >> np.uint64(step)
    for i in range(1, words.shape[2]):
        before[..., i:] |= _all_or_none(words[..., i - 1, None])
        after[..., :-i] |= _all_or_none(words[..., -i, None])
    return np.asarray(before & after)


def _all_or_none(words: Words) -> Words:
    """All bits where any is set."""
    return np.where(words != 0, ~np.uint64(0), np.uint64(0))
