"""A digital head: one person's anatomy, from the vertex to the middle of the neck.

Anatomical coordinates are in mm with x to the left, y to posterior and z to superior; the origin
is near the anterior commissure of an average brain. A person is this atlas, drawn by the other
modules of the folder, seen through individual proportions, a smooth random deformation and a
posture.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from creps.phantom.draws import vary
from creps.phantom.head.brain import paint_brain
from creps.phantom.head.face import paint_airways, paint_face_bones, paint_orbits
from creps.phantom.head.neck import paint_neck
from creps.phantom.head.person import Person
from creps.phantom.head.skin import paint_soft_tissue, skin_distance
from creps.phantom.head.skull import hull, paint_skull, skull_thickness
from creps.phantom.painting.body import Body, Day, Subject, unposed
from creps.phantom.painting.canvas import Canvas
from creps.phantom.painting.fields import Axes, smooth_field, smoothstep
from creps.phantom.painting.shapes import Points
from creps.phantom.region import FieldOfView, Region
from creps.phantom.scanners.couch import head_couch
from creps.phantom.scanners.ct import CT_SCANNERS
from creps.phantom.scanners.mr import MR_CENTRES

__all__ = ["HEAD", "HeadSubject", "Posture", "draw_person", "draw_posture", "grow_head"]

FLEXION_PIVOT_Z_MM = -48.0


@dataclass(frozen=True)
class Posture:
    """How the head lies.

    Attributes:
        rotation_deg: Turns about x (nod, chin down positive), y (tilt) and z (look aside).
        shift_mm: Displacement (x, y, z).
        flexion_deg: Neck against head, positive with the neck bent forward of the head's axis.
    """

    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    flexion_deg: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """For a record."""
        return asdict(self)


@dataclass(frozen=True)
class HeadSubject:
    """A head on a table.

    Attributes:
        person: Proportions.
        posture: How the head lies.
    """

    person: Person
    posture: Posture

    def grow(self, rng: np.random.Generator, axes: Axes) -> Day:
        """Grow the anatomy; nothing in a head changes from day to day."""
        body = grow_head(rng, axes, self.person, self.posture)
        return lambda _: body

    def widened(self, rng: np.random.Generator) -> HeadSubject:
        """The same head with proportions drawn from all that patients have."""
        return replace(self, person=self.person.widened(rng))

    def as_dict(self) -> dict[str, Any]:
        """For a record."""
        return self.person.as_dict() | self.posture.as_dict()


def draw_person(rng: np.random.Generator) -> Person:
    """Random proportions of one adult."""
    size = vary(rng, 1.0, 0.025)
    return Person(
        scale=(size * vary(rng, 1.0, 0.025), size * vary(rng, 1.0, 0.025), size * vary(rng, 1.0, 0.02)),
        face_height=vary(rng, 1.0, 0.035),
        face_width=vary(rng, 1.0, 0.035),
        jaw_width=vary(rng, 1.0, 0.05),
        chin_mm=vary(rng, 0.0, 2.5),
        skull_mm=vary(rng, 6.3, 0.9),
        table_mm=vary(rng, 1.75, 0.2),
        scalp_mm=vary(rng, 5.2, 1.0),
        fat_mm=vary(rng, 3.2, 1.2),
        muscle_fat=vary(rng, 0.5, 0.25),
        atrophy_mm=vary(rng, 1.5, 0.5),
        ventricles=vary(rng, 1.15, 0.2),
        gyri_mm=vary(rng, 4.2, 0.25),
        frontal_sinus=vary(rng, 0.85, 0.3),
        maxillary_sinus=vary(rng, 1.0, 0.1),
        mastoid_air=vary(rng, 0.6, 0.2),
        nose=vary(rng, 1.0, 0.1),
        nose_asymmetry_mm=vary(rng, 0.0, 2.0),
        ears=vary(rng, 1.0, 0.08),
        neck=vary(rng, 1.0, 0.06),
        mouth_gap_mm=abs(vary(rng, 0.5, 1.0)),
    )


def draw_posture(rng: np.random.Generator, *, treatment_couch: bool) -> Posture:
    """Random posture: a diagnostic head coil, or a flat treatment couch with the chin raised."""
    nod, flexion = (-5.0, -5.0) if treatment_couch else (3.0, 4.0)
    turn = 1.6 if treatment_couch else 3.0
    values = np.clip(rng.standard_normal(7), -2, 2)
    return Posture(
        rotation_deg=(nod + 3.0 * float(values[0]), 0.7 * turn * float(values[1]), turn * float(values[2])),
        shift_mm=(2.5 * float(values[3]), 2.0 * float(values[4]), 3.0 * float(values[5])),
        flexion_deg=flexion + 3.0 * float(values[6]),
    )


def grow_head(rng: np.random.Generator, axes: Axes, person: Person, posture: Posture) -> Body:
    """Grow one person's anatomy on a grid.

    Args:
        rng: Source of everything individual that `person` does not say.
        axes: Coordinates (mm) of the voxel centres along D (z), H (y), W (x).
        person: Proportions.
        posture: How the head lies.

    Returns:
        The tissues; the same arguments on another grid give the same anatomy.
    """
    spacing = [float(axis[1] - axis[0]) for axis in axes]
    points = anatomical_points(rng, axes, person, posture)
    canvas = Canvas(axes, points, float(np.cbrt(np.prod(spacing))))
    hull_mm = hull().distance(points)
    thickness = skull_thickness(rng, canvas, person)
    skin = skin_distance(rng, canvas, person, hull_mm, thickness)
    paint_soft_tissue(rng, canvas, person, skin)
    canvas.depth_mm = -skin
    paint_neck(rng, canvas, person)
    paint_skull(rng, canvas, person, hull_mm, thickness)
    paint_face_bones(rng, canvas, person)
    paint_brain(rng, canvas, person, hull_mm)
    paint_orbits(canvas)
    paint_airways(rng, canvas, person)
    return Body(canvas, skin)


def anatomical_points(rng: np.random.Generator, axes: Axes, person: Person, posture: Posture) -> Points:
    """Where in the atlas each voxel lies: posture, proportions and deformation undone.

    Args:
        rng: Source of the deformation.
        axes: Coordinates (mm) along D (z), H (y), W (x).
        person: Proportions.
        posture: Rotation, shift and flexion.

    Returns:
        Atlas coordinates, each (D, H, W) in mm.
    """
    points = unposed(axes, posture.rotation_deg, posture.shift_mm, person.scale)
    x, y, z = points.x, points.y, points.z
    for part in (x, y, z):
        part += smooth_field(rng, axes, 55.0) * np.float32(2.2)
        part += smooth_field(rng, axes, 24.0) * np.float32(0.7)
    below = np.maximum(FLEXION_PIVOT_Z_MM - z, 0)
    y -= np.float32(np.tan(np.deg2rad(-posture.flexion_deg))) * below * smoothstep(y, -70.0, -5.0)
    face = smoothstep(-z, 5.0, 45.0) * smoothstep(-y, -30.0, 20.0)
    x /= 1 + np.float32(person.face_width - 1) * face
    z += (np.float32(1 / person.face_height) - 1) * np.minimum(z + 20, 0) * smoothstep(-y, -30.0, 20.0)
    return Points(x, y, z)


def _draw_head(person_rng: np.random.Generator, posture_rng: np.random.Generator, treatment_couch: bool) -> Subject:
    return HeadSubject(draw_person(person_rng), draw_posture(posture_rng, treatment_couch=treatment_couch))


HEAD = Region(
    name="head",
    draw=_draw_head,
    mr_view=FieldOfView(((-134.0, 96.0), (-124.0, 112.0), (-97.0, 97.0)), ((-4, 4), (-2, 4)), (0.0, 18.0, 6.0)),
    ct_view=FieldOfView(((-134.0, 99.0), (-126.0, 132.0), (-110.0, 110.0)), ((-4, 14), (-2, 4)), (0.0, -150.0, -420.0)),
    mr_centres=MR_CENTRES,
    ct_scanners=CT_SCANNERS,
    couch=head_couch,
)
"""The head, from the vertex to the middle of the neck."""
