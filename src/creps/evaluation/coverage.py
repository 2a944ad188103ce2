"""Find where a CT has voxels but no data: the padding of a resampling, or around the reconstructed circle.

A CT that was resampled onto a larger grid is filled with one value where it has no data, often the value of air. Air
that was measured has noise, so a region of one exact value at the border is padding. Two kinds of CT have no noise in
their air: CTs clipped at air, and CTs with the room blanked out. In those, one value surrounds the whole body, and only
planes at an end of the volume are taken as padding, and only if the body is cut off there instead of tapering.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from creps.preprocessing.mask import body_mask_ct
from creps.volume import Mask, Volume

__all__ = ["uncovered"]

FACE_SHARE = 0.002
"""A value is a candidate for padding if this share of the voxels on the six faces have it exactly."""

CANDIDATES = 4
"""The most frequent values that are tried."""

SURROUNDED = 0.5
"""If more than this share of the body's surface touches one value, the air of the CT has no noise."""

CUT_SHARE = 0.25
"""A cut body fills at least this share of its largest cross-section in the last plane before the padding."""

CUT_GROWTH = 0.75
"""A cut body is in that plane at least this large, compared with the next one; a vertex grows much faster."""

CONTACT = 0.01
"""A region that cuts the body off touches it with more voxels than this share of the body's surface; a region of air
that the scanner clipped at its lowest value may touch it with a few."""

TOUCHES = 2
"""Padding that ends this many voxels from the body cuts it off: interpolation mixes one voxel at the seam."""


def uncovered(ct: Volume) -> Mask:
    """Find the voxels of a CT that are padding where the patient could continue.

    Args:
        ct: In HU, in any orientation.

    Returns:
        (D, H, W); padding that touches no body is left out, since air is right there.
    """
    found = np.zeros(ct.shape, dtype=bool)
    regions = [region for value in _candidates(ct.array) if (region := _constant_region(ct.array, value)).any()]
    if not regions:
        return found
    padding: Mask = np.logical_or.reduce(regions)
    body = body_mask_ct(ct) & ~padding
    if not body.any():
        return found
    surface = body & ~ndimage.binary_erosion(body, border_value=1)
    near = ndimage.binary_dilation(padding, np.ones((3, 3, 3)), iterations=TOUCHES)
    if (surface & near).sum() > SURROUNDED * surface.sum():
        return _cut_ends(padding, body)
    labels, _ = ndimage.label(padding)
    contact = np.bincount(labels[ndimage.binary_dilation(surface, np.ones((3, 3, 3)), iterations=TOUCHES)])
    touching = np.flatnonzero(contact > CONTACT * surface.sum())
    return np.asarray(np.isin(labels, touching[touching > 0]))


def _candidates(array: npt.NDArray[np.float32]) -> list[float]:
    """The values that many voxels of the six faces have exactly."""
    faces = np.concatenate([array.take(end, axis=axis).ravel() for axis in range(3) for end in (0, -1)])
    values, counts = np.unique(faces, return_counts=True)
    order = np.argsort(counts)[::-1][:CANDIDATES]
    return [float(values[one]) for one in order if counts[one] > FACE_SHARE * faces.size]


def _constant_region(array: npt.NDArray[np.float32], value: float) -> Mask:
    """Where a value fills whole neighbourhoods of 3 x 3 x 3 voxels that are connected to the border."""
    equal: Mask = array == value
    block = np.ones((3, 3, 3))
    solid = ndimage.binary_erosion(equal, block, border_value=1)
    region = ndimage.binary_dilation(solid, block) & equal
    labels, _ = ndimage.label(region)
    faces = [labels.take(end, axis=axis).ravel() for axis in range(3) for end in (0, -1)]
    at_border = np.unique(np.concatenate(faces))
    return np.asarray(np.isin(labels, at_border[at_border > 0]))


def _cut_ends(padding: Mask, body: Mask) -> Mask:
    """Whole planes of padding at the six ends, where they cut the body off."""
    found = np.zeros(body.shape, dtype=bool)
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        full: Mask = np.asarray(padding.all(axis=others))
        area = np.asarray(body.sum(axis=others))
        for flip in (False, True):
            planes, areas = (full[::-1], area[::-1]) if flip else (full, area)
            depth = int(np.argmin(planes))
            if depth == 0 or planes.all():
                continue
            last, following = areas[depth], areas[min(depth + 1, len(areas) - 1)]
            if last >= CUT_SHARE * areas.max() and last >= CUT_GROWTH * following:
                ends = slice(len(planes) - depth, None) if flip else slice(0, depth)
                found[(slice(None),) * axis + (ends,)] = True
    return found
