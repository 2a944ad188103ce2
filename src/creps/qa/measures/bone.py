"""Bone of the sCT: continuity, thickness, and whether it is where this patient's MR lets one expect bone."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import ndimage

from creps.qa.measures.measure import Measure, densest
from creps.qa.scene import Scene
from creps.volume import Array

__all__ = ["certain_bone", "expected_bone", "shape", "unlike_the_mr", "unsupported"]

SKIN_MM = 4.1
"""Bone this near to the skin is rare."""

SHEET_VOXELS = 5
"""What is dark and thinner than this (20 mm) counts as a dark sheet, as compact bone is."""

SIGNAL_STEPS, SHEET_STEPS = 10, 6
DEPTHS_MM = (6.0, 10.0, 15.0, 25.0, 40.0)
PRIOR = 5.0
"""Voxels without bone that are added to every bin."""

TYPICAL = 0.75
"""Quantile of what is expected within bone that counts as certain."""

INNER_MM = 8.0
"""Bone nearer to the skin than this always has an edge beside it."""

LEAST_SIGNAL = 0.1
"""Times the body's median signal: contrast is relative to no less than this."""

EVERYWHERE = np.ones((3, 3, 3), dtype=bool)


def shape(scene: Scene) -> dict[str, Measure]:
    """Share in % of the bone in its largest piece, thickness in mm (twice volume over surface), share near the skin."""
    bone = scene.bone
    count = int(bone.sum())
    if count == 0:
        return {"bone_continuity": Measure(0.0), "bone_thickness": Measure(None), "bone_at_skin": Measure(None)}
    labels, _ = ndimage.label(bone, EVERYWHERE)
    largest = np.bincount(labels[bone]).max()
    faces = sum(int((np.diff(np.pad(bone, 1).astype(np.int8), axis=axis) != 0).sum()) for axis in range(3))
    area = faces * scene.spacing_mm[0] ** 2 * 2 / 3  # faces of voxels overstate a surface by half, on average
    at_skin = bone & (scene.depth_mm <= SKIN_MM)
    return {
        "bone_continuity": Measure(100 * float(largest) / count),
        "bone_thickness": Measure(2 * count * scene.voxel_ml * 1000 / max(area, 1e-6)),
        "bone_at_skin": Measure(100 * float(at_skin.sum()) / count),
    }


def unlike_the_mr(scene: Scene) -> dict[str, Measure]:
    """Bone that is missing where the MR looks like bone, and bone where it does not, in ml of the largest clump.

    The rest of the same patient tells what looks like bone, see `expected_bone`. Both are blind where all bone of
    the patient is wrong in the same way.
    """
    rest = expected_bone(scene) - scene.bone
    return {"bone_missing": densest(rest, scene), "bone_unexplained": densest(-rest, scene)}


def unsupported(scene: Scene) -> dict[str, Measure]:
    """Bone in ml of the largest clump that the MR does not support, deeper than 8 mm.

    `bone_unlikely`: bone whose signal, depth and darkness are not those of most bone of this patient.
    `bone_without_edges`: bone where the MR is more uniform than in half of this patient's bone. Compact bone is dark
    beside what surrounds it, so the MR has an edge within 4 mm of nearly all bone. Thick marrow counts as well.
    """
    bone = scene.bone
    if not bone.any():
        return dict.fromkeys(("bone_unlikely", "bone_without_edges"), Measure(None))
    inner = bone & (scene.depth_mm > INNER_MM)
    expected, contrast = expected_bone(scene), _contrast(scene)
    certain = certain_bone(scene)
    usual = max(float(np.median(contrast[bone])), 1e-3)
    return {
        "bone_unlikely": densest(np.where(inner, np.clip(1 - expected / certain, 0, 1), np.float32(0)), scene),
        "bone_without_edges": densest(np.where(inner, np.clip(1 - contrast / usual, 0, 1), np.float32(0)), scene),
    }


def _contrast(scene: Scene) -> Array:
    """(D, H, W) difference of the largest and smallest signal within a voxel of each, over their mean."""
    mean = np.maximum(ndimage.uniform_filter(scene.mr, 3), LEAST_SIGNAL)
    return np.asarray((ndimage.maximum_filter(scene.mr, 3) - ndimage.minimum_filter(scene.mr, 3)) / mean)


def certain_bone(scene: Scene) -> float:
    """What is expected where the MR certainly looks like bone: the `TYPICAL` quantile within the bone of the sCT."""
    return max(float(np.quantile(expected_bone(scene)[scene.bone], TYPICAL)), 1e-3)


@lru_cache(maxsize=1)
def expected_bone(scene: Scene) -> Array:
    """(D, H, W) share of bone among this patient's voxels of like signal, like depth, and as dark beside others."""
    inside = scene.body & scene.imaged
    signal = ndimage.uniform_filter(scene.mr, 2)
    around = ndimage.grey_closing(signal, SHEET_VOXELS)
    sheet = 1 - signal / np.maximum(around, 1e-3)
    bins = np.zeros(int(inside.sum()), dtype=np.int64)
    for values, steps in ((signal[inside], SIGNAL_STEPS), (sheet[inside], SHEET_STEPS)):
        edges = np.quantile(values, np.linspace(0, 1, steps + 1)[1:-1])
        bins = bins * steps + np.searchsorted(edges, values)
    bins = bins * (len(DEPTHS_MM) + 1) + np.searchsorted(DEPTHS_MM, scene.depth_mm[inside])
    voxels = np.bincount(bins)
    share = np.bincount(bins, scene.bone[inside]) / (voxels + PRIOR)
    expected = np.zeros(scene.mr.shape, dtype=np.float32)
    expected[inside] = share[bins]
    return expected
