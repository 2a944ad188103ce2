"""A grown body: its tissues on a grid, and how atlas and patient coordinates meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from creps.phantom.painting.canvas import Canvas
from creps.phantom.painting.fields import Axes
from creps.phantom.painting.shapes import Point, Points
from creps.volume import Array

__all__ = ["Body", "Day", "Subject", "unposed"]


@dataclass(frozen=True, eq=False)
class Body:
    """One person's tissues on a grid.

    Attributes:
        canvas: The tissue layers.
        skin_mm: (D, H, W) signed distance to the skin, negative inside; cavities count as inside.
        day: What was drawn for the day, for a record.
    """

    canvas: Canvas
    skin_mm: Array
    day: dict[str, Any] = field(default_factory=dict)

    @property
    def mask(self) -> Array:
        """(D, H, W) body mask, 1 inside the skin (airways included) and 0 outside."""
        return np.asarray(self.skin_mm < 0, dtype=np.float32)


Day = Callable[[np.random.Generator], Body]
"""The body on one day: the generator draws what changes from day to day (bladder, rectum); the rest stays."""


class Subject(Protocol):
    """One person lying on a table, before there is a grid."""

    def grow(self, rng: np.random.Generator, axes: Axes) -> Day:
        """Grow the anatomy; the same generator state gives the same anatomy on any grid."""
        ...

    def widened(self, rng: np.random.Generator) -> Subject:
        """The same person with proportions drawn from all that patients have, not from those near the average."""
        ...

    def as_dict(self) -> dict[str, Any]:
        """For a record."""
        ...


def unposed(axes: Axes, rotation_deg: Point, shift_mm: Point, scale: Point) -> Points:
    """Where in the atlas each voxel lies, but for deformation: posture and size undone.

    Args:
        axes: Patient coordinates (mm) along D (z), H (y), W (x).
        rotation_deg: Turns of the body about x, y and z.
        shift_mm: Displacement (x, y, z).
        scale: Size along x, y, z against the atlas.

    Returns:
        Atlas coordinates, each (D, H, W) in mm.
    """
    patient = (
        (axes[2] - shift_mm[0])[None, None, :],
        (axes[1] - shift_mm[1])[None, :, None],
        (axes[0] - shift_mm[2])[:, None, None],
    )
    inverse = _rotation(rotation_deg).T.astype(np.float32)
    turned = [sum(inverse[k, j] * patient[j].astype(np.float32) for j in range(3)) for k in range(3)]
    x, y, z = (np.asarray(part, dtype=np.float32) for part in turned)
    for part, size in zip((x, y, z), scale, strict=True):
        part /= np.float32(size)
    return Points(x, y, z)


def _rotation(degrees: Point) -> npt.NDArray[np.float64]:
    a, b, c = np.deg2rad(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)
