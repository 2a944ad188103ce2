"""The skin surface and the soft tissue it wraps."""

from __future__ import annotations

import numpy as np

from creps.phantom.head.person import Person
from creps.phantom.painting.canvas import SKIN_MM, Canvas
from creps.phantom.painting.fields import smoothstep
from creps.phantom.painting.shapes import Point, Points, Shape, blend_min, ellipsoid, grow, shear, tube, union
from creps.volume import Array

__all__ = ["paint_soft_tissue", "skin_distance"]

# Outline of the face without its features: height z, front y and half width x (mm).
_FACE = np.array(
    [
        (-150.0, -20.0, 24.0),
        (-141.0, -42.0, 30.0),
        (-136.0, -68.0, 37.0),
        (-131.0, -85.0, 43.0),
        (-124.0, -92.0, 49.0),
        (-114.0, -93.5, 54.0),
        (-104.0, -92.0, 58.0),
        (-92.0, -94.0, 62.0),
        (-80.0, -95.0, 65.0),
        (-65.0, -92.0, 67.5),
        (-50.0, -89.0, 69.0),
        (-35.0, -88.0, 68.0),
        (-20.0, -91.0, 66.0),
        (-8.0, -93.0, 63.0),
        (5.0, -88.0, 60.0),
        (20.0, -70.0, 50.0),
    ]
)
_FACE_BACK_Y_MM = 34.0


def skin_distance(
    rng: np.random.Generator, canvas: Canvas, person: Person, hull_mm: Array, thickness_mm: Array
) -> Array:
    """Signed distance to the skin.

    Args:
        rng: Source of the scalp's variation.
        canvas: The grid.
        person: Proportions.
        hull_mm: (D, H, W) distance to the inside of the skull.
        thickness_mm: (D, H, W) thickness of the skull.

    Returns:
        (D, H, W) in mm, negative inside.
    """
    p = canvas.points
    temporalis = np.exp(
        -(((np.abs(p.x) - 62) / 22) ** 2) - ((p.y + 32) / 26) ** 2 - ((p.z + 6) / 26) ** 2
    ) * np.float32(11)
    scalp = person.scalp_mm + np.float32(0.6) * canvas.smooth_field(rng, 40.0) + temporalis
    skin = hull_mm - thickness_mm - scalp
    parts = [
        (_face(), 14.0),
        (
            tube(
                [(0, 24, -60), (0, 17, -100), (0, 15, -190)],
                [56 * person.neck, 56 * person.neck, 60 * person.neck],
                (1.02, 1.0, 1.0),
            ),
            20.0,
        ),
        (_chin(person), 8.0),
        (_nose(person), 5.0),
        (_lips(), 3.0),
        (ellipsoid((0, -89, -4), (34, 7, 8)), 6.0),
    ]
    for shape, blend in parts:
        _join(canvas, skin, shape, blend)
    for side in (1, -1):
        _join(canvas, skin, _ear(person.ears), 3.0, side)
        _dent(canvas, skin, ellipsoid((30, -97, -25), (15, 12, 9)), 8.0, side)
    _dent(canvas, skin, tube([(-19, -98, -91), (0, -104, -91.5), (19, -98, -91)], [1.0, 1.0, 1.0]), 2.5)
    return skin


def _join(canvas: Canvas, skin: Array, shape: Shape, blend: float, side: int = 1) -> None:
    window = canvas.window(*_padded(shape, blend), side)
    if window is not None:
        skin[window] = blend_min(skin[window], shape.distance(canvas.at(window, side)), blend)


def _dent(canvas: Canvas, skin: Array, shape: Shape, blend: float, side: int = 1) -> None:
    window = canvas.window(*_padded(shape, blend), side)
    if window is not None:
        skin[window] = -blend_min(-skin[window], shape.distance(canvas.at(window, side)), blend)


def _padded(shape: Shape, pad: float) -> tuple[Point, Point]:
    low, high = np.asarray(shape.low) - pad - 6, np.asarray(shape.high) + pad + 6
    return (low[0], low[1], low[2]), (high[0], high[1], high[2])


