"""A digital head: one person's anatomy, from the vertex to the middle of the neck.

Anatomical coordinates are in mm with x to the left, y to posterior and z to superior; the origin
is near the anterior commissure of an average brain. A person is this atlas, drawn by
`head_skull`, `head_brain`, `head_face` and `head_neck`, seen through individual proportions, a
smooth random deformation and a posture.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from creps.phantom.canvas import Canvas
from creps.phantom.fields import Axes, smooth_field, smoothstep
from creps.phantom.head_brain import paint_brain
from creps.phantom.head_face import paint_airways, paint_face_bones, paint_orbits
from creps.phantom.head_neck import paint_neck
from creps.phantom.head_skin import paint_soft_tissue, skin_distance
from creps.phantom.head_skull import hull, paint_skull, skull_thickness
from creps.phantom.person import Person
from creps.phantom.shapes import Points
from creps.volume import Array

__all__ = ["Head", "Posture", "draw_person", "draw_posture", "grow_head"]

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


@dataclass(frozen=True, eq=False)
class Head:
    """One person's tissues on a grid.

    Attributes:
        canvas: The tissue layers.
        skin_mm: (D, H, W) signed distance to the skin, negative inside; cavities count as inside.
    """

    canvas: Canvas
    skin_mm: Array

    @property
    def mask(self) -> Array:
        """(D, H, W) body mask, 1 inside the skin (airways included) and 0 outside."""
        return np.asarray(self.skin_mm < 0, dtype=np.float32)


def draw_person(rng: np.random.Generator) -> Person:
    """Random proportions of one adult."""

    def vary(mean: float, sd: float, limit: float = 2.0) -> float:
        return float(mean + sd * np.clip(rng.standard_normal(), -limit, limit))

    size = vary(1.0, 0.025)
    return Person(
        scale=(size * vary(1.0, 0.025), size * vary(1.0, 0.025), size * vary(1.0, 0.02)),
        face_height=vary(1.0, 0.035),
        face_width=vary(1.0, 0.035),
        jaw_width=vary(1.0, 0.05),
        chin_mm=vary(0.0, 2.5),
        skull_mm=vary(6.3, 0.9),
        table_mm=vary(1.75, 0.2),
        scalp_mm=vary(5.2, 1.0),
        fat_mm=vary(3.2, 1.2),
        muscle_fat=vary(0.5, 0.25),
        atrophy_mm=vary(1.5, 0.5),
        ventricles=vary(1.15, 0.2),
        gyri_mm=vary(4.2, 0.25),
        frontal_sinus=vary(0.85, 0.3),
        maxillary_sinus=vary(1.0, 0.1),
        mastoid_air=vary(0.6, 0.2),
        nose=vary(1.0, 0.1),
        nose_asymmetry_mm=vary(0.0, 2.0),
        ears=vary(1.0, 0.08),
        neck=vary(1.0, 0.06),
        mouth_gap_mm=abs(vary(0.5, 1.0)),
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


def grow_head(rng: np.random.Generator, axes: Axes, person: Person, posture: Posture) -> Head:
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
    return Head(canvas, skin)


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
    shift = posture.shift_mm
    patient = (
        (axes[2] - shift[0])[None, None, :],
        (axes[1] - shift[1])[None, :, None],
        (axes[0] - shift[2])[:, None, None],
    )
    inverse = _rotation(posture.rotation_deg).T.astype(np.float32)
    turned = [sum(inverse[k, j] * patient[j].astype(np.float32) for j in range(3)) for k in range(3)]
    x, y, z = (np.asarray(part, dtype=np.float32) for part in turned)
    for part, scale in zip((x, y, z), person.scale, strict=True):
        part /= np.float32(scale)
    for part in (x, y, z):
        part += smooth_field(rng, axes, 55.0) * np.float32(2.2)
        part += smooth_field(rng, axes, 24.0) * np.float32(0.7)
    below = np.maximum(FLEXION_PIVOT_Z_MM - z, 0)
    y -= np.float32(np.tan(np.deg2rad(-posture.flexion_deg))) * below * smoothstep(y, -70.0, -5.0)
    face = smoothstep(-z, 5.0, 45.0) * smoothstep(-y, -30.0, 20.0)
    x /= 1 + np.float32(person.face_width - 1) * face
    z += (np.float32(1 / person.face_height) - 1) * np.minimum(z + 20, 0) * smoothstep(-y, -30.0, 20.0)
    return Points(x, y, z)


def _rotation(degrees: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    a, b, c = np.deg2rad(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)
