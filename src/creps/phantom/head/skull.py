"""The inside of the skull and the bone around it."""

from __future__ import annotations

import numpy as np

from creps.phantom.head.person import Person
from creps.phantom.painting.canvas import Canvas
from creps.phantom.painting.fields import smoothstep
from creps.phantom.painting.shapes import Points, Shape, blend_max, blend_min, cut, ellipsoid, tube, union
from creps.volume import Array

__all__ = ["hull", "paint_skull", "skull_thickness"]


def hull() -> Shape:
    """The cranial cavity: vault, anterior, middle and posterior fossa, open at the foramen magnum."""
    vault = ellipsoid((0, 0, 4), (66, 82, 69), power=2.25)
    middle = ellipsoid((35, -10, -17), (27, 38, 23))
    petrous = tube([(10, -8, -42), (36, 14, -44), (54, 28, -46)], [6.5, 8.0, 8.0])
    posterior = ellipsoid((0, 38, -25), (58, 43, 30), power=2.2)
    foramen = tube([(0, 20, -36), (0, 24, -60)], [17.0, 14.5])

    def distance(p: Points) -> Array:
        widened = Points(p.x / (1 + np.float32(0.075) * np.tanh((p.y - 5) / np.float32(45))), p.y, p.z)
        mirrored = Points(np.abs(p.x), p.y, p.z)
        cribriform = np.float32(9) * smoothstep(-mirrored.x, -16, -3)
        floor = -6 - cribriform - p.z
        result = blend_max(vault.distance(widened), floor.astype(np.float32), 10.0)
        result = blend_min(result, middle.distance(mirrored), 7.0)
        result = blend_min(result, posterior.distance(p), 14.0)
        result = blend_max(result, -petrous.distance(mirrored), 5.0)
        return blend_min(result, foramen.distance(p), 6.0)

    return Shape(distance, (-75, -84, -76), (75, 84, 76))


def skull_thickness(rng: np.random.Generator, canvas: Canvas, person: Person) -> Array:
    """Thickness of the cranial wall: thick at the occiput and the forehead, thin at the temples.

    Args:
        rng: Source of the individual variation.
        canvas: The grid.
        person: Proportions.

    Returns:
        (D, H, W) in mm.
    """
    p = canvas.points
    occiput = np.exp(-((p.x / 30) ** 2) - ((p.z + 22) / 24) ** 2) * smoothstep(p.y, 40, 75) * np.float32(5.0)
    forehead = np.exp(-((p.x / 32) ** 2) - ((p.z - 2) / 22) ** 2) * smoothstep(-p.y, 50, 78) * np.float32(2.0)
    temple = np.exp(-(((np.abs(p.x) - 64) / 18) ** 2) - ((p.y + 8) / 38) ** 2 - ((p.z + 14) / 24) ** 2)
    vary = canvas.smooth_field(rng, 34.0) * np.float32(0.75)
    base = smoothstep(-p.z, 25, 45) * smoothstep(-np.abs(p.x), -62, -45)
    thickness = person.skull_mm + occiput + forehead + vary - temple * np.float32(2.9) - base * np.float32(1.8)
    return np.asarray(np.maximum(thickness, np.float32(2.6)), dtype=np.float32)


def paint_skull(rng: np.random.Generator, canvas: Canvas, person: Person, hull_mm: Array, thickness_mm: Array) -> None:
    """Outer table, diploe, inner table, and the solid bones of the base.

    Args:
        rng: Source of the diploe's variation and of the mastoid cells.
        canvas: Painted on.
        person: Proportions.
        hull_mm: (D, H, W) distance to the cranial cavity.
        thickness_mm: (D, H, W) thickness of the wall.
    """
    p = canvas.points
    outer = np.maximum(hull_mm - thickness_mm, -60 - p.z)  # the foramen magnum stays open
    bone = canvas.inside(outer)
    canvas.cover(canvas.everywhere, "cortical bone", bone)
    table = person.table_mm * (1 + np.float32(0.22) * canvas.smooth_field(rng, 22.0))
    inner = np.maximum(outer + table, -hull_mm + table * np.float32(0.85))
    canvas.cover(canvas.everywhere, "diploe", canvas.inside(inner))
    _paint_base(canvas)
    _paint_mastoid(rng, canvas, person)


def _paint_base(canvas: Canvas) -> None:
    """Petrous bones, clivus, body of the sphenoid with the sella, occipital condyles."""
    clivus = tube([(0, -12, -26), (0, -4, -38), (0, 8, -55)], [7.0, 6.0, 4.0], (1.8, 1.0, 1.0))
    sphenoid = cut(ellipsoid((0, -30, -31), (21, 20, 15), power=3.0), ellipsoid((0, -16, -19), (7, 6, 7)), 2.0)
    canvas.paint_nested({"cortical bone": 0.0, "marrow": 2.0}, union(clivus, sphenoid, blend=3.0))
    condyle = tube([(15, 14, -57), (21, 24, -60)], [6.0, 6.0])
    canvas.paint_nested_pair({"cortical bone": 0.0, "marrow": 2.0}, condyle)
    wing = tube([(13, -27, -9), (34, -38, -8), (54, -42, -8)], [1.5, 2.0, 3.0])
    canvas.paint_pair("cortical bone", wing)
    petrous = tube([(13, -6, -42), (36, 13, -43), (58, 26, -42)], [5.5, 8.5, 8.5])
    canvas.paint_nested_pair({"dense bone": 0.0}, petrous)
    canvas.paint_pair("marrow", ellipsoid((16, -4, -43), (5, 4, 3.5)))
    canvas.paint_pair("csf", tube([(22, 6, -42), (33, 9, -42)], [2.6, 1.8]))  # internal auditory canal
    canvas.paint_pair("csf", ellipsoid((35, 6, -45), (3.0, 3.0, 2.5)), strength=0.6)  # cochlea


def _paint_mastoid(rng: np.random.Generator, canvas: Canvas, person: Person) -> None:
    """The mastoid process with its air cells, the middle ear and the styloid."""
    process = union(
        ellipsoid((57, 27, -50), (12, 17, 16)), tube([(54, 24, -56), (50, 22, -70)], [10.0, 5.5]), blend=5.0
    )
    cells = canvas.smooth_field(rng, 5.0)
    for side in (1, -1):
        window = canvas.window(process.low, process.high, side)
        if window is None:
            continue
        distance = process.distance(canvas.at(window, side))
        canvas.cover(window, "cortical bone", canvas.inside(distance))
        inner = canvas.inside(distance + np.float32(2.6))
        canvas.cover(window, "marrow", inner * np.float32(0.6))
        air = np.clip(cells[window] * np.float32(1.2) + np.float32(2.2 * person.mastoid_air - 0.6), 0, 1)
        canvas.cover(window, "air", inner * air)
    canvas.paint_pair("air", ellipsoid((44, 9, -46), (3.0, 5.0, 6.0)))
    canvas.paint_pair("cortical bone", ellipsoid((44, 9, -45), (1.0, 1.5, 2.5)))  # ossicles
    canvas.paint_pair("cortical bone", tube([(46, 8, -58), (42, -1, -82)], [2.2, 1.0]))
