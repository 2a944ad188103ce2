"""Muscles of the pelvis with the fat between them, vessels and the sciatic nerve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from creps.phantom.painting.canvas import Canvas
from creps.phantom.painting.fields import smoothstep
from creps.phantom.painting.plates import plate_shape
from creps.phantom.painting.shapes import Point, Shape, ellipsoid, tube, union
from creps.phantom.pelvis.bones import iliac_wing
from creps.phantom.pelvis.person import PelvisPerson
from creps.phantom.pelvis.skin import Outlines
from creps.volume import Array

__all__ = ["paint_muscles", "paint_vessels"]

_FAR_MM = 60.0
_REACH_MM = 9.0
"""How far muscles widen to fill the space between them."""

_Belly = tuple[Sequence[Point], Sequence[float], Point]
"""Corners, radii, and the scale of the cross-section along x, y, z; the left side's."""

_GLUTEUS_MAXIMUS: tuple[_Belly, ...] = (
    ([(40, 92, 66), (82, 88, 22), (122, 56, -32), (130, 36, -84)], [11.0, 19.0, 17.0, 9.0], (1, 1, 1)),
    ([(26, 92, 14), (62, 88, -22), (104, 66, -58), (118, 42, -96)], [10.0, 18.0, 16.0, 9.0], (1, 1, 1)),
    ([(18, 86, -16), (48, 82, -48), (86, 68, -84), (104, 48, -112)], [9.0, 16.0, 13.0, 7.0], (1, 1, 1)),
)  # fmt: skip
_BELLIES: tuple[_Belly, ...] = (
    ([(128, -46, 66), (142, -34, 10), (146, -14, -60), (144, -4, -110)], [10.0, 11.0, 8.0, 4.0], (0.9, 1.3, 1)),
    ([(117, -60, 64), (100, -70, 4), (74, -68, -66), (52, -52, -130), (44, -44, -190)], [7, 8, 9, 9, 9], (1.1, 0.8, 1)),
    ([(104, -50, 24), (108, -60, -24), (106, -56, -80), (100, -52, -190)], [8.0, 12.0, 16.0, 18.0], (1, 0.9, 1)),
    ([(30, 24, 210), (36, 24, 164), (48, 16, 122), (64, -6, 82), (82, -34, 34), (88, -38, 4)],
     [14.0, 18.0, 20.0, 19.0, 14.0, 12.0], (1, 1, 1)),
    ([(88, -38, 4), (98, -20, -34), (108, 10, -60)], [12.0, 11.0, 7.0], (1, 1, 1)),
    ([(55, -30, -6), (51, 8, 2), (52, 40, -2)], [9.0, 12.0, 10.0], (0.85, 1, 1.9)),
    ([(58, 50, -2), (84, 44, -6), (128, 28, -8)], [8.0, 7.0, 5.0], (1, 1, 1.3)),
    ([(34, -36, -36), (66, -4, -44), (106, 24, -28)], [8.0, 12.0, 6.0], (1, 1, 1)),
    ([(66, 34, -48), (118, 26, -46)], [9.0, 10.0], (1, 0.8, 1.4)),
    ([(24, 80, 46), (66, 72, 32), (124, 30, 6)], [9.0, 11.0, 5.0], (1, 1, 1)),
    ([(42, -52, -4), (72, -42, -34), (104, -6, -70)], [9.0, 12.0, 9.0], (1, 1, 1)),
    ([(18, -50, -30), (56, -48, -76), (84, -28, -140), (90, -20, -190)], [7.0, 13.0, 13.0, 11.0], (1, 1, 1)),
    ([(22, -32, -46), (60, -18, -84), (94, -2, -128)], [8.0, 15.0, 11.0], (1, 1, 1)),
    ([(46, 14, -68), (68, 18, -104), (86, 16, -190)], [10.0, 19.0, 20.0], (1, 1, 1)),
    ([(12, -34, -46), (30, -20, -92), (38, -8, -190)], [5.0, 9.0, 10.0], (0.8, 1.4, 1)),
    ([(62, 36, -62), (78, 50, -104), (84, 52, -190)], [9.0, 17.0, 20.0], (1.15, 0.9, 1)),
    ([(148, 6, -40), (142, -12, -86), (136, -14, -190)], [8.0, 17.0, 22.0], (0.8, 1.4, 1)),
    ([(124, -6, -60), (120, -16, -110), (112, -22, -190)], [12.0, 18.0, 20.0], (1, 0.9, 1)),
    ([(104, -8, -80), (96, -16, -130), (86, -20, -190)], [6.0, 11.0, 16.0], (1, 1, 1)),
    ([(30, 84, 84), (36, 76, 122), (38, 70, 164), (38, 66, 210)], [8.0, 17.0, 21.0, 22.0], (1, 0.9, 1)),
    ([(14, 92, 70), (14, 84, 122), (14, 78, 210)], [6.0, 10.0, 11.0], (1, 1, 1)),
    ([(80, 56, 120), (66, 50, 164), (60, 46, 210)], [10.0, 13.0, 13.0], (1.3, 0.9, 1)),
)  # fmt: skip


