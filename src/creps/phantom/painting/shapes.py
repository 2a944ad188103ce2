"""Signed-distance shapes in mm: negative inside, positive outside, zero at the surface."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from creps.volume import Array

__all__ = [
    "Point",
    "Points",
    "Shape",
    "blend_max",
    "blend_min",
    "both",
    "box",
    "cut",
    "ellipsoid",
    "grow",
    "mirrored",
    "shear",
    "tilt",
    "tube",
    "union",
]

Point = tuple[float, float, float]
"""(x, y, z) in mm: x to the left, y to posterior, z to superior."""


@dataclass(frozen=True, eq=False)
class Points:
    """Where to evaluate: x, y, z (mm), each (D, H, W) float32."""

    x: Array
    y: Array
    z: Array


@dataclass(frozen=True, eq=False)
class Shape:
    """A signed distance and the box outside which it is surely positive.

    Attributes:
        distance: Maps points to (D, H, W) distances in mm.
        low: Lower corner of the box.
        high: Upper corner of the box.
    """

    distance: Callable[[Points], Array]
    low: Point
    high: Point


def ellipsoid(centre: Point, radii: Point, power: float = 2.0) -> Shape:
    """An ellipsoid (`power` 2) or a boxier super-ellipsoid, with a first-order distance."""

    def distance(p: Points) -> Array:
        u = np.abs(p.x - np.float32(centre[0])) / np.float32(radii[0])
        v = np.abs(p.y - np.float32(centre[1])) / np.float32(radii[1])
        w = np.abs(p.z - np.float32(centre[2])) / np.float32(radii[2])
        if power == 2.0:
            level = np.sqrt(u * u + v * v + w * w)
            slope = np.sqrt((u / radii[0]) ** 2 + (v / radii[1]) ** 2 + (w / radii[2]) ** 2)
            return _float32(level * (level - 1) / np.maximum(slope, 1e-6))
        level = np.maximum((u**power + v**power + w**power) ** (1 / power), 1e-3)
        reach = np.sqrt((u * radii[0]) ** 2 + (v * radii[1]) ** 2 + (w * radii[2]) ** 2)
        return _float32(reach * (1 - 1 / level) - (level < 0.05) * min(radii))

    return _boxed(distance, np.subtract(centre, radii), np.add(centre, radii))


def tube(points: Sequence[Point], radii: Sequence[float], squash: Point = (1.0, 1.0, 1.0)) -> Shape:
    """A round tube along a polyline, its radius changing linearly along each segment.

    Args:
        points: Corners of the polyline.
        radii: Radius at each corner.
        squash: Scale of the cross-section along x, y, z (for flat or upright tubes).
    """
    scale = np.asarray(squash, dtype=np.float64)
    corners = np.asarray(points, dtype=np.float64) / scale

    def distance(p: Points) -> Array:
        scaled = (p.x / np.float32(scale[0]), p.y / np.float32(scale[1]), p.z / np.float32(scale[2]))
        pieces = (_cone(scaled, corners[i], corners[i + 1], radii[i], radii[i + 1]) for i in range(len(corners) - 1))
        return _float32(reduce(np.minimum, pieces) * np.float32(scale.min()))

    reach = np.asarray(radii)[:, None] * scale
    return _boxed(distance, (corners * scale - reach).min(axis=0), (corners * scale + reach).max(axis=0))


def _cone(p: tuple[Array, Array, Array], a: Array, b: Array, radius_a: float, radius_b: float) -> Array:
    axis = b - a
    along = sum((p[k] - np.float32(a[k])) * np.float32(axis[k]) for k in range(3))
    t = np.clip(along / np.float32(axis @ axis), 0, 1)
    square = sum((p[k] - np.float32(a[k]) - t * np.float32(axis[k])) ** 2 for k in range(3))
    return _float32(np.sqrt(square) - (radius_a + (radius_b - radius_a) * t))


def box(centre: Point, half: Point, rounding: float) -> Shape:
    """A box with rounded edges; `half` is its outer half size."""

    def distance(p: Points) -> Array:
        core = [size - rounding for size in half]
        q = [np.abs(c - np.float32(m)) - np.float32(h) for c, m, h in zip((p.x, p.y, p.z), centre, core, strict=True)]
        outside = np.sqrt(sum(np.maximum(part, 0) ** 2 for part in q))
        inside = np.minimum(np.maximum(np.maximum(q[0], q[1]), q[2]), 0)
        return _float32(outside + inside - np.float32(rounding))

    return _boxed(distance, np.subtract(centre, half), np.add(centre, half))


def shear(shape: Shape, origin: Point, x_by_y: float = 0.0, y_by_z: float = 0.0, x_by_z: float = 0.0) -> Shape:
    """The shape slanted about `origin`: x shifts with y and z, y shifts with z."""

    def distance(p: Points) -> Array:
        y, z = p.y - np.float32(origin[1]), p.z - np.float32(origin[2])
        x = p.x - np.float32(x_by_y) * y - np.float32(x_by_z) * z
        slant = 1 / np.sqrt(1 + x_by_y**2 + y_by_z**2 + x_by_z**2)
        return _float32(shape.distance(Points(_float32(x), _float32(p.y - np.float32(y_by_z) * z), p.z)) * slant)

    reach = np.maximum(np.abs(np.subtract(shape.low, origin)), np.abs(np.subtract(shape.high, origin)))
    y_pad = abs(y_by_z) * reach[2]
    pad = np.array([abs(x_by_y) * (reach[1] + y_pad) + abs(x_by_z) * reach[2], y_pad, 0.0])
    return _boxed(distance, np.asarray(shape.low) - pad, np.asarray(shape.high) + pad)


def union(*shapes: Shape, blend: float = 0.0) -> Shape:
    """All shapes together, their joints rounded over `blend` mm."""
    return _boxed(
        lambda p: reduce(lambda a, b: blend_min(a, b, blend), (shape.distance(p) for shape in shapes)),
        np.min([shape.low for shape in shapes], axis=0) - blend,
        np.max([shape.high for shape in shapes], axis=0) + blend,
    )


def cut(shape: Shape, tool: Shape, blend: float = 0.0) -> Shape:
    """`shape` without `tool`."""
    return Shape(lambda p: blend_max(shape.distance(p), -tool.distance(p), blend), shape.low, shape.high)


def both(shape: Shape, other: Shape, blend: float = 0.0) -> Shape:
    """What lies in both shapes."""
    low, high = np.maximum(shape.low, other.low), np.minimum(shape.high, other.high)
    return _boxed(lambda p: blend_max(shape.distance(p), other.distance(p), blend), low, high)


def grow(shape: Shape, mm: float) -> Shape:
    """The shape with its surface moved outwards (or inwards, `mm` < 0)."""
    low, high = np.asarray(shape.low) - mm, np.asarray(shape.high) + mm
    return _boxed(lambda p: _float32(shape.distance(p) - np.float32(mm)), low, high)


def tilt(shape: Shape, centre: Point, slope: float) -> Shape:
    """The shape turned about the left-right axis through `centre`, so that a level plane gets dz/dy = -slope."""
    cosine = float(1 / np.hypot(1.0, slope))
    sine = slope * cosine
    low, high = (np.subtract(corner, centre) for corner in (shape.low, shape.high))

    def distance(p: Points) -> Array:
        y, z = p.y - np.float32(centre[1]), p.z - np.float32(centre[2])
        turned_y = np.float32(centre[1]) + np.float32(cosine) * y - np.float32(sine) * z
        turned_z = np.float32(centre[2]) + np.float32(sine) * y + np.float32(cosine) * z
        return shape.distance(Points(p.x, turned_y, turned_z))

    reach = float(np.hypot(max(abs(low[1]), abs(high[1])), max(abs(low[2]), abs(high[2]))))
    return _boxed(
        distance,
        (shape.low[0], centre[1] - reach, centre[2] - reach),
        (shape.high[0], centre[1] + reach, centre[2] + reach),
    )


def mirrored(shape: Shape) -> Shape:
    """The shape's left half (x > 0), on both sides."""
    reach = max(abs(shape.low[0]), abs(shape.high[0]))
    return _boxed(
        lambda p: shape.distance(Points(np.abs(p.x), p.y, p.z)), (-reach, *shape.low[1:]), (reach, *shape.high[1:])
    )


def blend_min(a: Array, b: Array, blend: float) -> Array:
    """Minimum of two distances, rounded where they differ by less than `blend` mm."""
    if blend <= 0:
        return _float32(np.minimum(a, b))
    h = np.maximum(blend - np.abs(a - b), 0)
    return _float32(np.minimum(a, b) - h * h * np.float32(0.25 / blend))


def blend_max(a: Array, b: Array, blend: float) -> Array:
    """Maximum of two distances, rounded likewise."""
    return -blend_min(-a, -b, blend)


def _boxed(distance: Callable[[Points], Array], low: object, high: object) -> Shape:
    return Shape(distance, _point(low), _point(high))


def _point(values: object) -> Point:
    x, y, z = (float(v) for v in values)  # type: ignore[attr-defined]
    return x, y, z


def _float32(values: object) -> Array:
    return np.asarray(values, dtype=np.float32)
