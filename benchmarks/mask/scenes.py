"""Phantoms with limbs beside them, things around them and a cut field of view, as an MR and a CT with their truth."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from creps.phantom import REGIONS
from creps.phantom.painting.canvas import Canvas
from creps.phantom.painting.shapes import Point, Points, Shape, box, ellipsoid, tube, union
from creps.phantom.patient import Phantom, draw_texture, grow_patient
from creps.phantom.scanners.ct import acquire_ct
from creps.phantom.scanners.mr import acquire_mr
from creps.volume import Array, Mask, Volume

__all__ = ["CUTS", "LIMBS", "Scene", "draw_scene"]

ROOM_MM = 150.0
"""Added to a phantom's field of view on the left and the right."""

APART_MM = 14.0
"""From the skin to what lies beside it."""

CUTS: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "whole": ((0, 1), (0, 1)),
    "left side cut": ((0, 1), (0.0, 0.55)),
    "front and back cut": ((0.22, 0.72), (0, 1)),
    "all sides cut": ((0.25, 0.72), (0.33, 0.67)),
}
"""What is left of the field of view along H and W."""

LIMBS = ("none", "hand", "arms", "thighs", "foot", "fingers")


@dataclass(frozen=True, eq=False)
class Scene:
    """A patient with what lies around.

    Attributes:
        mr: In scanner units.
        ct: In HU.
        patient: (D, H, W) inside the skin of body and limbs.
        things: (D, H, W) couch, coil, cushion and markers in the CT or in the MR.
        pieces: How many parts the patient has.
    """

    mr: Volume
    ct: Volume
    patient: Mask
    things: tuple[Mask, Mask]

    def cut(self, name: str) -> Scene:
        """The same in a smaller field of view."""
        height, width = self.patient.shape[1:]
        (top, bottom), (first, last) = CUTS[name]
        part = np.s_[:, int(top * height) : int(bottom * height), int(first * width) : int(last * width)]
        mr, ct = (Volume(np.ascontiguousarray(v.array[part]), v.spacing_mm) for v in (self.mr, self.ct))
        of_mr, of_ct = self.things
        return Scene(mr, ct, self.patient[part], (of_mr[part], of_ct[part]))


def draw_scene(region: str, limbs: str, seed: int, spacing_mm: float) -> Scene:
    """Draw a patient with limbs, on a couch in the CT and in a coil in the MR.

    Args:
        region: ``head`` or ``pelvis``.
        limbs: One of `LIMBS`.
        seed: Of person, scanners and noise.
        spacing_mm: Nominal size of a voxel.
    """
    view = REGIONS[region].mr_view
    z, y, (low, high) = view.edges
    wide = replace(view, edges=(z, (y[0] - 20, y[1] + 60), (low - ROOM_MM, high + ROOM_MM)))
    chosen = replace(REGIONS[region], mr_view=wide)
    phantom = grow_patient(chosen, [83, seed], spacing_mm, ct=False, centre=seed % 3)
    if phantom.mr is None:
        raise ValueError("a phantom without an MR")
    canvas, rng = phantom.body.canvas, np.random.default_rng([84, seed])
    points = _points(canvas)
    skin = np.minimum(phantom.body.skin_mm, _paint_limbs(phantom, limbs, points))
    texture = draw_texture(rng, canvas)
    centre = chosen.mr_centres[seed % 3]
    mr, _ = acquire_mr(rng, canvas, centre, texture)
    ct, _ = acquire_ct(rng, canvas, chosen.ct_scanners[seed % 2], texture, skin, chosen.couch)
    bare = np.asarray(skin >= 0)
    mr, in_mr = _with_coil(rng, mr, canvas, skin, points)
    ct, in_ct = _with_cushion(rng, ct, canvas, skin, points)
    grid = phantom.mr
    return Scene(grid.with_array(mr), grid.with_array(ct), ~bare, (in_mr & bare, in_ct & bare))


def _points(canvas: Canvas) -> Points:
    """Patient coordinates of every voxel."""
    z, y, x = np.meshgrid(*(axis.astype(np.float32) for axis in canvas.axes), indexing="ij")
    return Points(x, y, z)


def _paint_limbs(phantom: Phantom, limbs: str, points: Points) -> Array:
    """Paint limbs beside the body; their signed distance in mm."""
    inside = phantom.body.skin_mm < 0
    seen = inside.any(axis=(0, 1))
    right, left = (float(phantom.body.canvas.axes[2][np.flatnonzero(seen)[i]]) for i in (0, -1))
    bottom, top = (float(phantom.body.canvas.axes[0][i]) for i in (0, -1))
    middle = (bottom + top) / 2
    beside = left + APART_MM
    skin = np.full(inside.shape, np.float32(1e3))
    for shape, bones in _limbs(limbs, (right - APART_MM, beside), (bottom, middle, top)):
        distance = shape.distance(points)
        skin = np.minimum(skin, distance)
        _cover(phantom.body.canvas, distance, bones, points)
    return np.asarray(skin, dtype=np.float32)


