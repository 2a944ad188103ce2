"""Whether transcranial ultrasound can use an MR: asked before anything is computed."""

from __future__ import annotations

import math

import numpy as np

from creps.errors import InputError
from creps.regions import part_of_body
from creps.volume import Volume

__all__ = ["COARSEST_MM", "check_suitable", "top_area"]

COARSEST_MM = 1.0
"""Voxels of the maps are no longer than this: BabelBrain 0.8.1 asks for a T1 of 1 mm."""

COARSEST_MR_MM = 2.0
"""Nor are those of the MR longer than this, whatever grid is asked for: a skull is 3 to 12 mm thick."""

ROUNDING = 1.005
"""Headers are rounded."""

CUT_MM = 3.0
"""The vertex is cut if more than this is missing above it: most of the scalp."""

VERTEX_MM = 80.0
"""Radius of the curve of a flat vertex; that of most heads is smaller."""

STUB_MM = 30.0
"""A cut is looked for this far below the topmost voxel: noise or an artefact may stand on it."""


def check_suitable(mr: Volume, body: Volume, target: Volume, region: str, name: str) -> None:
    """Refuse what gives no maps of a skull.

    Args:
        mr: The MR as it was given.
        body: The patient as found in it, 1 inside, on the model's grid.
        target: Grid of the sCT; its array is not read.
        region: Of the model.
        name: Of the MR.

    Raises:
        InputError: the region has no skull, the voxels are too long, or the field of view cuts the vertex.
    """
    if part_of_body(region) != "head":
        raise InputError(
            f"The model is of the region '{region}', which has no skull; {name} cannot give maps for ultrasound.",
            "Use a model of the head, such as the shipped model head.",
        )
    if max(mr.spacing_mm) > COARSEST_MR_MM * ROUNDING:
        raise InputError(
            f"The spacing of {name} is too coarse for transcranial ultrasound: its voxels are {max(mr.spacing_mm):.3g}"
            f" mm long, and {COARSEST_MR_MM:g} mm is the limit.",
            "Give a T1 with voxels of 1 mm.",
        )
    if max(target.spacing_mm) > COARSEST_MM * ROUNDING:
        raise InputError(
            f"The spacing of the sCT of {name} is too coarse for transcranial ultrasound: its voxels are"
            f" {max(target.spacing_mm):.3g} mm long, and {COARSEST_MM:g} mm is the limit.",
            "Give a T1 with voxels of 1 mm, or add --grid planning --spacing 1,1,1.",
        )
    area, limit = top_area(body)
    if area > limit:
        raise InputError(
            f"The field of view of {name} cuts the vertex: the head still has {area:.0f} cm² at its top, and a whole"
            f" one has less than {limit:.0f} cm².",
            "Give an MR that shows the head up to the air above it.",
        )


def top_area(body: Volume) -> tuple[float, float]:
    """Area in cm² at which a head ends at its top, and the most that a whole head has there.

    The head ends where the area falls most from one plane to the next, within `STUB_MM` of the topmost. The limit is
    the area of a sphere of `VERTEX_MM` as far below its top as a plane is thick, and `CUT_MM` deeper.

    Args:
        body: The patient, above 0 inside, on any grid.

    Examples:
        >>> up, across = np.mgrid[0:60, -45:46], np.hypot(*np.mgrid[-45:46, -45:46])
        >>> ball = np.hypot(across, np.arange(60)[:, None, None]) < 40
        >>> [round(cm2) for cm2 in top_area(Volume(ball, (2.0, 2.0, 2.0)))]
        [10, 24]
        >>> [round(cm2) for cm2 in top_area(Volume(ball[:35], (2.0, 2.0, 2.0)))]
        [56, 24]
    """
    upright = body.reoriented()
    planes = (upright.array > 0.5).sum(axis=(1, 2))
    d, h, w = upright.spacing_mm
    top = planes[: planes.nonzero()[0][-1] + 1][-max(1, round(STUB_MM / d)) :] if planes.any() else planes[:1]
    falls = top - np.append(top[1:], 0)
    depth = d + CUT_MM
    limit = math.pi * (2 * VERTEX_MM * depth - depth**2) / 100
    return float(falls.max()) * h * w / 100, limit
