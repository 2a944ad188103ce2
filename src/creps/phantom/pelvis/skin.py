"""The outlines of the pelvis: fascia around the muscles, skin around the fat, and the cavity within."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from creps.phantom.painting.canvas import SKIN_MM, Canvas
from creps.phantom.painting.fields import smoothstep
from creps.phantom.painting.shapes import Points, Shape, blend_max, blend_min, ellipsoid, tube, union
from creps.phantom.pelvis.person import PelvisPerson, PelvisPosture
from creps.volume import Array

__all__ = ["Outlines", "draw_outlines", "paint_skin"]

# Outlines as stacks of super-ellipses: height z, front y, back y, half width x (mm), bottom first.
_FASCIA = np.array(
    [
        (-110.0, -62.0, 84.0, 134.0),
        (-90.0, -70.0, 92.0, 146.0),
        (-60.0, -76.0, 100.0, 156.0),
        (-30.0, -79.0, 104.0, 161.0),
        (0.0, -82.0, 105.0, 160.0),
        (30.0, -85.0, 103.0, 153.0),
        (60.0, -89.0, 100.0, 147.0),
        (90.0, -92.0, 97.0, 143.0),
        (120.0, -93.0, 93.0, 138.0),
        (160.0, -93.0, 91.0, 133.0),
        (220.0, -93.0, 90.0, 132.0),
    ]
)
_FLOOR_Z_MM = -68.0
_CAVITY = np.array(
    [
        (-62.0, -22.0, 58.0, 16.0),
        (-50.0, -27.0, 62.0, 26.0),
        (-35.0, -32.0, 66.0, 38.0),
        (-18.0, -37.0, 71.0, 47.0),
        (0.0, -52.0, 76.0, 53.0),
        (20.0, -66.0, 79.0, 58.0),
        (40.0, -72.0, 76.0, 66.0),
        (60.0, -75.0, 66.0, 78.0),
        (80.0, -77.0, 50.0, 92.0),
        (100.0, -78.0, 36.0, 102.0),
        (120.0, -78.0, 28.0, 107.0),
        (160.0, -78.0, 24.0, 110.0),
        (220.0, -78.0, 22.0, 110.0),
    ]
)
_CAVITY_FLOOR_Z_MM = -58.0


@dataclass(frozen=True, eq=False)
class Outlines:
    """Signed distances (mm), each (D, H, W) and negative inside.

    Attributes:
        skin: To the skin.
        fascia: To the outer surface of the muscles.
        cavity: To the wall of the abdomen and the pelvis.
    """

    skin: Array
    fascia: Array
    cavity: Array


def draw_outlines(rng: np.random.Generator, canvas: Canvas, person: PelvisPerson, posture: PelvisPosture) -> Outlines:
    """Build the outlines of one person.

    Args:
        rng: Source of the fat's variation.
        canvas: The grid.
        person: Proportions.
        posture: Position of the table top, which flattens the back.
    """
    p = canvas.points
    belly = np.float32(person.belly_mm) * smoothstep(p.z, 25.0, 110.0)
    trunk = _stack(_FASCIA, _FLOOR_Z_MM, 2.5, p, belly)
    mirrored = Points(np.abs(p.x), p.y, p.z)
    fascia = blend_min(trunk, _thigh().distance(mirrored), 16.0)
    fat = _fat_thickness(rng, canvas, person)
    skin = fascia - fat
    cleft = tube([(0, 112, -112), (0, 128, -60), (0, 126, 10), (0, 122, 44)], [16.0, 11.0, 8.0, 1.0], (0.45, 1, 1))
    skin = blend_max(skin, -cleft.distance(p), 12.0)
    if not person.female:
        skin = blend_min(skin, _genitals().distance(p), 9.0)
    table = posture.shift_mm[1] + person.scale[1] * (105.0 + 0.8 * person.fat_mm)
    behind = canvas.axes[1].astype(np.float32)[None, :, None] - np.float32(table)
    skin = blend_max(skin, np.broadcast_to(behind, skin.shape), 14.0)
    fascia = blend_max(fascia, skin + np.float32(0.4) * fat, 6.0)
    cavity = _stack(_CAVITY, _CAVITY_FLOOR_Z_MM, 2.4, p, belly)
    return Outlines(skin, fascia, cavity)


def _stack(table: npt.NDArray[np.float64], floor_mm: float, power: float, p: Points, belly: Array) -> Array:
    """Signed distance to a stack of super-elliptic outlines, closed at the bottom."""
    heights = np.linspace(table[0, 0], table[-1, 0], 512)
    kernel = np.hanning(33) / np.hanning(33).sum()
    place = np.clip((p.z - heights[0]) * np.float32(511 / (heights[-1] - heights[0])), 0, 511).astype(np.int32)
    front, back, half_width = (
        np.convolve(np.pad(np.interp(heights, table[:, 0], column), 16, "edge"), kernel, "valid").astype(np.float32)[
            place
        ]
        for column in table.T[1:]
    )
    front = front - belly
    middle, half_depth = (front + back) / 2, (back - front) / 2
    u, v = np.abs(p.x) / half_width, np.abs(p.y - middle) / half_depth
    level = np.maximum((u**power + v**power) ** np.float32(1 / power), np.float32(0.05))
    radial = np.sqrt(p.x**2 + (p.y - middle) ** 2)
    side = np.maximum(radial * (1 - 1 / level), np.float32(-80))
    return blend_max(np.asarray(side, dtype=np.float32), np.asarray(floor_mm - p.z, dtype=np.float32), 14.0)


def _thigh() -> Shape:
    """The muscles of the left thigh."""
    return tube([(88, 10, 10), (88, 8, -80), (82, 8, -190)], [66.0, 73.0, 68.0], (0.98, 1.06, 1.0))


def _genitals() -> Shape:
    """Scrotum and penis."""
    return union(
        ellipsoid((0, -56, -94), (27, 27, 28)),
        tube([(0, -82, -44), (2, -95, -64), (4, -96, -90)], [15.0, 14.0, 13.0]),
        blend=6.0,
    )


def _fat_thickness(rng: np.random.Generator, canvas: Canvas, person: PelvisPerson) -> Array:
    """(D, H, W) thickness (mm) of skin and subcutaneous fat."""
    p = canvas.points
    away = np.abs(p.x)
    front = smoothstep(-p.y, 5.0, 75.0) * (1 - smoothstep(away, 110.0, 165.0))
    back = smoothstep(p.y, 30.0, 95.0)
    belly = 0.85 + np.float32(0.5) * smoothstep(p.z, 10.0, 80.0) - np.float32(0.2) * smoothstep(-p.z, 0.0, 60.0)
    buttock = 1.1 + np.float32(0.6 if person.female else 0.4) * np.exp(-(((p.z + 15) / 60) ** 2)) * smoothstep(
        away, 15.0, 60.0
    )
    spine = smoothstep(-away, -45.0, -10.0) * smoothstep(p.z, 10.0, 50.0)
    hip = np.float32(0.95) + np.float32(0.45 if person.female else 0.2) * np.exp(-(((p.z + 45) / 55) ** 2))
    share = front * belly + (1 - front) * (back * buttock * (1 - np.float32(0.38) * spine) + (1 - back) * hip)
    between = smoothstep(-p.z, 55.0, 95.0) * smoothstep(-away, -60.0, -20.0)
    share = share * (1 - np.float32(0.5) * between) + np.float32(0.09) * canvas.smooth_field(rng, 48.0)
    return np.maximum(np.float32(person.fat_mm) * share, np.float32(4.5))


def paint_skin(canvas: Canvas, outlines: Outlines, person: PelvisPerson) -> None:
    """Paint the skin, the fat and the external genitals."""
    canvas.cover(canvas.everywhere, "skin", canvas.inside(outlines.skin))
    canvas.cover(canvas.everywhere, "fat", canvas.inside(outlines.skin + np.float32(SKIN_MM)))
    canvas.depth_mm = -outlines.skin
    if not person.female:
        canvas.paint("gland", ellipsoid((0, -56, -94), (23, 23, 24)), strength=0.35)
        canvas.paint_pair("peripheral zone", ellipsoid((12.5, -56, -99), (10, 13, 16)))
        canvas.paint("erectile tissue", tube([(0, -82, -48), (2, -95, -64), (4, -96, -88)], [9.0, 9.5, 9.0]))
