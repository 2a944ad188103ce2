"""Distinguish label maps (segmentations, masks) from images, by name and by values."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from creps.volume import Array

__all__ = ["count_labels", "named_as_labels", "named_as_mask"]

WORDS = frozenset(
    {
        "seg", "segs", "dseg", "segmentation", "segmentations", "label", "labels", "labelmap", "labelmaps",
        "mask", "masks", "aseg", "aparc", "parcellation", "contour", "contours", "roi", "rois", "rtstruct",
        "gtv", "ctv", "ptv", "brainmask", "bodymask", "lesion", "lesions", "tissues", "organs", "annotation",
        "annotations",
        "prob", "probs", "probability", "probabilities", "pve", "dist", "distance", "distancemap", "sdf", "biasfield",
    }
)  # fmt: skip
"""Words of a file name that say it is a label map, if they stand alone: m1_seg, m1-label, but not seg3d_T1."""

MASK = re.compile(r"mask(?!ed)")

TARGET = re.compile(r"[gcp]tv([pnt]\d*|\d+)")
"""Targets of radiotherapy: GTVp, CTVn2, PTV60."""

FEWEST = 5
"""An image with no more different values than this is a label map, whatever they are: no MR has 2 bits."""

MOST = 3000
"""Label maps have no more values (FreeSurfer's reach 2035 classes in 14,000 numbers)."""

LARGEST_RANGE = 65535
"""A label map has no larger number (FreeSurfer's reach 14,175)."""

SLICES = 16
"""Neighbours are compared in about this many slices."""

EQUAL_SHARE = 0.75
"""Neighbouring voxels of a label map that are not background are equal at least this often. Real MRs: 2 to 20 %, real
MRs cut down to 8 grey levels: 57 to 79 %..."""

JUMP = 1.6
"""... but the grey levels of an MR change one step at a time (1.0 to 1.4 steps), and labels by more than this."""


def named_as_labels(stem: str) -> bool:
    """Whether a file's name, without its extension, is that of a label map or mask.

    Example:
        >>> named_as_labels("m1_seg"), named_as_labels("seg3d_T1")
        (True, False)
    """
    words = re.split(r"[\s_.+\-]+", stem.casefold())
    return named_as_mask(stem) or any(word in WORDS or TARGET.fullmatch(word) for word in words)


def named_as_mask(stem: str) -> bool:
    """Whether a file's name, without its extension, is that of a mask; a masked image is none.

    Example:
        >>> named_as_mask("m1_mask"), named_as_mask("m1_masked")
        (True, False)
    """
    return MASK.search(stem.casefold()) is not None


def count_labels(array: Array) -> int:
    """Count the labels if an image is a label map: very few different values, or few integers in uniform regions.

    Args:
        array: (D, H, W).

    Returns:
        The number of different values of a label map; 0 for an image.
    """
    middle = array[len(array) // 2]
    if len(np.unique(middle)) <= FEWEST and 1 < (values := len(np.unique(array))) <= FEWEST:
        return values
    if not np.array_equal(middle, np.rint(middle)) or float(array.max()) - float(array.min()) > LARGEST_RANGE:
        return 0
    if not np.array_equal(array, np.rint(array)):
        return 0
    numbers = (array - array.min()).astype(np.int32)
    counts = np.bincount(numbers.ravel())
    levels = int((counts > 0).sum())
    if not FEWEST < levels <= MOST:
        return levels if 1 < levels <= FEWEST else 0
    ranks = (np.cumsum(counts > 0) - 1)[numbers[:: max(1, len(array) // SLICES)]]
    background = int((np.cumsum(counts > 0) - 1)[counts.argmax()])
    steps = np.concatenate([_steps(ranks, axis, background) for axis in (1, 2)])
    if not steps.size or (steps == 0).mean() < EQUAL_SHARE:
        return 0
    changes = steps[steps > 0]
    return levels if not changes.size or changes.mean() >= JUMP else 0


def _steps(ranks: npt.NDArray[np.int64], axis: int, background: int) -> npt.NDArray[np.int64]:
    """How many levels neighbours along an axis differ by, where neither is background."""
    moved = np.moveaxis(ranks, axis, 0)
    inside = (moved[1:] != background) & (moved[:-1] != background)
    return np.asarray(np.abs(moved[1:][inside] - moved[:-1][inside]))
