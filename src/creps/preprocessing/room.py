"""What lies around the patient in an MR: the room that a ball can reach, and thin sheets such as coils."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from creps.preprocessing.morphology import (
    box_around,
    grow,
    largest,
    no_longer_than,
    reachable_air,
    shrink,
    sizes_within,
    voxel_ml,
)
from creps.volume import Mask

__all__ = ["lone_fingers", "room_around", "trunk_and_limbs"]

ENTRY_MM = 8.0
"""Radius of the ball that enters from beyond the sides of the volume: a skull cut by the field of view is thinner."""

BALL_MM = 5.0
"""Radius of the ball that moves on from there: it passes below the shell of a coil, but through no nostril."""

THICK_MM = 16.0
"""Limbs are thicker than this, fingers about as thick; shells of coils are thinner, except where they swell."""

LIMB_CORE_ML = 10.0
"""A piece with at least this volume deeper than half of `THICK_MM` is a limb."""

SMALLEST_CORE_ML = 0.5
"""A piece with less, but at least this volume, is a finger or a swelling of a shell."""

SHEET_SHARE = 0.18
"""A swelling joins thinner parts on more than this share of its surface, a finger on less."""

FINGER_MM = 12.0
"""Fingers that lie apart are thicker than this, in voxels of 4 mm too."""

FINGERS_MM = 140.0
"""Fingers, or a hand, that lie apart are no longer than this."""

FINGER_SHARE = 0.95
"""Fingers are thick all along: at least this share of their voxels belongs to the thick part."""


def room_around(tissue: Mask, spacing_mm: Sequence[float]) -> Mask:
    """(D, H, W) air that a ball reaches from the sides of the volume (not from its ends, where airways are cut open).

    Args:
        tissue: (D, H, W) tissue and whatever else gives signal.
        spacing_mm: Voxel spacing along D, H, W.
    """
    if tissue.all() or not tissue.any():
        return ~tissue
    air, seeds = _entered(tissue, spacing_mm)
    return (air & ~tissue) | reachable_air(tissue, spacing_mm, BALL_MM, seeds)


def trunk_and_limbs(solid: Mask, spacing_mm: Sequence[float]) -> Mask:
    """(D, H, W) the thick parts of a mask, without the swellings of thin sheets; the thickest part in any case."""
    core = shrink(solid, spacing_mm, THICK_MM / 2)
    if not core.any():
        return largest(solid)
    reach, ml = THICK_MM / 2 + max(spacing_mm), voxel_ml(spacing_mm)
    labels, count = ndimage.label(core)
    sizes = sizes_within(labels, count, core)
    sure = sizes * ml >= LIMB_CORE_ML
    sure[np.argmax(sizes)] = True
    trunk = grow(sure[labels], spacing_mm, reach) & solid
    small = core & ~sure[labels]
    if not small.any():
        return trunk
    parts = grow(small, spacing_mm, reach) & solid & ~trunk
    box = box_around(parts, (1, 1, 1))
    trunk[box] |= _without_swellings(parts[box], (solid & ~trunk)[box], small[box], spacing_mm)
    return trunk


def lone_fingers(loose: Mask, spacing_mm: Sequence[float]) -> Mask:
    """(D, H, W) pieces of a mask without trunk and limbs that have the shape of fingers."""
    core = shrink(loose, spacing_mm, FINGER_MM / 2)
    if core.sum() * voxel_ml(spacing_mm) < SMALLEST_CORE_ML:
        return np.zeros_like(core)
    thick = grow(core, spacing_mm, FINGER_MM / 2 + max(spacing_mm)) & loose
    labels, count = ndimage.label(loose)
    keep = sizes_within(labels, count, core) * voxel_ml(spacing_mm) >= SMALLEST_CORE_ML
    keep &= sizes_within(labels, count, thick) >= FINGER_SHARE * sizes_within(labels, count, loose)
    return np.asarray(no_longer_than(labels, keep, spacing_mm, FINGERS_MM)[labels])


def _without_swellings(parts: Mask, beside: Mask, core: Mask, spacing_mm: Sequence[float]) -> Mask:
    """The parts that stand alone.

    Args:
        parts: (D, H, W) thick parts that are too small for a limb.
        beside: The solid that these belong to, without trunk and limbs.
        core: Their core.
        spacing_mm: Voxel spacing along D, H, W.
    """
    labels, count = ndimage.label(parts)
    surface = sizes_within(labels, count, parts & ~shrink(parts, (1, 1, 1), 1))
    joined = sizes_within(labels, count, parts & grow(beside & ~parts, (1, 1, 1), 1))
    keep = sizes_within(labels, count, core) * voxel_ml(spacing_mm) >= SMALLEST_CORE_ML
    keep &= joined <= SHEET_SHARE * surface
    return np.asarray(keep[labels])


def _entered(tissue: Mask, spacing_mm: Sequence[float]) -> tuple[Mask, Mask]:
    """Air covered by large balls that are centred beyond a side, and the voxels of the sides that such balls reach.

    A ball beyond a side is free to come from afar, so only the slabs along the sides are searched.
    """
    air, seeds = np.zeros_like(tissue), np.zeros_like(tissue)
    for axis in (1, 2):
        far = int(ENTRY_MM / spacing_mm[axis]) + 1
        for flip in (False, True):
            views = [np.flip(mask, axis) if flip else mask for mask in (tissue, air, seeds)]
            slab, covered, side = (np.moveaxis(view, axis, 0)[:far] for view in views)
            spacing = (spacing_mm[axis], spacing_mm[0], spacing_mm[3 - axis])
            centres = ~grow(np.concatenate([np.zeros_like(slab), slab]), spacing, ENTRY_MM)
            beyond = len(slab)
            side[0] |= centres[beyond]
            centres[beyond:] = False
            covered |= grow(centres, spacing, ENTRY_MM)[beyond:]
    return air, seeds