def paint_muscles(rng: np.random.Generator, frame: Canvas, person: PelvisPerson, outlines: Outlines) -> None:
    """Muscles that fill the space below the fascia, each apart from its neighbours.

    Args:
        rng: Source of the marbling.
        frame: Painted on.
        person: Proportions.
        outlines: Fascia and cavity.
    """
    nearest = np.full(frame.shape, np.float32(_FAR_MM))
    second = nearest.copy()
    for side in (1, -1):
        for shape in (*_bellies(person), *_layers(person)):
            _compete(frame, shape, side, nearest, second)
    _wall(frame, person, outlines, nearest, second)
    between = second - nearest
    thin = np.float32(0.35 + 0.65 * person.muscle_fat) + np.float32(0.25) * frame.smooth_field(rng, 20.0)
    widen = np.float32(_REACH_MM) * smoothstep(outlines.cavity, -1.0, 4.0)
    muscle = np.maximum(nearest - widen, np.maximum(thin - between * np.float32(0.5), outlines.fascia + 1))
    cover = frame.inside(np.asarray(muscle, dtype=np.float32))
    frame.cover(frame.everywhere, "muscle", cover)
    streaks = np.clip(frame.smooth_field(rng, 6.0) * np.float32(0.5) - np.float32(0.55 - 0.5 * person.muscle_fat), 0, 1)
    marbled = frame.inside(np.asarray(muscle + 1.5, dtype=np.float32)) * streaks
    frame.cover(frame.everywhere, "fat", np.asarray(marbled * np.float32(0.45), dtype=np.float32))


def _bellies(person: PelvisPerson) -> list[Shape]:
    size = person.muscle

    def belly(corners: Sequence[Point], radii: Sequence[float], squash: Point) -> Shape:
        return tube(corners, [radius * size for radius in radii], squash)

    return [union(*(belly(*part) for part in _GLUTEUS_MAXIMUS), blend=8.0), *(belly(*part) for part in _BELLIES)]


def _layers(person: PelvisPerson) -> list[Shape]:
    """Muscles that lie on the wing: iliacus within; gluteus minimus and medius without."""
    wing, size = iliac_wing(round(person.wing_flare, 3)), person.muscle
    front = ellipsoid((90, -12, 70), (80, 62, 68), power=3.0)
    medius = plate_shape(wing, 11 * size, 32 * size, 5.0, 12.0)
    minimus = plate_shape(wing, 0.0, 11 * size, 14.0, 8.0)
    to_trochanter = tube([(122, -4, 62), (134, 8, 22), (141, 16, 2)], [15.0 * size, 15.0 * size, 7.0], (0.9, 1.8, 1))
    iliacus = plate_shape(wing, 0.0, -15 * size, 4.0, 12.0)
    inner = Shape(lambda p: np.maximum(iliacus.distance(p), front.distance(p)), iliacus.low, iliacus.high)
    below = tube([(128, -14, 46), (140, 4, 4)], [9.0, 5.0], (0.9, 1.6, 1))
    return [union(medius, to_trochanter, blend=8.0), union(minimus, below, blend=5.0), inner]


