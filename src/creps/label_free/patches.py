"""Fixed patches to score, and where in the body each of their voxels lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from creps.cohort.cohort import Case, Cohort, Modality
from creps.patches import PatchLocation, centred_location, read_patch, triple
from creps.preprocessing.intensity import AIR_NETWORK
from creps.volume import Array

__all__ = ["HEIGHTS", "PLACES", "FixedPatch", "fixed_patches"]

HEIGHTS = (0.5, 0.25, 0.75)
"""Heights of a case's patches along the body's box; the first one is pictured."""

DEPTHS_MM = (6.0, 15.0, 30.0, 60.0)
"""Bounds of the shells under the skin."""

PLACES = len(HEIGHTS) * (len(DEPTHS_MM) + 1)
"""Places in the body: a height and a shell."""

COARSE_MM = 3.0
"""Depths are measured at about this spacing: fine enough for the shells, fast on large volumes."""


@dataclass(frozen=True)
class FixedPatch:
    """A patch that every validation uses.

    Attributes:
        array: (D, H, W) in network units.
        place: (D, H, W) place of each voxel, in 0 … `PLACES` - 1; -1 outside the body.
        shifted: (D, H, W) the patch that overlaps it, in network units.
        shift: Voxels (D, H, W) from this patch to that one; 0 along an axis that the patch fills.
    """

    array: Array
    place: npt.NDArray[np.int8]
    shifted: Array
    shift: tuple[int, int, int]

    @property
    def body(self) -> npt.NDArray[np.bool_]:
        """(D, H, W) body mask."""
        return np.asarray(self.place >= 0)

    @property
    def common(self) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """The voxels that both patches share: as slices of this one, and of the shifted one."""
        pairs = list(zip(self.shift, self.array.shape, strict=True))
        here = tuple(slice(max(0, s), n + min(0, s)) for s, n in pairs)
        return here, tuple(slice(max(0, -s), n + min(0, -s)) for s, n in pairs)


def fixed_patches(cohort: Cohort, modality: Modality, count: int, size: tuple[int, int, int]) -> list[FixedPatch]:
    """One patch of each height of the first validation cases, or training cases where there are none.

    Args:
        cohort: Where the cases are.
        modality: Of the cases.
        count: Cases at most.
        size: Of the patches, (D, H, W).

    Returns:
        All cases' patches at the first height, then at the second, ….
    """
    cases = cohort.cases(modality, "validation") or cohort.cases(modality, "train")
    rows = [_of_case(cohort, case, size) for case in cases[:count]]
    return [patch for row in zip(*rows, strict=True) for patch in row]


def _of_case(cohort: Cohort, case: Case, size: tuple[int, int, int]) -> list[FixedPatch]:
    """One patch of a case at each height."""
    fill = AIR_NETWORK if case.modality == "ct" else 0.0
    array, body = cohort.array(case), np.asarray(cohort.body(case))
    shell = _shells(body, case.spacing_mm)
    (first, end), *in_plane = case.body
    patches, shape = [], triple(array.shape)
    for number, height in enumerate(HEIGHTS):
        centre = (first + height * (end - first), *((a + b) / 2 for a, b in in_plane))
        where = centred_location(centre, shape, size)
        within = read_patch(shell, where, -1.0)
        place = np.where(within >= 0, within + number * (len(DEPTHS_MM) + 1), -1).astype(np.int8)
        beside = _beside(centre, shape, size)
        shift = triple(b - a for a, b in zip(where.index, beside.index, strict=True))
        patches.append(FixedPatch(read_patch(array, where, fill), place, read_patch(array, beside, fill), shift))
    return patches


def _beside(centre: Sequence[float], shape: tuple[int, int, int], size: tuple[int, int, int]) -> PatchLocation:
    """The patch moved by a quarter of its sides towards the volume's middle."""
    moved = [c + (p // 4 if c <= n / 2 else -(p // 4)) for c, n, p in zip(centre, shape, size, strict=True)]
    return centred_location(moved, shape, size)


def _shells(body: npt.NDArray[np.bool_], spacing_mm: tuple[float, float, float]) -> Array:
    """(D, H, W) shell under the skin, -1 outside the body. Where the field of view cuts the body there is no skin."""
    steps = [max(1, round(COARSE_MM / spacing)) for spacing in spacing_mm]
    coarse = body[tuple(slice(None, None, step) for step in steps)]
    depth_mm = ndimage.distance_transform_edt(coarse, sampling=[s * n for s, n in zip(spacing_mm, steps, strict=True)])
    shell = np.digitize(depth_mm, DEPTHS_MM).astype(np.float32)
    fine = shell[np.ix_(*(np.arange(n) // step for n, step in zip(body.shape, steps, strict=True)))]
    return np.where(body, fine, -1.0).astype(np.float32)
