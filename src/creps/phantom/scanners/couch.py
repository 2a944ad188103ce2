"""What a patient lies on in a CT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from creps.phantom.painting.fields import Axes
from creps.volume import Array

__all__ = ["Couch", "CouchShape", "flat_couch", "head_couch"]


@dataclass(frozen=True, eq=False)
class CouchShape:
    """Signed distances (mm), negative inside, broadcast to (D, H, W).

    Attributes:
        top: The couch top: a skin around a light core.
        foam: A cushion or headrest on it.
    """

    top: Array
    foam: Array


Couch = Callable[[Axes, float], CouchShape]
"""Builds a couch from the voxel centres (mm) along D, H, W and the y of the body's hindmost voxel."""


def head_couch(axes: Axes, behind_mm: float) -> CouchShape:
    """A curved couch top and a headrest behind the head."""
    z, y, x = (axis.astype(np.float32) for axis in axes)
    top = behind_mm + 6.0 - 0.0011 * x[None, None, :] ** 2
    depth = y[None, :, None] - top
    couch = np.maximum(np.maximum(-depth, depth - 26), np.abs(x)[None, None, :] - 150)
    neck = np.float32(34) * np.exp(-(((z[:, None, None] + 112) / 26) ** 2))
    cup = np.sqrt(x[None, None, :] ** 2 + (y[None, :, None] - 6) ** 2) - np.float32(behind_mm + 1 - 6)
    rest = np.maximum(np.abs(cup + neck - 2.0) - 2.0, 42 - y[None, :, None] + neck)
    return CouchShape(np.asarray(couch, dtype=np.float32), np.asarray(rest, dtype=np.float32))


def flat_couch(axes: Axes, behind_mm: float) -> CouchShape:
    """A flat couch top under a thin mat, as in radiotherapy."""
    z, y, x = (axis.astype(np.float32) for axis in axes)
    depth = y[None, :, None] - np.float32(behind_mm + 7.0)
    couch = np.maximum(np.maximum(-depth, depth - 40), np.abs(x)[None, None, :] - 262) + 0 * z[:, None, None]
    mat = np.maximum(np.maximum(depth, -5.0 - depth), np.abs(x)[None, None, :] - 240) + 0 * z[:, None, None]
    return CouchShape(np.asarray(couch, dtype=np.float32), np.asarray(mat, dtype=np.float32))