def _compete(canvas: Canvas, shape: Shape, side: int, nearest: Array, second: Array) -> None:
    """Enter one muscle: where it is the nearest so far, what was nearest becomes the second."""
    pad = _REACH_MM + 6.0
    low, high = np.asarray(shape.low) - pad, np.asarray(shape.high) + pad
    window = canvas.window((low[0], low[1], low[2]), (high[0], high[1], high[2]), side)
    if window is not None:
        _enter(shape.distance(canvas.at(window, side)), nearest[window], second[window])


def _enter(distance: Array, nearest: Array, second: Array) -> None:
    np.minimum(second, np.maximum(nearest, distance), out=second)
    np.minimum(nearest, distance, out=nearest)


def _wall(canvas: Canvas, person: PelvisPerson, outlines: Outlines, nearest: Array, second: Array) -> None:
    """The abdominal wall: both recti, and the flat muscles at the sides above crest and groin; the levator."""
    p = canvas.points
    away, thick = np.abs(p.x), np.float32(11.0 * person.muscle)
    depth = -outlines.fascia
    sheet = np.abs(depth - thick / 2 - 1) - thick / 2
    rectus = np.maximum(np.maximum(sheet, away - 40 - np.float32(0.06) * p.z), np.maximum(p.y + 20, -4 - p.z))
    rectus = np.maximum(rectus, np.float32(1.2) - away)
    groin = np.float32(6) + np.float32(0.62) * np.maximum(away - 20, 0) - p.z
    flat = np.maximum(
        np.maximum(np.abs(depth - thick * 0.75 - 1) - thick * 0.75, 46 - away), np.maximum(groin, p.y - 62)
    )
    for distance in (rectus, flat):
        _enter(np.asarray(distance, dtype=np.float32), nearest, second)
    bowl = ellipsoid((0, 27, 20), (43, 55, 64))
    window = canvas.window((-60, -40, -60), (60, 90, 12))
    if window is not None:
        q = canvas.at(window)
        shell = np.abs(bowl.distance(q) + 2) - np.float32(1.8)
        hiatus = np.minimum(12 - np.abs(q.x), 50 - q.y)
        shell = np.maximum(np.maximum(shell, q.z + 8), np.maximum(hiatus, -26 - q.y))
        _enter(np.asarray(shell, dtype=np.float32), nearest[window], second[window])


def paint_vessels(canvas: Canvas) -> None:
    """Iliac and femoral arteries and veins, and the sciatic nerve, in their sheaths of fat."""
    artery: list[Point] = [(9, 14, 210), (12, 8, 160), (28, 14, 120), (44, 8, 92), (60, -20, 56), (70, -50, 18)]
    artery += [(72, -60, -4), (72, -56, -50), (68, -38, -110), (64, -28, -190)]
    vein: list[Point] = [(-9, 18, 210), (4, 20, 150), (28, 28, 112), (42, 20, 88), (52, -10, 52), (57, -44, 16)]
    vein += [(58, -55, -4), (62, -50, -50), (62, -30, -110), (60, -20, -190)]
    internal: list[Point] = [(36, 18, 100), (42, 40, 84), (50, 52, 58), (50, 58, 30)]
    canvas.paint_pair("fat", ellipsoid((66, -62, -14), (20, 13, 30)), strength=0.6)  # the femoral triangle
    for corners, radii, name in (
        (artery, [5.5, 6.0, 5.2, 5.0, 4.8, 4.6, 4.6, 4.2, 3.6, 3.4], "blood"),
        (vein, [7.0, 7.0, 6.4, 6.2, 6.0, 5.6, 5.6, 5.2, 4.6, 4.0], "blood"),
        (internal, [4.4, 4.4, 4.0, 3.0], "blood"),
        ([(52, 66, 34), (70, 62, 2), (80, 52, -42), (88, 42, -110), (90, 38, -190)], [5, 5, 4.8, 4.4, 4.0], "nerve"),
    ):
        canvas.paint_pair("fat", tube(corners, [radius + 2.5 for radius in radii]))
        canvas.paint_pair(name, tube(corners, radii))
