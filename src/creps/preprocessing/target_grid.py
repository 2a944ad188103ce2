"""Target grids of an sCT: the MR's, the model's, or one that planning systems accept."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from creps.errors import SettingsError
from creps.preprocessing.crop import outside_extent
from creps.preprocessing.resample import resample_onto, resample_turned
from creps.volume import AXIAL, Volume

__all__ = ["PRONE", "TargetGrid", "bring_onto", "check_target_grid", "obliquity_degrees", "planning_grid"]

TargetGrid = Literal["mr", "model", "planning"]

PRONE: npt.NDArray[np.float64] = AXIAL * np.array([1.0, -1.0, -1.0])
"""Direction of an axial stack as scanners write it of a patient lying prone: rows to anterior, columns to right."""

ALIGNED_MM = 0.005
"""An MR is not oblique if straightening its axes moves no corner further than this: headers are rounded."""

LARGEST_GRID = 4e8
"""Maximum number of voxels, 1000 slices of 632 x 632: no planning system accepts more."""

SQUARE_MM = 1e-3
"""Pixels are square if their sides differ by less than this."""

Spacing = tuple[float, float, float]
Vector = npt.NDArray[np.float64]


def check_target_grid(kind: str, spacing_mm: Spacing | None) -> None:
    """Refuse an unknown grid, and a spacing that has no effect or is out of range.

    Raises:
        SettingsError: the grid or the spacing is not allowed.
    """
    if kind not in get_args(TargetGrid):
        raise SettingsError(f"Unknown grid '{kind}'.", f"Choose one of: {', '.join(get_args(TargetGrid))}.")
    if spacing_mm is None:
        return
    if kind != "planning":
        raise SettingsError(f"The grid '{kind}' has its own spacing.", "Use the planning grid, or remove the spacing.")
    if not all(0.1 <= s <= 20 for s in spacing_mm):
        raise SettingsError("The spacing of the planning grid must be 0.1 to 20 mm along each axis.", "Choose another.")


def planning_grid(mr: Volume, spacing_mm: Spacing | None = None, *, prone: bool = False) -> Volume:
    """An empty axial, non-oblique grid with square pixels that holds the whole MR.

    An MR that lies along the patient's axes, with square axial pixels, keeps its own voxels.

    Args:
        mr: On any grid, in any orientation.
        spacing_mm: Along D (superior), H, W; default: the MR's along the nearest axes, the finer one for H and W.
        prone: Whether rows run to anterior and columns to right, as usual for patients who lie prone.

    Raises:
        SettingsError: the grid would have more than `LARGEST_GRID` voxels.
    """
    direction = PRONE if prone else AXIAL
    upright = mr.reoriented(direction)
    if spacing_mm is None:
        d, h, w = upright.spacing_mm
        spacing_mm = (d, h, w) if abs(h - w) < SQUARE_MM else (d, min(h, w), min(h, w))
    straight = _straightened(upright, direction)
    if straight is not None and np.abs(np.subtract(spacing_mm, upright.spacing_mm)).max() < 1e-6:
        return straight.with_array(np.zeros(upright.shape, np.float32))
    low, high = _box(straight or upright, direction)
    spacing_mm = (round(spacing_mm[0], 4), round(spacing_mm[1], 4), round(spacing_mm[2], 4))
    counts = [max(2, int(n)) for n in np.ceil((high - low) / spacing_mm - 1e-3)]
    if np.prod(counts, dtype=float) > LARGEST_GRID:
        raise SettingsError(
            f"The planning grid would have {' x '.join(map(str, counts))} voxels.",
            "Choose a coarser --spacing (spacing_mm).",
        )
    first = (low + high) / 2 - (np.array(counts) - 1) / 2 * np.asarray(spacing_mm)
    x, y, z = (direction @ first).tolist()
    return Volume(np.zeros(counts, np.float32), spacing_mm, (x, y, z), direction)


def obliquity_degrees(volume: Volume) -> float:
    """Return the largest angle between a volume axis and the nearest patient axis; 0 if due to header rounding."""
    upright = volume.reoriented()
    if _straightened(upright, AXIAL) is not None:
        return 0.0
    cosines = np.clip(np.sum(upright.direction * AXIAL, axis=0), -1, 1)
    return float(np.degrees(np.arccos(cosines)).max())


def bring_onto(source: Volume, target: Volume, outside: float) -> Volume:
    """Resample a volume onto another grid, of any orientation.

    Args:
        source: What to sample, by cubic B-splines.
        target: Where; its array is not read.
        outside: The value of voxels beyond the extent of `source`.
    """
    turned = target.reoriented(source.direction)
    parallel = _straightened(turned, source.direction)
    sampled = resample_turned(source, turned) if parallel is None else resample_onto(source, parallel)
    array = np.where(outside_extent(turned, source), np.float32(outside), sampled.array)
    return target.with_array(turned.with_array(array).reoriented(target.direction).array)


def _straightened(upright: Volume, direction: Vector) -> Volume | None:
    """Align the axes with `direction`, keeping the centre; None if that moves a corner noticeably."""
    middle = upright.to_patient_mm([(n - 1) / 2 for n in upright.shape])
    half = np.array([(n - 1) / 2 * s for n, s in zip(upright.shape, upright.spacing_mm, strict=True)])
    x, y, z = (middle - direction @ half).tolist()
    straight = Volume(upright.array, upright.spacing_mm, (x, y, z), direction)
    return straight if straight.same_grid_as(upright, ALIGNED_MM) else None


def _box(volume: Volume, direction: Vector) -> tuple[Vector, Vector]:
    """Lowest and highest coordinate of the voxels' edges along the columns of `direction`."""
    along = volume.corners_mm(edges=True) @ direction
    return along.min(axis=0), along.max(axis=0)
