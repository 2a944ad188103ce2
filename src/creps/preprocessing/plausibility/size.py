"""What a volume of either kind must be: of a patient's size, with values that a scanner writes, and no label map."""

from __future__ import annotations

from creps.errors import InputError
from creps.preprocessing.label_maps import count_labels
from creps.volume import Volume

__all__ = ["check_extent", "refuse_labels", "value_range"]

EXTENT_MM = (20.0, 3000.0)
"""A volume of a patient is this long along each axis."""

SMALL_MM, MANY_VOXELS = 60.0, 64
"""A region this small is never scanned with this many voxels along an axis: the spacing is in cm."""

FEW_SLICES = 6
"""So few slices are a thin slab rather than slices with a wrong spacing."""


def check_extent(shape: tuple[int, int, int], extent_mm: tuple[float, float, float], name: str) -> None:
    """Refuse a size that no patient has.

    Args:
        shape: (D, H, W).
        extent_mm: Edge to edge along D, H, W.
        name: What the message calls the volume.

    Raises:
        InputError: too small or too large, usually because the spacing is not in mm; or a few slices.
    """
    thin = [axis for axis, extent in enumerate(extent_mm) if extent < EXTENT_MM[0]]
    if len(thin) == 1 and shape[thin[0]] <= FEW_SLICES and max(extent_mm) <= EXTENT_MM[1]:
        raise InputError(
            f"{name} has only {shape[thin[0]]} slices, {extent_mm[thin[0]]:.3g} mm in all.",
            "Give the whole stack; if it is whole, check the spacing in its header.",
        )
    small = max(extent_mm) < SMALL_MM and max(shape) >= MANY_VOXELS
    if small or min(extent_mm) < EXTENT_MM[0] or max(extent_mm) > EXTENT_MM[1]:
        size = " x ".join(f"{e:.3g}" for e in extent_mm)
        raise InputError(
            f"{name} measures {size} mm, which is impossible for a patient.",
            "Check the spacing in its header: it must be in mm.",
        )


def refuse_labels(image: Volume, name: str) -> None:
    """Raise `InputError` for a label map; messages call the volume `name`."""
    count = count_labels(image.array)
    if count:
        raise InputError(
            f"{name} is a label map: it has only {count} different values in uniform regions.",
            "Give the image that it belongs to.",
        )


def value_range(volume: Volume, name: str, largest: float) -> tuple[float, float]:
    """Lowest and highest value; raise `InputError` if one lies further than `largest` from 0."""
    low, high = float(volume.array.min()), float(volume.array.max())
    if not max(-low, high) <= largest:
        raise InputError(
            f"{name} has values from {low:g} to {high:g}; no scanner produces values beyond {largest:g}.",
            "Check its data type and scaling, and convert it again.",
        )
    return low, high
