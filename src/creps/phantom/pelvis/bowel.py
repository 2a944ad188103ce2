"""Bowel in the upper part of the pelvis."""

from __future__ import annotations

import numpy as np

from creps.phantom.painting.canvas import Canvas
from creps.phantom.painting.shapes import Point, Shape, grow, tube
from creps.phantom.pelvis.person import PelvisPerson
from creps.volume import Array

__all__ = ["paint_bowel"]

_LOOPS_Y_MM = (-62.0, -34.0, -6.0)
_LOOPS_Z_MM = (66.0, 92.0, 118.0, 144.0, 170.0, 196.0)

_COLON_RIGHT: tuple[Point, ...] = (
    (-70, -22, 78), (-84, -14, 98), (-90, -6, 122), (-92, 2, 150), (-92, 8, 180), (-92, 10, 210),
)  # fmt: skip
_COLON_LEFT: tuple[Point, ...] = (
    (94, 14, 210), (94, 12, 176), (92, 6, 142), (84, -4, 110), (68, -14, 86), (44, -8, 70), (26, 12, 74), (12, 40, 70),
)  # fmt: skip


def paint_bowel(rng: np.random.Generator, canvas: Canvas, person: PelvisPerson, cavity_mm: Array) -> None:
    """Small bowel in loops, and both ends of the colon.

    Args:
        rng: Source of the course of the loops and of what they hold.
        canvas: Painted on.
        person: Proportions; belly and gas.
        cavity_mm: (D, H, W) distance to the cavity's wall, which the bowel never leaves.
    """
    bubbles = canvas.smooth_field(rng, 5.0)
    for z in _LOOPS_Z_MM:
        for y in _LOOPS_Y_MM:
            course, radius, gas, start = _loop(rng, y, z, person)
            if y > -10 and z < 80:  # the rectosigmoid and the sacrum are there
                continue
            _paint_gut(canvas, tube(course, radius), 2.0, "bowel content", cavity_mm)
            if gas:
                _paint_gas(canvas, course[start : start + 3], radius[start : start + 3], cavity_mm)
    for corners, mean in ((_COLON_RIGHT, 21.0), (_COLON_LEFT, 15.0)):
        _paint_colon(rng, canvas, person, corners, mean, bubbles, cavity_mm)


def _loop(
    rng: np.random.Generator, y: float, z: float, person: PelvisPerson
) -> tuple[list[Point], list[float], bool, int]:
    """Course and radii of a loop from right to left, whether it holds gas, and from which corner on."""
    half = 58.0 if z > 80 else 46.0
    xs = np.linspace(-half, half, 9) + rng.uniform(-5, 5)
    phase, turns = rng.uniform(0, 2 * np.pi, 2), rng.uniform(1.0, 2.2)
    t = np.linspace(0, 2 * np.pi * turns, xs.size)
    ys = y - 0.6 * person.belly_mm * min(max((z - 30) / 80, 0), 1) + 8 * np.sin(t + phase[0]) + rng.uniform(-3, 3)
    zs = z + 8 * np.sin(t * 0.9 + phase[1]) + rng.uniform(-3, 3)
    radii = 11.8 + 2.0 * np.sin(t * 1.7 + phase[1]) + rng.uniform(-1.5, 1.5, xs.size)
    gas = bool(rng.random() < 1.3 * person.bowel_gas * (1.5 if y < -50 else 0.4))
    course = [(float(a), float(b), float(c)) for a, b, c in zip(xs, ys, zs, strict=True)]
    return course, [float(r) for r in radii], gas, int(rng.integers(0, 6))


def _paint_gut(canvas: Canvas, gut: Shape, wall_mm: float, content: str, cavity_mm: Array) -> None:
    """A wall around a content, within the cavity and apart from what is there already."""
    for tissue, out_mm in (("fat", 1.4), ("bowel wall", 0.0), (content, -wall_mm)):
        grown = grow(gut, out_mm)
        window = canvas.window(grown.low, grown.high)
        if window is None:
            return
        distance = np.maximum(grown.distance(canvas.at(window)), cavity_mm[window] + np.float32(2.5 - out_mm))
        canvas.cover(window, tissue, canvas.inside(distance))


def _paint_gas(canvas: Canvas, course: list[Point], radii: list[float], cavity_mm: Array) -> None:
    """Gas in the front half of a gut."""
    lifted = [(x, y - 0.3 * r, z) for (x, y, z), r in zip(course, radii, strict=True)]
    gas = tube(lifted, [max(0.7 * r - 2.2, 2.0) for r in radii], (1.2, 0.85, 1.2))
    window = canvas.window(gas.low, gas.high)
    if window is not None:
        distance = np.maximum(gas.distance(canvas.at(window)), cavity_mm[window] + np.float32(6))
        canvas.cover(window, "air", canvas.inside(distance))


def _paint_colon(
    rng: np.random.Generator,
    canvas: Canvas,
    person: PelvisPerson,
    corners: tuple[Point, ...],
    mean_mm: float,
    bubbles: Array,
    cavity_mm: Array,
) -> None:
    """A stretch of colon: haustra, stool with bubbles, and gas at the front here and there."""
    ends = np.linspace(0, 1, len(corners))
    fine = np.linspace(0, 1, 2 * len(corners) - 1)
    course = [tuple(float(np.interp(t, ends, [c[k] for c in corners])) for k in range(3)) for t in fine]
    places: list[Point] = [(x, y, z) for x, y, z in course]
    radii = [mean_mm * float(r) * (1.0 if i % 2 else 0.82) for i, r in enumerate(rng.uniform(0.85, 1.12, fine.size))]
    gut = tube(places, radii)
    _paint_gut(canvas, gut, 2.4, "stool", cavity_mm)
    lumen = grow(gut, -4.5)
    window = canvas.window(lumen.low, lumen.high)
    if window is None:
        return
    distance = np.maximum(lumen.distance(canvas.at(window)), cavity_mm[window] + np.float32(7))
    share = np.clip(bubbles[window] * np.float32(0.8) - np.float32(0.75 - person.bowel_gas), 0, 0.9)
    canvas.cover(window, "air", canvas.inside(distance) * share)
    start = int(rng.integers(0, len(places) - 3))
    _paint_gas(canvas, places[start : start + 4], [r * 1.15 for r in radii[start : start + 4]], cavity_mm)
