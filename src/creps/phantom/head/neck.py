"""The neck and the soft tissue below the skull: muscles, glands, vessels, cervical spine."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from creps.phantom.head.person import Person
from creps.phantom.painting.canvas import Canvas
from creps.phantom.painting.fields import smoothstep
from creps.phantom.painting.shapes import Point, box, cut, ellipsoid, shear, tube, union

__all__ = ["paint_neck"]

# Vertebral bodies C2 to C6: centre y, centre z, half height, half depth, half width (mm).
_BODIES: tuple[tuple[float, float, float, float, float], ...] = (
    (12.0, -87.0, 8.5, 8.0, 9.0),
    (10.5, -105.5, 7.0, 8.3, 10.0),
    (10.0, -123.0, 7.0, 8.5, 10.5),
    (10.0, -140.5, 7.0, 8.7, 11.0),
    (11.0, -158.0, 7.0, 9.0, 11.5),
)
_CANAL_BEHIND_MM = 16.5


def paint_neck(rng: np.random.Generator, canvas: Canvas, person: Person) -> None:
    """Muscles and the fat between them, glands, vessels, and the spine.

    Args:
        rng: Source of the marbling of the muscles.
        canvas: Painted on.
        person: Proportions; `muscle_fat` sets the fat.
    """
    _paint_spaces(canvas, person)
    _paint_muscles(rng, canvas, person)
    _paint_vessels(canvas)
    _paint_spine(canvas)


def _paint_spaces(canvas: Canvas, person: Person) -> None:
    """Fat pads and glands."""
    fatty = 0.6 + 0.35 * min(max(person.muscle_fat, 0.0), 1.0)
    pads = [
        tube([(44, -58, -66), (50, -50, -56), (54, -38, -28)], [8.0, 7.0, 6.0]),  # buccal and temporal
        ellipsoid((30, -20, -80), (7, 12, 18)),  # parapharyngeal
        tube([(32, -4, -90), (38, 0, -150)], [9.0, 11.0]),  # carotid space
        tube([(0, 66, -78), (8, 68, -150)], [6.0, 7.0]),  # behind the nape's muscles
        ellipsoid((36, 42, -66), (16, 14, 5)),  # suboccipital
        ellipsoid((22, -52, -122), (16, 18, 5)),  # below the jaw
    ]
    for pad in pads:
        canvas.paint_pair("fat", pad, strength=fatty)
    canvas.paint_pair("gland", ellipsoid((54, -4, -74), (9, 16, 23)), below_mm=4.0)  # parotid
    canvas.paint_pair("gland", ellipsoid((30, -34, -117), (8, 14, 9)))  # submandibular


def _paint_muscles(rng: np.random.Generator, canvas: Canvas, person: Person) -> None:
    bellies = [
        tube([(58, -38, -48), (54, -24, -104)], [9.0, 6.0], (0.75, 1.6, 1.0)),  # masseter
        tube([(60, -36, 10), (57, -34, -20), (51, -30, -52)], [7.0, 9.0, 5.0], (0.6, 2.0, 1.0)),  # temporalis
        tube([(22, -34, -52), (38, -24, -98)], [8.0, 6.0]),  # medial pterygoid
        tube([(22, -34, -46), (46, -6, -56)], [8.0, 5.0]),  # lateral pterygoid
        tube([(58, 26, -62), (54, 12, -100), (44, -8, -150)], [8.0, 10.0, 11.0], (0.7, 1.3, 1.0)),  # sternomastoid
        tube([(22, 44, -60), (18, 44, -150)], [13.0, 13.5], (1.2, 0.8, 1.0)),  # semispinalis
        tube([(36, 52, -52), (40, 44, -150)], [7.0, 8.0], (1.8, 0.7, 1.0)),  # splenius
        tube([(30, 20, -70), (36, 20, -150)], [8.0, 12.0]),  # levator, scalenes
        tube([(9, -1, -62), (9, -2, -150)], [4.0, 4.5], (1.8, 0.8, 1.0)),  # longus
        tube([(14, -78, -116), (14, -46, -118)], [4.0, 5.0]),  # digastric, mylohyoid
    ]
    marbling = canvas.smooth_field(rng, 4.0)
    deep = smoothstep(canvas.depth_mm, 3.5, 6.5) if canvas.depth_mm is not None else np.ones(canvas.shape, np.float32)
    for side in (1, -1):
        for belly in bellies:
            window = canvas.window(belly.low, belly.high, side)
            if window is None:
                continue
            distance = belly.distance(canvas.at(window, side))
            canvas.cover(
                window,
                "fat",
                canvas.inside(distance - np.float32(1.3)) * np.float32(0.2 + 0.3 * person.muscle_fat) * deep[window],
            )
            canvas.cover(window, "muscle", canvas.inside(distance) * deep[window])
            streaks = np.clip(marbling[window] * np.float32(0.4) + np.float32(0.5 * person.muscle_fat), 0, 1)
            canvas.cover(window, "fat", canvas.inside(distance + 1) * streaks * np.float32(0.22) * deep[window])


def _paint_vessels(canvas: Canvas) -> None:
    carotid = tube([(22, 0, -58), (26, -6, -90), (28, -8, -118), (27, -8, -160)], [2.6, 2.8, 4.2, 3.8])
    jugular = tube([(29, 8, -58), (33, 3, -90), (36, -2, -160)], [4.0, 4.8, 6.5])
    vertebral = tube([(24, 16, -66), (18, 14, -90), (18, 12, -160)], [2.0, 2.0, 2.0])
    for vessel in (carotid, jugular, vertebral):
        canvas.paint_pair("blood", vessel)


def _paint_spine(canvas: Canvas) -> None:
    """Atlas, axis and the vertebrae below, discs, spinal canal and cord."""
    top, bottom = (0.0, 25.0, -50.0), (0.0, 28.0, -175.0)
    canvas.paint("fat", tube([top, (0, 29, -85), bottom], [11.0, 9.5, 9.5], (1.15, 1.0, 1.0)), strength=0.6)
    for above, (y, z, half_z, _, _) in pairwise(_BODIES):
        middle = ((above[1] - above[2]) + (z + half_z)) / 2
        canvas.paint("disc", ellipsoid((0, (y + above[0]) / 2 - 0.5, middle), (10, 8.3, 4.0), power=3.0))
    for y, z, half_z, half_y, half_x in _BODIES:
        _paint_vertebra(canvas, (0.0, y, z), (half_x, half_y, half_z), long_spine=z > -90)
    _paint_atlas(canvas)
    canal = tube([(0, 25, -56), (0, 28, -75), (0, 27.5, -105), (0, 27, -175)], [9.5, 8.6, 7.6, 7.4], (1.2, 1.0, 1.0))
    canvas.paint_nested({"dura": 0.0, "csf": 0.8}, canal)
    cord = tube([(0, 25, -58), (0, 28, -75), (0, 27.5, -105), (0, 27, -175)], [5.2, 4.3, 4.1, 4.1], (1.35, 1.0, 1.0))
    canvas.paint_nested({"white matter": 0.0, "deep grey matter": 3.0}, cord)


def _paint_vertebra(canvas: Canvas, centre: Point, half: Point, *, long_spine: bool) -> None:
    _, y, z = centre
    body = shear(ellipsoid(centre, half, power=4.0), centre, y_by_z=0.08)
    canal = (y + _CANAL_BEHIND_MM, z - 2)
    pedicle = tube([(9, y + 4, z), (15, y + 10, z)], [3.6, 3.8])
    facet = tube([(18, y + 10, z + 5), (19, y + 15, z - 6)], [6.0, 6.0], (1.0, 0.9, 1.0))
    lamina = tube(
        [(18, y + 13, z - 2), (9, canal[0] + 8, canal[1] - 2), (0, canal[0] + 12, canal[1] - 4)],
        [4.2, 3.0, 3.4],
        (1, 0.9, 1.4),
    )
    reach = 14 if long_spine else 9
    spine = tube([(0, canal[0] + 11, z - 6), (1.5, canal[0] + 13 + reach, z - 12)], [3.6, 4.0], (0.9, 1, 1.2))
    transverse = tube([(10, y + 1, z - 1), (24, y + 2, z - 3)], [3.0, 3.0])
    foramen = tube([(18, y + 2, z - 12), (18, y + 2, z + 12)], [3.0, 3.0])
    arch = union(pedicle, facet, lamina, spine, cut(transverse, foramen), blend=2.0)
    canvas.paint_nested_pair({"cortical bone": 0.0, "marrow": 1.7}, arch)
    canvas.paint_nested({"cortical bone": 0.0, "marrow": 1.6}, body)


def _paint_atlas(canvas: Canvas) -> None:
    mass = ellipsoid((20, 16, -66), (8.5, 9, 8), power=3.0)
    front = tube([(0, 0, -66), (10, 3, -66), (18, 10, -66)], [4.0, 3.6, 4.0], (1, 0.9, 1.4))
    back = tube([(22, 22, -66), (17, 38, -67), (0, 46, -68)], [4.0, 3.2, 4.2], (1, 1, 1.3))
    wing = tube([(22, 16, -66), (37, 18, -66)], [5.0, 4.0])
    canvas.paint_nested_pair({"cortical bone": 0.0, "marrow": 1.7}, union(mass, front, back, wing, blend=2.0))
    dens = tube([(0, 11.5, -84), (0, 10.5, -62)], [6.0, 4.6])
    canvas.paint_nested({"cortical bone": 0.0, "marrow": 1.7}, dens)
    canvas.paint("disc", box((0, 17.5, -66), (9, 1.2, 5), 1.0))
