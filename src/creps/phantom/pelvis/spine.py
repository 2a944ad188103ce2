"""Lower lumbar spine, sacrum and coccyx."""

from __future__ import annotations

from creps.phantom.painting.canvas import Canvas
from creps.phantom.painting.shapes import Point, Shape, both, cut, ellipsoid, grow, mirrored, tilt, tube, union
from creps.phantom.pelvis.bones import paint_spongy
from creps.phantom.pelvis.person import PelvisPerson

__all__ = ["paint_spine"]

# Centre of each sacral segment: y, z; half width, half depth of its body; reach of its wing (mm).
_SACRUM = (
    (53.0, 96.0, 25.0, 15.5, 50.0),
    (70.0, 75.0, 20.0, 12.0, 47.0),
    (81.0, 52.0, 15.0, 10.0, 38.0),
    (86.0, 31.0, 12.5, 8.5, 27.0),
    (84.0, 13.0, 10.0, 7.0, 17.0),
)
# Lumbar bodies from below: centre y, z; slant dy/dz (mm).
_LUMBAR = ((33.0, 129.0, -0.42), (24.0, 164.0, -0.20), (20.0, 199.0, -0.05))
_SACROILIAC_MM = 2.6


def paint_spine(canvas: Canvas, person: PelvisPerson, hip: Shape) -> None:
    """Everything from L3 to the tip of the coccyx.

    Args:
        canvas: Painted on.
        person: Proportions.
        hip: The left hip bone, from which the joint's cartilage keeps the sacrum apart.
    """
    _paint_sacrum(canvas, person, hip)
    for index, (y, z, slant) in enumerate(_LUMBAR):
        _paint_vertebra(canvas, person, (0.0, y, z), slant, wide=1.04 if index == 0 else 1.0)
    for (y, z), slant in (((43.0, 112.0), -0.65), ((28.5, 146.5), -0.32), ((22.0, 181.1), -0.12)):
        tilted = ellipsoid((0, y, z), (25, 17, 6), power=3.0)
        canvas.paint("disc", tilt(tilted, (0.0, y, z), slant))
    canal = [(0.0, 48.0, 210.0), (0.0, 53.0, 164.0), (0.0, 62.0, 128.0), (0.0, 75.0, 102.0), (0.0, 86.0, 76.0)]
    canvas.paint("fat", tube(canal, [8.5, 8.5, 8.5, 7.0, 4.0]))
    canvas.paint("csf", tube(canal, [7.0, 7.0, 7.0, 5.0, 2.5]))


def _paint_sacrum(canvas: Canvas, person: PelvisPerson, hip: Shape) -> None:
    bodies = tube([(0.0, y, z) for y, z, *_ in _SACRUM], [depth for *_, depth, _ in _SACRUM], (1.0, 1.0, 1.0))
    wings = [
        tube(
            [(0.0, y + 3, z), (reach * 0.6, y + 5, z - 4), (reach, y + (14 if i < 2 else 3), z - 8)],
            [depth + 1.0, depth * 1.05, depth * 0.75],
        )
        for i, (y, z, _, depth, reach) in enumerate(_SACRUM)
    ]
    base = tilt(ellipsoid((0, 51, 98), (26, 17, 12), power=3.0), (0.0, 51.0, 98.0), -0.75)
    crest = tube([(0, 88, 98), (0, 93, 74), (0, 96, 50), (0, 95, 28)], [4.5, 4.5, 4.0, 3.0])
    arch = tube([(16, 82, 98), (7, 90, 90), (0, 93, 84)], [6.0, 4.5, 4.0])
    facet = tube([(22, 72, 108), (22, 78, 96)], [6.5, 7.0])
    holes = [
        tube([(x, y - 16, z), (x, y + 4, z)], [5.5, 3.5])
        for x, y, z in ((21.0, 64.0, 84.0), (19.0, 77.0, 62.0), (16.5, 85.0, 41.0))
    ]
    left = union(*wings, arch, facet, blend=5.0)
    for hole in holes:
        left = cut(left, hole, 2.0)
    middle = union(bodies, base, crest, blend=4.0)
    half = union(left, middle, blend=4.0)
    sacrum = mirrored(half)
    joint = mirrored(both(grow(hip, _SACROILIAC_MM), half))
    canvas.paint("cartilage", joint)
    paint_spongy(canvas, person, cut(sacrum, mirrored(grow(hip, _SACROILIAC_MM))), 1.1)
    coccyx = tube([(0, 82, 0), (0, 80, -10), (0, 76, -18), (0, 72, -24)], [6.5, 5.0, 4.0, 2.5], (1.3, 0.8, 1.0))
    paint_spongy(canvas, person, coccyx, 1.0)


def _paint_vertebra(canvas: Canvas, person: PelvisPerson, centre: Point, slant: float, wide: float) -> None:
    _, y, z = centre
    body = tilt(ellipsoid(centre, (25 * wide, 17, 13.5), power=4.0), centre, slant)
    back = -slant * 8
    arch = union(
        tube([(14, y + 12, z + 3), (17, y + 26, z + 2)], [5.5, 5.5]),
        tube([(20, y + 28, z + 12), (21, y + 36, z - 14)], [6.5, 7.5]),
        tube([(19, y + 34, z - 2), (0, y + 43, z - 8 - back)], [4.0, 4.0], (1.0, 0.9, 1.6)),
        tube([(0, y + 42, z - 8), (0, y + 56, z - 14)], [3.4, 4.6], (0.9, 1.0, 1.8)),
        tube([(17, y + 20, z + 3), (44 * wide, y + 24, z + 4)], [5.0, 4.0], (1.0, 0.8, 1.2)),
        blend=3.0,
    )
    paint_spongy(canvas, person, mirrored(arch), 1.1)
    paint_spongy(canvas, person, body, 0.9)