def _limbs(
    limbs: str, sides: tuple[float, float], heights: tuple[float, float, float]
) -> list[tuple[Shape, list[Shape]]]:
    """Outline and bones of each limb."""
    (right, left), (bottom, middle, top) = sides, heights
    if limbs == "hand":
        x, low, high = left + 14, middle - 36, middle + 36
        palm = box((x, 10, middle), (12, 38, 42), 11)
        return [(palm, [tube([(x, y, low), (x, y, high)], [4, 4]) for y in (-12, 10, 32)])]
    if limbs == "arms":
        return [_rod(x, 20, (bottom - 60, top + 60), 36, 9) for x in (right - 38, left + 38)]
    if limbs == "thighs":
        return [_rod(left + 60, 10, (bottom - 90, top + 90), 58, 14)]
    if limbs == "foot":
        ankle = ellipsoid((left + 36, 0, middle), (34, 90, 30))
        return [(ankle, [ellipsoid((left + 36, 30, middle), (16, 36, 14))])]
    if limbs == "fingers":
        return [_rod(left + 12, y, (middle - 38, middle + 38), 9.5, 3.5) for y in (-30.0, 0.0, 30.0)]
    return []


def _rod(x: float, y: float, ends: tuple[float, float], radius: float, bone: float) -> tuple[Shape, list[Shape]]:
    low, high = ends
    return tube([(x, y, low), (x, y, high)], [radius, radius]), [tube([(x, y, low), (x, y, high)], [bone, bone])]


def _cover(canvas: Canvas, distance: Array, bones: list[Shape], points: Points) -> None:
    """Skin, fat, muscle and bone of a limb."""
    thin = float(-distance.min()) < 15
    fat_mm, muscle_mm = (1.5, 2.5) if thin else (2.0, 7.0)
    for tissue, depth in (("skin", 0.0), ("fat", fat_mm), ("muscle", muscle_mm)):
        canvas.cover(canvas.everywhere, tissue, canvas.inside(distance + np.float32(depth)))
    if bones:
        bone = union(*bones).distance(points) if len(bones) > 1 else bones[0].distance(points)
        canvas.cover(canvas.everywhere, "cortical bone", canvas.inside(bone))
        canvas.cover(canvas.everywhere, "yellow marrow", canvas.inside(bone + np.float32(2.5)))


def _with_coil(rng: np.random.Generator, mr: Array, canvas: Canvas, skin: Array, points: Points) -> tuple[Array, Mask]:
    """A coil's shell, which gives a little signal, and markers on the skin."""
    bright = float(np.percentile(mr[skin < 0], 90))
    front = points.y < float(points.y[skin < 0].mean())
    shell = canvas.inside(np.abs(skin - np.float32(22)) - np.float32(2)) * front
    markers = np.zeros_like(mr)
    on_skin = np.argwhere((np.abs(skin - 8) < 2) & front)
    for d, h, w in on_skin[rng.choice(len(on_skin), 4, replace=False)]:
        centre: Point = (float(points.x[d, h, w]), float(points.y[d, h, w]), float(points.z[d, h, w]))
        markers = np.maximum(markers, canvas.inside(ellipsoid(centre, (5, 5, 5)).distance(points)))
    added = np.maximum(np.float32(0.35 * bright) * shell, np.float32(bright) * markers)
    return np.asarray(mr + np.rint(added), dtype=np.float32), np.asarray((shell > 0.5) | (markers > 0.5))


def _with_cushion(
    rng: np.random.Generator, ct: Array, canvas: Canvas, skin: Array, points: Points
) -> tuple[Array, Mask]:
    """A plastic shell in front of the patient, a wedge of foam beside and a rail of the couch."""
    front = points.y < float(points.y[skin < 0].mean())
    shell = canvas.inside(np.abs(skin - np.float32(9)) - np.float32(1.5)) * front
    outside = canvas.inside(np.float32(canvas.voxel_mm) - skin)
    wedge = canvas.inside(box((float(points.x.min()) + 40, 60, 0), (30, 40, 200), 5).distance(points))
    edge = float(points.x.max()) - 10
    rail = canvas.inside(tube([(edge, 100, -300), (edge, 100, 300)], [6, 6]).distance(points))
    for cover, value in ((shell, 60.0 + 20 * rng.random()), (wedge, -880.0), (rail, 150.0)):
        ct = ct + cover * outside * (np.float32(value) - ct)
    return np.asarray(np.rint(ct), dtype=np.float32), np.asarray((ct > -600) & (skin > 0))
