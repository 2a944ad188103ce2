"""HU of tissues, how much there is of each, steps between slices, and saturation."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from creps import hu
from creps.metrics.tissues import TISSUE_WINDOWS_HU
from creps.qa.measures.measure import Measure, argmax
from creps.qa.scene import Scene
from creps.volume import Array, Mask

__all__ = ["by_place", "levels", "saturated", "shares", "steps"]

FAT_DEPTH_MM = (3.9, 9.0)
"""Fat under the skin lies this deep; its bright part is taken."""

BRIGHT_SHARE = 60
"""Percentile of the MR in that layer above which it is fat."""

DEEP_MM = 9.0
SOFT_HU = (-100.0, 250.0)
"""Neither fat, nor air, nor bone."""

STEP_HU = (-200.0, 300.0)
"""Tissue in which steps between neighbouring planes are looked for."""

SMALLEST_PLANE = 150
"""Fewest pairs of voxels (24 cm²) for which a step is measured."""

SMALLEST = 50
HEIGHTS, FRONT_TO_BACK = 4, 3


def levels(scene: Scene) -> dict[str, Measure]:
    """Median HU of fat under the skin, of deep soft tissue and of bone, and how uneven deep soft tissue is in HU."""
    rim = scene.both & (scene.depth_mm > FAT_DEPTH_MM[0]) & (scene.depth_mm <= FAT_DEPTH_MM[1])
    bright = rim & (scene.mr > (np.percentile(scene.mr[rim], BRIGHT_SHARE) if rim.any() else 0))
    soft = (scene.depth_mm > DEEP_MM) & (scene.sct_hu > SOFT_HU[0]) & (scene.sct_hu < SOFT_HU[1])
    bone = scene.bone & (scene.sct_hu > hu.BONE_ABOVE)
    rough = scene.sct_hu - ndimage.gaussian_filter(np.clip(scene.sct_hu, *SOFT_HU), 1.0)
    inner = ndimage.binary_erosion(soft)
    return {
        "fat": _median(scene.sct_hu[bright]),
        "soft_tissue": _median(scene.sct_hu[soft]),
        "bone": _median(scene.sct_hu[bone]),
        "unevenness": Measure(float(rough[inner].std()) if inner.sum() >= SMALLEST else None),
    }


def _median(values: Array) -> Measure:
    return Measure(float(np.median(values)) if values.size >= SMALLEST else None)


def shares(scene: Scene) -> dict[str, Measure]:
    """Share in % of the body that is bone, air and fat in the sCT."""
    total = max(1, int(scene.body.sum()))
    low, high = TISSUE_WINDOWS_HU["fat"]
    fat = (scene.sct_hu > low) & (scene.sct_hu < high) & scene.body
    air = (scene.sct_hu < hu.AIR_BELOW) & scene.body
    return {
        f"{name}_share": Measure(100 * float(mask.sum()) / total)
        for name, mask in (("bone", scene.bone), ("air", air), ("fat", fat))
    }


def steps(scene: Scene) -> dict[str, Measure]:
    """The largest step in HU from a plane to the next: across slices, and across rows or columns.

    It is the median over soft tissue, beyond the larger of the steps before and after: a patient changes over several
    planes, a patch beside another at once.
    """
    soft = ndimage.binary_erosion(
        (scene.depth_mm > DEEP_MM) & (scene.sct_hu > STEP_HU[0]) & (scene.sct_hu < STEP_HU[1])
    )
    found = [_step(scene, soft, axis) for axis in range(3)]
    across = max(found[1:], key=lambda one: -1.0 if one.value is None else one.value)
    return {"slice_step": found[0], "plane_step": across}


def _step(scene: Scene, soft: Mask, axis: int) -> Measure:
    planes, inside = np.moveaxis(scene.sct_hu, axis, 0), np.moveaxis(soft, axis, 0)
    sizes = np.array([_between(planes[i : i + 2], inside[i : i + 2]) for i in range(len(planes) - 1)])
    padded = np.pad(np.where(np.isnan(sizes), np.inf, sizes), 2, constant_values=np.inf)
    around = np.max([padded[:-4], padded[1:-3], padded[3:-1], padded[4:]], axis=0)
    sharp = np.where(np.isnan(sizes), -np.inf, sizes) - around
    if not np.isfinite(sharp).any():
        return Measure(None)
    number = int(sharp.argmax())
    row, column = np.argwhere(inside[number]).mean(axis=0) if inside[number].any() else (0, 0)
    place = [int(row), int(column)]
    place.insert(axis, number)
    return Measure(max(0.0, float(sharp[number])), (place[0], place[1], place[2]))


def _between(two: Array, inside: Mask) -> float:
    """Absolute median step between two planes; NaN if they share little soft tissue."""
    both = inside[0] & inside[1]
    return abs(float(np.median(two[1][both] - two[0][both]))) if np.count_nonzero(both) >= SMALLEST_PLANE else np.nan


def saturated(scene: Scene) -> Measure:
    """Share in % of the body at the lowest or the highest HU that an sCT can have."""
    low, high = hu.SCT_RANGE
    at_end = ((scene.sct_hu <= low + 4) | (scene.sct_hu >= high - 10)) & scene.body
    place = argmax(at_end) if at_end.any() else None
    return Measure(100 * float(at_end.sum()) / max(1, int(scene.body.sum())), place)


def by_place(scene: Scene) -> npt.NDArray[np.float64]:
    """(36,) shares of bone, air and body in 4 heights x 3 depths of the body's box, D from inferior, H from anterior.

    Bone and air are shares of the body in that part; the body's is the share of the part.
    """
    slices = np.flatnonzero(scene.body.any(axis=(1, 2)))
    rows = np.flatnonzero(scene.body.any(axis=(0, 2)))
    columns = np.flatnonzero(scene.body.any(axis=(0, 1)))
    heights = np.linspace(slices[0], slices[-1] + 1, HEIGHTS + 1).round().astype(int)
    depths = np.linspace(rows[0], rows[-1] + 1, FRONT_TO_BACK + 1).round().astype(int)
    wide = slice(int(columns[0]), int(columns[-1]) + 1)
    air = (scene.sct_hu < hu.AIR_BELOW) & scene.body
    found = []
    for mask in (scene.bone, air, scene.body):
        for bottom, top in pairwise(heights):
            for front, back in pairwise(depths):
                part = (slice(bottom, top), slice(front, back), wide)
                whole = scene.body[part].size if mask is scene.body else scene.body[part].sum()
                found.append(float(mask[part].sum()) / max(1, int(whole)))
    return np.array(found)
