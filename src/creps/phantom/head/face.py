"""The face: bones, orbits and eyes, sinuses, nose, mouth and pharynx."""

from __future__ import annotations

import numpy as np

from creps.phantom.head.person import Person
from creps.phantom.painting.canvas import Canvas
from creps.phantom.painting.shapes import Point, Shape, both, box, cut, ellipsoid, shear, tube, union

__all__ = ["paint_airways", "paint_face_bones", "paint_orbits"]

_ORBIT = tube([(13, -36, -20), (24, -58, -22), (31, -78, -24), (34, -96, -25)], [4.0, 15.0, 19.5, 21.0])
_PALATE_Z_MM = -69.0


def paint_face_bones(rng: np.random.Generator, canvas: Canvas, person: Person) -> None:
    """Facial skeleton without the mandible's neighbours in the neck.

    Args:
        rng: Source of the teeth that are missing.
        canvas: Painted on.
        person: Proportions.
    """
    frontal = both(box((0, -72, -6), (60, 18, 22), 8.0), ellipsoid((0, -40, -8), (56, 50, 30)))
    canvas.paint_nested({"cortical bone": 0.0, "diploe": 2.2}, frontal)
    maxilla = union(
        shear(ellipsoid((25, -62, -50), (20, 23, 25), power=2.8), (25, -62, -50), x_by_z=0.1),
        tube([(19, -80, -26), (14, -84, -45), (13, -84, -66)], [3.5, 5.0, 7.0]),
        blend=5.0,
    )
    canvas.paint_nested_pair({"thin bone": 0.0, "marrow": 2.4}, maxilla)
    rim = tube(
        [(20, -85, -8), (38, -79, -7), (50, -69, -17), (49, -69, -30), (38, -77, -43), (22, -81, -42)],
        [5.0, 4.5, 4.5, 5.0, 5.0, 4.0],
    )
    canvas.paint_nested_pair({"cortical bone": 0.0, "marrow": 2.6}, rim)
    arch = tube(
        [(45, -72, -44), (56, -60, -46), (64, -40, -46), (67, -18, -45), (63, 0, -44)],
        [7.5, 5.5, 3.2, 3.0, 4.0],
        (0.75, 1.0, 1.1),
    )
    canvas.paint_nested_pair({"cortical bone": 0.0, "marrow": 2.0}, arch)
    lateral = tube([(50, -66, -22), (45, -46, -20)], [3.0, 2.0], (1, 1, 4))
    canvas.paint_pair("cortical bone", lateral)
    canvas.paint_pair("cortical bone", tube([(4, -87, -14), (5, -93, -24), (4, -99, -37)], [4.0, 3.0, 1.8]))
    pterygoid = box((13, -33, -56), (2.5, 8, 13), 1.5)
    canvas.paint_pair("cortical bone", pterygoid)
    palate = both(
        ellipsoid((0, -60, _PALATE_Z_MM), (22 * person.jaw_width, 30, 3.5), power=4.0),
        box((0, -62, _PALATE_Z_MM), (30, 30, 3.5), 1.0),
    )
    canvas.paint_nested({"cortical bone": 0.0, "marrow": 1.8}, palate)
    _paint_jaws(rng, canvas, person)


def _arc(width: float, front_y: float, back_y: float, z: float, count: int) -> list[Point]:
    """Points of the left half of a dental arch, from the midline backwards, evenly spaced."""
    t = np.linspace(0, 1, 200)
    x, y = width * np.sin(t * np.pi / 2) ** 0.9, back_y + (front_y - back_y) * np.cos(t * np.pi / 2) ** 0.9
    run = np.append(0, np.cumsum(np.hypot(np.diff(x), np.diff(y))))
    places = (np.arange(count) + 0.5) / count * run[-1]
    return [(float(np.interp(s, run, x)), float(np.interp(s, run, y)), z) for s in places]


