"""Hip bones and femora."""

from __future__ import annotations

from functools import cache

import numpy as np

from creps.phantom.painting.canvas import Canvas
from creps.phantom.painting.plates import Plate, plate_shape, shape_plate
from creps.phantom.painting.shapes import Point, Points, Shape, both, cut, ellipsoid, shear, tube, union
from creps.phantom.pelvis.person import PelvisPerson, PelvisPosture
from creps.volume import Array

__all__ = ["CENTRE", "femur_points", "hip_bone", "iliac_wing", "paint_femora", "paint_hip_bones", "paint_spongy"]

CENTRE: Point = (88.0, 0.0, 0.0)
"""Centre of the left femoral head."""

JOINT_MM = 2.8
"""Cartilage between the femoral head and its socket."""

_BONE_SHARE = 0.8
"""Share of trabecular bone, the rest being fatty marrow, at a density of 1."""

_DENSE_MM = 3.0
"""Depth of the denser trabeculae below the shell, at a full share."""

# Lateral view of the wing: y, z (mm) along its outline.
_OUTLINE = np.array(
    [
        (-54, 72), (-51, 54), (-41, 45), (-45, 35), (-38, 22), (-20, 10), (20, 10), (36, 14), (46, 26), (52, 42),
        (64, 53), (82, 51), (91, 58), (93, 74), (84, 94), (66, 108), (40, 118), (12, 122), (-12, 117), (-36, 103),
        (-51, 86),
    ],
    dtype=np.float64,
)  # fmt: skip
# Places that it runs through: y, z, x, thickness (mm).
_SHEET = np.array(
    [
        (-53, 74, 119, 12), (-42, 36, 101, 19), (-18, 24, 93, 24), (5, 24, 87, 25), (28, 24, 77, 23),
        (50, 36, 63, 17), (60, 50, 56, 16), (84, 50, 45, 15), (92, 72, 43, 15), (78, 98, 59, 13),
        (50, 114, 86, 11), (12, 121, 117, 10), (-15, 114, 133, 14), (-40, 97, 129, 9), (0, 76, 109, 4.5),
        (25, 82, 92, 5), (-22, 68, 110, 7), (0, 50, 95, 12), (50, 80, 67, 14), (70, 75, 55, 18), (25, 52, 81, 12),
    ],
    dtype=np.float64,
)  # fmt: skip


@cache
def iliac_wing(flare: float) -> Plate:
    """The left wing, leaning outwards by `flare` times the atlas."""
    sheet = _SHEET.copy()
    lean = np.clip((sheet[:, 1] - 30) / 90, 0, 1) * np.clip((60 - sheet[:, 0]) / 60, 0, 1)
    sheet[:, 2] += (flare - 1) * 90 * lean
    return shape_plate(_OUTLINE, sheet)


def hip_bone(person: PelvisPerson) -> Shape:
    """The left hip bone: wing, socket, ischium and the rami that close the ring at the symphysis."""
    r = person.head_mm
    x, y, z = CENTRE
    cup = both(ellipsoid((x - 3, y + 2, z + 2), (r + 9, r + 9, r + 9)), _cup_side(r))
    wide = 1.12 if person.female else 1.0  # a woman's pubic arch opens wider
    rami = union(
        tube([(66, -26, 8), (48, -42, 3), (27, -52, -7), (13, -52, -13)], [12.5, 9.0, 8.0, 9.0]),
        tube([(13, -36, -32), (27 * wide, -18, -47), (44 * wide, 8, -60)], [7.5, 6.0, 8.5]),
        tube([(80, 27, 2), (73, 34, -20), (61 * wide, 30, -46), (54 * wide, 18, -60)], [15.0, 12.0, 13.0, 10.5]),
        tube([(66, 40, 2), (50, 47, -3)], [6.0, 2.5]),
        tube([(70, 36, 28), (76, 31, 0)], [11.0, 13.0]),
        blend=8.0,
    )
    pubis = shear(ellipsoid((12.2, -48, -18), (9.8, 9, 20), power=3.2), (12, -48, -18), y_by_z=-0.55)
    notch = tube([(74, -4, -18), (96, -8, -40)], [9.0, 12.0])
    bone = union(plate_shape(iliac_wing(round(person.wing_flare, 3))), cut(cup, notch, 3.0), rami, pubis, blend=8.0)
    midline = Shape(lambda p: np.float32(2.3) - p.x, (2.0, -300.0, -300.0), (300.0, 300.0, 300.0))
    socket = ellipsoid(CENTRE, (r + JOINT_MM, r + JOINT_MM, r + JOINT_MM))
    return cut(both(bone, midline), socket)