def _face() -> Shape:
    """The face as a stack of super-elliptic outlines."""

    def distance(p: Points) -> Array:
        heights = np.linspace(_FACE[0, 0], _FACE[-1, 0], 256)
        kernel = np.hanning(25) / np.hanning(25).sum()
        smooth = [
            np.convolve(np.pad(np.interp(heights, _FACE[:, 0], _FACE[:, k]), 12, "edge"), kernel, "valid")
            for k in (1, 2)
        ]
        place = np.clip((p.z - heights[0]) * np.float32(255 / (heights[-1] - heights[0])), 0, 255).astype(np.int32)
        front, half_width = (values.astype(np.float32)[place] for values in smooth)
        middle = (front + _FACE_BACK_Y_MM) / 2
        half_depth = (_FACE_BACK_Y_MM - front) / 2
        v = (p.y - middle) / half_depth
        u = p.x / (half_width * (1 - np.float32(0.10) * np.clip(-v, 0, 1)))
        level = np.maximum((np.abs(u) ** 2.5 + np.abs(v) ** 2.5) ** 0.4, 0.05)
        radial = np.sqrt(p.x**2 + (p.y - middle) ** 2)
        ends = np.maximum(p.z - 14, -150 - p.z)
        return np.asarray(np.maximum(radial * (1 - 1 / level), ends), dtype=np.float32)

    return Shape(distance, (-75, -96, -150), (75, _FACE_BACK_Y_MM + 2, 20))


def _nose(person: Person) -> Shape:
    s = person.nose
    tip = (0.0, -92 - 15 * s, -57.0)
    return union(
        tube([(0, -87, -20), (0, -90 - 10 * s, -42), tip, (0, -93, -66)], [5.5, 7.0, 8.5 * s, 7.0]),
        tube([(0, -84, -20), (0, -87, -40), (0, -88, -60)], [6.0, 9.5, 12.0]),
        ellipsoid((10 * s, -95, -60), (7, 10, 7)),
        ellipsoid((-10 * s, -95, -60), (7, 10, 7)),
        blend=4.0,
    )


def _lips() -> Shape:
    return union(ellipsoid((0, -92.5, -84.5), (21, 8, 5.5)), ellipsoid((0, -91, -98), (18, 8, 6)), blend=1.0)


def _chin(person: Person) -> Shape:
    return ellipsoid((0, -84 - person.chin_mm, -120), (20, 14, 14))


def _pinna(size: float) -> Shape:
    """The left pinna: a shell leaning off the head, with a rim and a lobe."""
    s = size
    shell = shear(ellipsoid((78, 20, -26), (3.0, 14 * s, 27 * s)), (78, 8, -26), x_by_y=0.45, x_by_z=0.10)
    rim = tube(
        [
            (76, 6, -14),
            (80, 12, 0 * s),
            (86, 24, 3 * s),
            (90, 33 * s, -6),
            (88, 34 * s, -22),
            (83, 26, -40),
            (76, 16, -54),
        ],
        [3.2, 3.3, 3.4, 3.4, 3.2, 3.2, 4.6],
    )
    return union(shell, rim, blend=3.0)


def _ear(size: float) -> Shape:
    return union(_pinna(size), ellipsoid((69, 12, -30), (9, 10, 19)), blend=3.0)


def paint_soft_tissue(rng: np.random.Generator, canvas: Canvas, person: Person, skin_mm: Array) -> None:
    """Skin, subcutaneous fat, and muscle with fat between its bellies.

    Args:
        rng: Source of the fat's thickness and of the planes between muscles.
        canvas: Painted on.
        person: Proportions.
        skin_mm: (D, H, W) distance to the skin.
    """
    p = canvas.points
    skin = canvas.inside(skin_mm)
    canvas.cover(canvas.everywhere, "skin", skin)
    canvas.cover(canvas.everywhere, "fat", canvas.inside(skin_mm + np.float32(SKIN_MM)))
    face = smoothstep(-p.z, 10.0, 60.0)
    nape = face * smoothstep(p.y, 20.0, 60.0)
    depth = person.scalp_mm - 1.0 + (person.fat_mm - 3.2) * 0.3 + face * (person.fat_mm - 1.0) + nape * 3.0
    depth = depth + face * canvas.smooth_field(rng, 26.0) * np.float32(1.3)
    depth = np.maximum(depth, np.float32(2.8)) * (1 - np.float32(0.35) * smoothstep(-p.y, 75, 100) * face)
    canvas.cover(canvas.everywhere, "muscle", canvas.inside(skin_mm + depth))
    planes = np.abs(canvas.smooth_field(rng, 13.0)) * np.float32(6.5)
    between = canvas.inside(planes - np.float32(0.9 + 1.0 * person.muscle_fat)) * face * (skin_mm < -4)
    canvas.cover(canvas.everywhere, "fat", between.astype(np.float32) * np.float32(0.8))
    canvas.paint_pair("cartilage", grow(_pinna(person.ears), -1.4))