def _paint_jaws(rng: np.random.Generator, canvas: Canvas, person: Person) -> None:
    """Alveolar ridges, mandible, and 32 teeth less a few."""
    w = person.jaw_width
    upper = [(0.0, -85.0, -75.0), *_arc(25 * w, -85, -46, -75, 6)]
    canvas.paint_nested_pair({"cortical bone": 0.0, "marrow": 1.8}, tube(upper, [6.0] * len(upper), (1, 1, 1.2)))
    lower = [
        (0.0, -83.0, -113.0),
        (14 * w, -80.0, -113.0),
        (26 * w, -66.0, -112.0),
        (36 * w, -44.0, -109.0),
        (44 * w, -22.0, -101.0),
    ]
    body = tube(lower, [7.0, 6.5, 6.0, 6.0, 5.5], (0.9, 0.9, 2.0))
    chin = ellipsoid((0, -86 - 0.8 * person.chin_mm, -120), (17, 8, 8))
    ramus = tube([(45 * w, -20, -103), (47 * w, -16, -86), (49, -10, -66)], [7.0, 6.5, 5.5], (0.65, 1.9, 1.0))
    condyle = tube([(49, -8, -66), (50, 0, -52)], [4.5, 5.0], (1.3, 0.9, 1.0))
    coronoid = tube([(48, -20, -72), (49, -26, -54)], [5.0, 2.5], (0.7, 1.2, 1.0))
    mandible = union(body, chin, ramus, condyle, coronoid, blend=3.0)
    canvas.paint_nested_pair({"cortical bone": 0.0, "marrow": 2.5}, mandible)
    lengths = [(7.5, 3.6), (7.0, 3.2), (9.0, 3.8), (7.0, 3.8), (7.0, 3.8), (6.5, 5.0), (6.5, 5.0), (6.0, 4.6)]
    gap = 1.0 + person.mouth_gap_mm * 0.5
    for side in (1, -1):
        for z, direction, width, front, back in ((-85.0 + gap, 1, 25.5, -87, -44), (-88.0 - gap, -1, 24.5, -85, -44)):
            missing = rng.random(8) < 0.06
            for (x, y, _), (half, radius), gone in zip(
                _arc(width * w, front, back, z, 8), lengths, missing, strict=True
            ):
                if not gone:
                    _paint_tooth(canvas, (x, y, z + direction * half * 0.6), half, radius, direction, side)


def _paint_tooth(canvas: Canvas, centre: Point, half: float, radius: float, direction: int, side: int) -> None:
    x, y, z = centre
    crown = tube([(x, y, z - direction * half * 0.5), (x, y, z + direction * half * 0.9)], [radius, radius * 0.6])
    canvas.paint("tooth", crown, side)


def paint_orbits(canvas: Canvas) -> None:
    """Orbital walls, fat, eyes with lens, muscles, optic nerves.

    Args:
        canvas: Painted on.
    """
    cone = both(_ORBIT, box((30, -55, -23), (40, 26, 40), 2.0), 6.0)
    shell = both(_ORBIT, box((30, -50, -23), (45, 24, 40), 2.0))
    wall = Shape(lambda p: shell.distance(p) - np.float32(1.8), shell.low, shell.high)
    eye: Point = (31.5, -70.5, -24.0)
    for side in (1, -1):
        canvas.paint("thin bone", wall, side, below_mm=6.0)
        canvas.paint("fat", cone, side, below_mm=4.0)
        for dx, dz in ((11, 0), (-11, 0), (0, 10.5), (0, -10.5)):  # straight muscles
            belly = tube([(15, -40, -20), (26 + 0.9 * dx, -58, -23 + dz), (31 + dx, -68, -24 + dz)], [1.2, 2.4, 1.2])
            canvas.paint("muscle", belly, side)
        canvas.paint("gland", ellipsoid((44, -69, -14), (4, 6, 4)), side)
        canvas.paint("nerve", tube([(11, -31, -18), (20, -46, -21), (29, -60, -24)], [2.2, 2.2, 2.2]), side)
        canvas.paint_nested({"mucosa": 0.0, "vitreous": 1.2}, ellipsoid(eye, (12.2, 12.2, 12.0)), side)
        canvas.paint("vitreous", ellipsoid((31.5, -80.0, -24), (6, 4, 6)), side)
        canvas.paint("lens", ellipsoid((31.5, -79.0, -24), (4.8, 2.2, 4.8)), side)


def paint_airways(rng: np.random.Generator, canvas: Canvas, person: Person) -> None:
    """Air: sinuses, nasal cavity, mouth, pharynx, larynx, ear canals; and what stands in it.

    Args:
        rng: Source of the septum's bend, of the ethmoid's cells and of fluid in a sinus.
        canvas: Painted on.
        person: Proportions.
    """
    bend = person.nose_asymmetry_mm
    _paint_sinuses(rng, canvas, person)
    nose = union(
        tube([(9, -86, -62), (8, -72, -60), (8, -50, -57), (8, -36, -56)], [5.5, 8.0, 8.0, 7.0], (0.75, 1.0, 1.0)),
        tube([(5, -78, -46), (6, -50, -40), (6, -38, -44)], [3.5, 3.5, 4.0], (0.8, 1, 1.6)),
        tube([(8, -106, -66), (8, -98, -62), (8, -84, -58)], [3.2, 3.8, 4.5]),
        blend=4.0,
    )
    canvas.paint_nested_pair({"mucosa": -1.5, "air": 0.6}, nose)
    lower = tube([(13, -82, -63), (12, -50, -61)], [2.6, 3.4], (0.8, 1, 1.3))
    middle = tube([(11, -74, -51), (10, -48, -49)], [2.2, 3.0], (0.8, 1, 1.4))
    for turbinate in (lower, middle):
        canvas.paint_nested_pair({"mucosa": 0.0, "thin bone": 2.2}, turbinate)
    septum = shear(box((bend * 0.4, -66, -50), (1.1, 30, 20), 0.8), (0, -60, -50), x_by_z=0.02 * bend)
    canvas.paint("mucosa", septum)
    canvas.paint("thin bone", both(septum, box((0, -54, -48), (6, 18, 18), 1.0)), strength=0.6)
    _paint_throat(canvas, person)
    canvas.paint_pair("air", tube([(46, 9, -47), (60, 10, -46), (84, 14, -44)], [3.0, 3.2, 4.5]))