def _cup_side(radius: float) -> Shape:
    """The half of space that the socket fills: it opens outwards, downwards and forwards."""
    normal = np.array([0.72, -0.26, -0.64], dtype=np.float32)
    normal /= np.linalg.norm(normal)

    def distance(p: Points) -> Array:
        along = sum((part - np.float32(c)) * n for part, c, n in zip((p.x, p.y, p.z), CENTRE, normal, strict=True))
        return np.asarray(along - np.float32(0.16 * radius), dtype=np.float32)

    return Shape(distance, (-300.0, -300.0, -300.0), (300.0, 300.0, 300.0))


def paint_spongy(canvas: Canvas, person: PelvisPerson, shape: Shape, shell_mm: float, side: int = 1) -> None:
    """A bone with a thin shell around trabeculae, dense below the shell, and fatty marrow among them."""
    thick = shell_mm * person.cortex
    share = _BONE_SHARE * person.density
    canvas.paint_nested({"thin bone": 0.0, "marrow": thick, "trabecular bone": thick + _DENSE_MM * share}, shape, side)
    inner = Shape(lambda p: shape.distance(p) + np.float32(thick), shape.low, shape.high)
    canvas.paint("yellow marrow", inner, side, strength=max(1 - share, 0.01))


def paint_hip_bones(canvas: Canvas, person: PelvisPerson, bone: Shape) -> None:
    """Both hip bones, the disc of the symphysis and the cartilage of the sockets."""
    canvas.paint("disc", shear(ellipsoid((0, -47, -18), (5, 8, 18), 3.0), (0, -47, -18), y_by_z=-0.55))
    r = person.head_mm
    cartilage = both(ellipsoid(CENTRE, (r + JOINT_MM, r + JOINT_MM, r + JOINT_MM)), _cup_side(r))
    for side in (1, -1):
        canvas.paint("cartilage", cartilage, side)
        paint_spongy(canvas, person, bone, 1.5, side)


def femur_points(points: list[Point], turn_deg: float) -> list[Point]:
    """Points fixed to the left femur, turned about the vertical through the head (positive: foot outwards)."""
    angle = np.deg2rad(turn_deg)
    turned = []
    for x, y, z in points:
        dx, dy = x - CENTRE[0], y - CENTRE[1]
        turned.append(
            (
                float(CENTRE[0] + np.cos(angle) * dx - np.sin(angle) * dy),
                float(CENTRE[1] + np.sin(angle) * dx + np.cos(angle) * dy),
                z,
            )
        )
    return turned


def paint_femora(canvas: Canvas, person: PelvisPerson, posture: PelvisPosture) -> None:
    """Heads, necks, trochanters and the upper shafts."""
    r, out = person.head_mm, person.neck_shaft_mm
    for side, turn in zip((-1, 1), posture.hips_deg, strict=True):
        turn_deg = turn - 5.0

        def at(*points: Point, turn_deg: float = turn_deg) -> list[Point]:
            return femur_points([(x + out if x > 100 else x, y, z) for x, y, z in points], turn_deg)

        head = ellipsoid(CENTRE, (r, r, r))
        rest = union(
            tube(at((94, 1, -4), (112, 4, -18), (128, 8, -34)), [16.0, 14.5, 18.0]),
            tube(at((140, 20, -2), (140, 18, -22), (131, 12, -48)), [9.0, 14.0, 16.0]),
            tube(at((112, 20, -62), (118, 12, -66)), [6.5, 11.0]),
            tube(at((126, 9, -48), (122, 6, -80), (116, 2, -200)), [18.0, 15.5, 14.0]),
            blend=7.0,
        )
        paint_spongy(canvas, person, union(head, rest, blend=5.0), 1.4, side)
        shaft = tube(at((123, 7, -74), (121, 5, -95), (116, 2, -200)), [15.0, 15.2, 14.0])
        canal = tube(at((125, 8, -58), (122, 6, -78), (120, 4, -100), (116, 2, -200)), [13.0, 11.5, 8.5, 7.0])
        canvas.paint("cortical bone", shaft, side)
        canvas.paint("yellow marrow", canal, side)
        canvas.paint("trabecular bone", tube(at((125, 8, -50), (122, 6, -80)), [12.0, 9.0]), side, strength=0.45)
