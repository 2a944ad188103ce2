"""Curved plates: a sheet x = f(y, z) of varying thickness inside an outline, as a wing of the pelvis is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import interpolate, ndimage

from creps.phantom.painting.shapes import Points, Shape, blend_max
from creps.volume import Array

__all__ = ["Plate", "plate_shape", "shape_plate"]

_STEP_MM = 1.0
_PAD_MM = 60.0


@dataclass(frozen=True, eq=False)
class Plate:
    """A plate on a 1 mm lattice in y and z, all (Y, Z) in mm.

    Attributes:
        origin: y and z of the first node.
        middle: x of the middle surface.
        slope: Length of the surface's normal (1, -df/dy, -df/dz).
        thickness: Across the surface.
        outline: Signed distance to the outline, negative within.
    """

    origin: tuple[float, float]
    middle: Array
    slope: Array
    thickness: Array
    outline: Array


def shape_plate(corners: npt.NDArray[np.float64], sheet: npt.NDArray[np.float64]) -> Plate:
    """Build a plate.

    Args:
        corners: (n, 2) outline, y and z (mm) in order.
        sheet: (m, 4) places that the plate runs through: y, z, x, thickness (mm).

    Returns:
        The plate, defined around its outline too.
    """
    low, high = corners.min(axis=0) - _PAD_MM, corners.max(axis=0) + _PAD_MM
    lines = [np.arange(a, b + _STEP_MM, _STEP_MM) for a, b in zip(low, high, strict=True)]
    y, z = np.meshgrid(*lines, indexing="ij")
    nodes = np.stack([y.ravel(), z.ravel()], axis=1)
    fit = interpolate.RBFInterpolator(sheet[:, :2], sheet[:, 2:], kernel="thin_plate_spline", smoothing=20.0)
    middle, thickness = (part.reshape(y.shape) for part in fit(nodes).T)
    middle = ndimage.gaussian_filter(middle, 4.0)
    slopes = np.gradient(middle, _STEP_MM)
    slope = np.sqrt(1 + np.minimum(slopes[0] ** 2 + slopes[1] ** 2, 9.0))
    outline = ndimage.gaussian_filter(_polygon(corners, y, z), 2.5)
    return Plate(
        (float(low[0]), float(low[1])),
        *(part.astype(np.float32) for part in (middle, slope, np.clip(thickness, 3.5, 26.0), outline)),
    )


def _polygon(corners: npt.NDArray[np.float64], y: Array, z: Array) -> Array:
    """Signed distance to a closed polygon, negative within."""
    nearest = np.full(y.shape, np.inf)
    within = np.zeros(y.shape, dtype=bool)
    for (ay, az), (by, bz) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        ey, ez = by - ay, bz - az
        t = np.clip(((y - ay) * ey + (z - az) * ez) / (ey**2 + ez**2), 0, 1)
        nearest = np.minimum(nearest, np.hypot(y - ay - t * ey, z - az - t * ez))
        if ez:
            within ^= ((az <= z) != (bz <= z)) & (y < ay + (z - az) / ez * ey)
    return np.where(within, -nearest, nearest)


def plate_shape(
    plate: Plate, from_mm: float | None = None, to_mm: float | None = None, inset_mm: float = 0.0, rounding: float = 5.0
) -> Shape:
    """The plate itself, or a layer that lies on one of its sides.

    Args:
        plate: The plate.
        from_mm: Where the layer begins, from the plate's surface outwards (to larger x); with `to_mm`
            negative, inwards. None with `to_mm` None is the plate itself.
        to_mm: Where it ends.
        inset_mm: How far the layer stays inside the outline.
        rounding: Of the edges.
    """

    def distance(p: Points) -> Array:
        places = [(p.y - np.float32(plate.origin[0])) / _STEP_MM, (p.z - np.float32(plate.origin[1])) / _STEP_MM]

        def look_up(table: Array) -> Array:
            return np.asarray(ndimage.map_coordinates(table, places, order=1, mode="nearest"), dtype=np.float32)

        across = (p.x - look_up(plate.middle)) / look_up(plate.slope)
        half = look_up(plate.thickness) / 2
        if from_mm is None or to_mm is None:
            sheet = np.abs(across) - half
        else:
            side = np.float32(1 if to_mm > 0 else -1)
            depth = side * across - half
            low, high = np.float32(abs(from_mm)), np.float32(abs(to_mm))
            sheet = np.abs(depth - (low + high) / 2) - (high - low) / 2
        return blend_max(sheet, look_up(plate.outline) + np.float32(inset_mm), rounding)

    reach = max(abs(to_mm or 0.0), 13.0) * 2
    inner = plate.outline <= -inset_mm
    ys, zs = np.flatnonzero(inner.any(axis=1)), np.flatnonzero(inner.any(axis=0))
    x = plate.middle[inner]
    return Shape(
        distance,
        (float(x.min()) - reach, plate.origin[0] + float(ys[0]), plate.origin[1] + float(zs[0])),
        (float(x.max()) + reach, plate.origin[0] + float(ys[-1]), plate.origin[1] + float(zs[-1])),
    )
