"""The same MR, cut, padded, turned or moved: what should not change the sCT."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from creps.volume import Array, Mask, Volume

__all__ = ["VARIANTS", "Variant", "back", "cut", "padded"]

Variant = Callable[[Volume, Mask], Volume]

PADDING = 5
"""Voxels on every side."""

NOISE = 0.01
"""Of the MR's 99th percentile: the background of a magnitude image."""

MOVED_MM = (1.3, -2.1, 0.7)
"""Patient (x, y, z): no multiple of any spacing."""


def padded(mr: Volume, before: tuple[int, int, int], after: tuple[int, int, int], *, noise: bool = False) -> Volume:
    """More voxels along (D, H, W), 0 or noise; every other voxel stays where it is in the patient."""
    widths = list(zip(before, after, strict=True))
    array = np.pad(mr.array, widths)
    if noise:
        rng = np.random.default_rng(0)
        filled = rng.rayleigh(NOISE * float(np.percentile(mr.array, 99)), array.shape).astype(np.float32)
        inside = np.pad(np.ones(mr.shape, dtype=bool), widths)
        array = np.where(inside, array, filled)
    return _at(mr, array, [-n for n in before])


def cut(mr: Volume, before: tuple[int, int, int], after: tuple[int, int, int]) -> Volume:
    """Fewer voxels along (D, H, W); the others stay where they are in the patient."""
    box = tuple(slice(first, n - last) for first, last, n in zip(before, after, mr.shape, strict=True))
    return _at(mr, np.ascontiguousarray(mr.array[box]), before)


def back(sct: Volume, original: Volume, moved_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Array:
    """An sCT at the voxels of the original MR, none of them interpolated; NaN where it has none."""
    upright = sct.reoriented(original.direction)
    start = original.direction.T @ (np.asarray(upright.origin_mm) - moved_mm - np.asarray(original.origin_mm))
    index = np.round(start / np.asarray(original.spacing_mm)).astype(int)
    array = np.full(original.shape, np.nan, np.float32)
    theirs, ours = [], []
    for first, n, length in zip(index.tolist(), upright.shape, original.shape, strict=True):
        low, high = max(0, first), min(length, first + n)
        ours.append(slice(low, high))
        theirs.append(slice(low - first, high - first))
    array[tuple(ours)] = upright.array[tuple(theirs)]
    return array


def _at(mr: Volume, array: npt.NDArray[np.float32], first: tuple[int, ...] | list[int]) -> Volume:
    x, y, z = mr.to_patient_mm(first).tolist()
    return Volume(array, mr.spacing_mm, (x, y, z), mr.direction)


def _air_cut(mr: Volume, body: Mask) -> Volume:
    """Half of the air at the four sides cut off, rounded to other numbers of voxels on either side."""
    before, after = [0, 0, 0], [0, 0, 0]
    for axis in (1, 2):
        filled = np.flatnonzero(body.any(axis=tuple(i for i in range(3) if i != axis)))
        before[axis] = int(filled[0]) // 2
        after[axis] = (mr.shape[axis] - 1 - int(filled[-1])) // 2
    return cut(mr, (before[0], before[1], before[2]), (after[0], after[1], after[2]))


def _turned(mr: Volume, body: Mask) -> Volume:
    """The same voxels, stored sagittal and from the left."""
    del body
    direction = np.array([[-1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])
    return mr.reoriented(direction)


def _moved(mr: Volume, body: Mask) -> Volume:
    del body
    x, y, z = (np.asarray(mr.origin_mm) + MOVED_MM).tolist()
    return Volume(mr.array, mr.spacing_mm, (x, y, z), mr.direction)


N = PADDING
VARIANTS: dict[str, Variant] = {
    "empty slice above": lambda mr, _: padded(mr, (0, 0, 0), (1, 0, 0)),
    "empty slice below": lambda mr, _: padded(mr, (1, 0, 0), (0, 0, 0)),
    "one slice less above": lambda mr, _: cut(mr, (0, 0, 0), (1, 0, 0)),
    "one slice less below": lambda mr, _: cut(mr, (1, 0, 0), (0, 0, 0)),
    "two slices less below": lambda mr, _: cut(mr, (2, 0, 0), (0, 0, 0)),
    "a column less": lambda mr, _: cut(mr, (0, 0, 1), (0, 0, 0)),
    "padded, 0": lambda mr, _: padded(mr, (N, N, N), (N, N, N)),
    "padded, noise": lambda mr, _: padded(mr, (N, N, N), (N, N, N), noise=True),
    "padded at one side": lambda mr, _: padded(mr, (0, N, 0), (0, 0, N + 2)),
    "air cut": _air_cut,
    "stored otherwise": _turned,
    "moved in the header": _moved,
}