def _paint_sinuses(rng: np.random.Generator, canvas: Canvas, person: Person) -> None:
    m = person.maxillary_sinus
    maxillary = shear(ellipsoid((26, -60, -49), (13 * m, 15.5 * m, 15.5 * m), power=2.6), (26, -60, -49), x_by_z=0.12)
    sphenoid = cut(ellipsoid((8.5, -32, -32), (9, 14, 10), power=2.6), ellipsoid((0, -16, -19), (10, 9, 9)), 2.0)
    cells = canvas.smooth_field(rng, 6.0)
    ethmoid = box((7.5, -58, -27), (6.5, 19, 11), 3.0)
    for side in (1, -1):
        canvas.paint_nested({"mucosa": -0.8, "air": 0.2 + 1.2 * rng.random()}, maxillary, side, below_mm=7.0)
        if rng.random() < 0.15:  # fluid level
            canvas.paint("mucosa", both(maxillary, box((26, -42, -52), (25, 14, 25), 1.0)), side)
        canvas.paint("air", sphenoid, side)
        size = person.frontal_sinus * (0.8 + 0.4 * rng.random())
        if size > 0.4:
            canvas.paint(
                "air",
                shear(ellipsoid((9 * size + 2, -82.0, -8), (10 * size, 4.6, 11 * size)), (0, -82, -8), y_by_z=0.12),
                side,
                below_mm=10.0,
            )
        window = canvas.window(ethmoid.low, ethmoid.high, side)
        if window is not None:
            cover = canvas.inside(ethmoid.distance(canvas.at(window, side)))
            canvas.cover(window, "thin bone", cover)
            air = np.clip((np.abs(cells[window]) - np.float32(0.16)) * 4, 0, 1)
            canvas.cover(window, "air", cover * air)


def _paint_throat(canvas: Canvas, person: Person) -> None:
    """Tongue, soft palate, pharynx, epiglottis and larynx."""
    gap = person.mouth_gap_mm
    mouth = ellipsoid((0, -58, -84), (21, 26, 11))
    canvas.paint_nested({"mucosa": -2.0, "air": 2.0}, mouth)
    tongue = union(ellipsoid((0, -52, -87.0 - gap), (21.5, 29, 15)), ellipsoid((0, -40, -98), (17, 24, 17)), blend=8.0)
    canvas.paint_nested({"mucosa": 0.0, "muscle": 2.5}, tongue)
    canvas.paint("fat", ellipsoid((0, -50, -98), (2.0, 18, 10)), strength=0.7)  # lingual septum
    pharynx = tube(
        [(0, -27, -56), (0, -18, -64), (0, -14, -80), (0, -15, -98), (0, -18, -112), (0, -22, -126), (0, -20, -160)],
        [9.0, 8.0, 6.0, 6.5, 8.0, 7.0, 8.5],
        (1.35, 0.85, 1.0),
    )
    canvas.paint_nested({"mucosa": -2.0, "air": 0.0}, pharynx)
    canvas.paint("mucosa", tube([(0, -34, -70), (0, -24, -74), (0, -18, -84)], [4.0, 4.5, 2.6], (2.2, 1, 1)))
    canvas.paint("cartilage", tube([(0, -26, -118), (0, -20, -104)], [2.0, 1.4], (3.5, 1, 1)))
    hyoid = tube([(0, -44, -122), (11, -38, -121), (20, -20, -118)], [3.2, 2.6, 1.8])
    canvas.paint_nested_pair({"cortical bone": 0.0, "marrow": 1.4}, hyoid)
    larynx = tube([(0, -36, -130), (12, -24, -131), (16, -12, -131)], [2.0, 2.0, 2.0], (1, 1, 5))
    canvas.paint_pair("cartilage", larynx)
