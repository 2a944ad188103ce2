"""Proton range: R80 of the deepest spot of every ray, on both images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse

from creps.dose.beams import Beam, Ray
from creps.volume import Volume

__all__ = ["RangeErrors", "distal_r80_mm", "range_error", "ray_r80_mm"]

STEP_MM = 0.25
"""Of samples along a ray."""

LARGE_MM = (3.0, 5.0)

Profile = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RangeErrors:
    """Range on the sCT minus range on the CT, over the rays of one beam.

    Attributes:
        errors_mm: Of each ray that has a range on both images.
        lost: Rays without a range on one of them.
    """

    errors_mm: tuple[float, ...] = field(repr=False)
    lost: int

    def values(self) -> dict[str, float | int | None]:
        """Mean, standard deviation, 95th percentile of the size, and shares of large errors."""
        errors = np.asarray(self.errors_mm)
        values: dict[str, float | int | None] = {"rays": errors.size, "rays_without_range": self.lost}
        if not errors.size:
            return values | {"mean_mm": None, "sd_mm": None, "p95_absolute_mm": None}
        size = np.abs(errors)
        values |= {
            "mean_mm": float(errors.mean()),
            "sd_mm": float(errors.std(ddof=1)) if errors.size > 1 else None,
            "p95_absolute_mm": float(np.percentile(size, 95)),
        }
        return values | {f"share_over_{limit:g}_mm": float((size > limit).mean()) for limit in LARGE_MM}


def distal_r80_mm(depth_mm: Profile, dose: Profile) -> float | None:
    """Depth behind the peak at which a depth dose has fallen to 80 % of its maximum.

    Args:
        depth_mm: (n,) rising.
        dose: (n,) in any unit.

    Returns:
        The depth in mm, linear between samples; None without dose, or if it does not fall to 80 %.

    Examples:
        >>> distal_r80_mm(np.array([0.0, 10.0, 20.0]), np.array([0.5, 1.0, 0.5]))
        14.0
    """
    peak = int(dose.argmax())
    level = 0.8 * float(dose[peak])
    below = np.flatnonzero(dose[peak:] < level)
    if level <= 0 or not below.size:
        return None
    after = peak + int(below[0])
    share = (dose[after - 1] - level) / (dose[after - 1] - dose[after])
    return float(depth_mm[after - 1] + share * (depth_mm[after] - depth_mm[after - 1]))


def ray_r80_mm(dose: npt.NDArray[np.floating], grid: Volume, ray: Ray) -> float | None:
    """R80 along a ray, in mm from its source.

    The dose is interpolated by cubic splines: between voxels of 3 or 4 mm a straight line would move the fall-off by
    half a millimetre.

    Args:
        dose: (D, H, W) of the ray's deepest spot.
        grid: Its grid.
        ray: The ray.
    """
    source, through = np.asarray(ray.source_mm), np.asarray(ray.through_mm)
    distance = float(np.linalg.norm(through - source))
    corners = np.linalg.norm(grid.corners_mm(edges=True) - source, axis=1)
    first, last = max(0.0, float(corners.min()) - distance / 4), float(corners.max())
    depth = np.arange(first, last, STEP_MM, dtype=np.float64)
    points = source + (through - source) / distance * depth[:, None]
    index = grid.to_index(points)
    inside = ((index > -0.5) & (index < np.asarray(grid.shape) - 0.5)).all(axis=1)
    if not inside.any():
        return None
    profile = ndimage.map_coordinates(dose, index[inside].T, order=3, mode="nearest")
    return distal_r80_mm(depth[inside], profile.astype(np.float64))


def range_error(
    beam: Beam, grid: Volume, on_ct: sparse.csc_matrix, on_sct: sparse.csc_matrix
) -> tuple[RangeErrors, Sequence[float | None]]:
    """Compare the ranges of a beam's rays.

    Args:
        beam: The beam.
        grid: The dose grid.
        on_ct: (voxels, rays) dose of each ray's deepest spot on the CT.
        on_sct: The same spots on the sCT.

    Returns:
        The errors, and the R80 on the CT of each ray in mm from the source.
    """
    ranges = [
        [_column_r80(matrix, number, grid, ray) for number, ray in enumerate(beam.rays)] for matrix in (on_ct, on_sct)
    ]
    pairs = [(one, other) for one, other in zip(*ranges, strict=True) if one is not None and other is not None]
    return RangeErrors(tuple(other - one for one, other in pairs), len(beam.rays) - len(pairs)), ranges[0]


def _column_r80(matrix: sparse.csc_matrix, number: int, grid: Volume, ray: Ray) -> float | None:
    """R80 of one column; only the box that has dose is made dense."""
    start, end = int(matrix.indptr[number]), int(matrix.indptr[number + 1])
    if start == end:
        return None
    index = np.stack(np.unravel_index(matrix.indices[start:end], grid.shape))
    low, high = index.min(axis=1), index.max(axis=1) + 1
    box = np.zeros(high - low)
    box[tuple(index - low[:, None])] = matrix.data[start:end]
    x, y, z = grid.to_patient_mm(low).tolist()
    part = Volume(np.zeros(box.shape, np.float32), grid.spacing_mm, (x, y, z), grid.direction)
    return ray_r80_mm(box, part, ray)
