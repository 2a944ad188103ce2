"""A digital pelvis: one person's anatomy, from the lower abdomen to the upper thighs.

Anatomical coordinates are in mm with x to the left, y to posterior and z to superior; the origin
is midway between the centres of the femoral heads. A person is this atlas, drawn by the other
modules of the folder, seen through individual proportions, a smooth random deformation and a
posture. The organs are painted between the fat that fills the body and a frame of muscles,
vessels and bones: they may fill and move from day to day, the frame stays to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from creps.phantom.painting.body import Body, Day, Subject, unposed
from creps.phantom.painting.canvas import Canvas
from creps.phantom.painting.fields import Axes, HalfBox, smooth_field
from creps.phantom.painting.shapes import Points
from creps.phantom.pelvis.bones import hip_bone, paint_femora, paint_hip_bones
from creps.phantom.pelvis.bowel import paint_bowel
from creps.phantom.pelvis.muscles import paint_muscles, paint_vessels
from creps.phantom.pelvis.organs import draw_pelvis_day, paint_organs
from creps.phantom.pelvis.person import (
    PelvisPerson,
    PelvisPosture,
    draw_pelvis_person,
    draw_pelvis_posture,
)
from creps.phantom.pelvis.skin import draw_outlines, paint_skin
from creps.phantom.pelvis.spine import paint_spine
from creps.phantom.region import FieldOfView, Region
from creps.phantom.scanners.couch import flat_couch
from creps.phantom.scanners.ct import PELVIS_CT_SCANNERS
from creps.phantom.scanners.mr import PELVIS_MR_CENTRES

__all__ = ["PELVIS", "PelvisSubject", "grow_pelvis"]

_HALF_BOX_MM: HalfBox = (176.0, 190.0, 236.0)
_DEFORMATION_MM = ((95.0, 2.6), (30.0, 0.7))
"""Scale and standard deviation of the smooth random deformation."""


@dataclass(frozen=True)
class PelvisSubject:
    """A pelvis on a table.

    Attributes:
        person: Proportions.
        posture: How it lies.
    """

    person: PelvisPerson
    posture: PelvisPosture

    def grow(self, rng: np.random.Generator, axes: Axes) -> Day:
        """Grow the anatomy; bladder and rectum are drawn for each day."""
        return grow_pelvis(rng, axes, self.person, self.posture)

    def widened(self, rng: np.random.Generator) -> PelvisSubject:
        """The same pelvis with proportions drawn from all that patients have."""
        return replace(self, person=self.person.widened(rng))

    def as_dict(self) -> dict[str, Any]:
        """For a record."""
        return self.person.as_dict() | self.posture.as_dict()


LEAST_CHANGE = 0.25
"""The bladder differs by at least this share between two sittings, so that one sees it."""


def grow_pelvis(rng: np.random.Generator, axes: Axes, person: PelvisPerson, posture: PelvisPosture) -> Day:
    """Grow one person's anatomy on a grid.

    Args:
        rng: Source of everything individual that `person` does not say.
        axes: Coordinates (mm) of the voxel centres along D (z), H (y), W (x).
        person: Proportions.
        posture: How the pelvis lies.

    Returns:
        The body, to be filled for a day.
    """
    spacing = [float(axis[1] - axis[0]) for axis in axes]
    points = anatomical_points(rng, axes, person, posture)
    base = Canvas(axes, points, float(np.cbrt(np.prod(spacing))), half_box_mm=_HALF_BOX_MM)
    outlines = draw_outlines(rng, base, person, posture)
    paint_skin(base, outlines, person)
    paint_bowel(rng, base, person, outlines.cavity)
    frame = replace(base, layers=[])
    paint_muscles(rng, frame, person, outlines)
    paint_vessels(frame)
    bone = hip_bone(person)
    paint_spine(frame, person, bone)
    paint_hip_bones(frame, person, bone)
    paint_femora(frame, person, posture)

    bladders_ml: list[float] = []

    def on_day(day_rng: np.random.Generator) -> Body:
        day = draw_pelvis_day(day_rng)
        while any(abs(day.bladder_ml / ml - 1) < LEAST_CHANGE for ml in bladders_ml):
            day = draw_pelvis_day(day_rng)
        bladders_ml.append(day.bladder_ml)
        organs = replace(base, layers=[])
        paint_organs(organs, person, day)
        canvas = replace(base, layers=[*base.layers, *organs.layers, *frame.layers])
        return Body(canvas, outlines.skin, day.as_dict())

    return on_day


def anatomical_points(rng: np.random.Generator, axes: Axes, person: PelvisPerson, posture: PelvisPosture) -> Points:
    """Where in the atlas each voxel lies: posture, proportions and deformation undone.

    Args:
        rng: Source of the deformation.
        axes: Coordinates (mm) along D (z), H (y), W (x).
        person: Proportions.
        posture: Rotation and shift.

    Returns:
        Atlas coordinates, each (D, H, W) in mm.
    """
    points = unposed(axes, posture.rotation_deg, posture.shift_mm, person.scale)
    for part in (points.x, points.y, points.z):
        for length, strength in _DEFORMATION_MM:
            part += smooth_field(rng, axes, length, _HALF_BOX_MM) * np.float32(strength)
    return points


def _draw_pelvis(person_rng: np.random.Generator, posture_rng: np.random.Generator, treatment_couch: bool) -> Subject:
    del treatment_couch  # the MR of a treatment is made on a flat table top as well
    return PelvisSubject(draw_pelvis_person(person_rng), draw_pelvis_posture(posture_rng))


PELVIS = Region(
    name="pelvis",
    draw=_draw_pelvis,
    mr_view=FieldOfView(((-112.0, 128.0), (-196.0, 156.0), (-232.0, 232.0)), ((-4, 10), (-6, 10)), (0.0, 10.0, 0.0)),
    ct_view=FieldOfView(
        ((-128.0, 150.0), (-200.0, 192.0), (-240.0, 240.0)), ((-4, 12), (-6, 10)), (0.0, -130.0, -640.0)
    ),
    mr_centres=PELVIS_MR_CENTRES,
    ct_scanners=PELVIS_CT_SCANNERS,
    couch=flat_couch,
    changes_daily=True,
)
"""The pelvis, from the fourth lumbar vertebra to the upper thighs."""
