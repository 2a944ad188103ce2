"""The images of a case on one grid, and pictures of them: planes for the first screen, thumbnails."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from creps import hu
from creps.figures import mr_window
from creps.preprocessing.target_grid import bring_onto, obliquity_degrees
from creps.report.page import png_data
from creps.report.parts import CaseParts
from creps.volume import Array, Mask, Volume

__all__ = ["CaseImages", "Plane", "Shown", "png_uri"]

PLANES = ("axial", "coronal", "sagittal")

MARGIN_MM = 8.0
"""Around the body."""

BODY_ABOVE_HU = -500.0

HEIGHT = 300
"""Pixels of the tallest plane."""

THUMBNAIL = 150
"""Pixels of a thumbnail's longer side."""

CT_WINDOW_HU = (-1000.0, 1000.0)

DIFFERENCE_HU = 300.0
"""The ends of the scale of differences."""

UNCERTAINTY_HU = 300.0
"""The upper end of the scale of uncertainty."""


@dataclass(frozen=True)
class Shown:
    """One image of the case.

    Attributes:
        key: ``mr``, ``sct``, ``ct``, ``difference`` or ``uncertainty``.
        name: What the page calls it.
        unit: Of its values.
        volume: On the grid of the shown box.
        window: Values at the ends of the grey or colour scale.
        colours: A colour map of matplotlib.
    """

    key: str
    name: str
    unit: str
    volume: Volume
    window: tuple[float, float]
    colours: str = "gray"


@dataclass(frozen=True)
class Plane:
    """One plane of one image, as a picture.

    Attributes:
        plane: axial, coronal or sagittal.
        name: Of the image.
        uri: The PNG as a data URI.
        alt: What a screen reader says.
    """

    plane: str
    name: str
    uri: str
    alt: str


class CaseImages:
    """The images of a case on one grid: the sCT's, cut to the body.

    Args:
        parts: The parts of the case.
    """

    def __init__(self, parts: CaseParts) -> None:
        self.parts = parts
        upright = parts.sct.reoriented()
        self.box = _body_box(upright)
        self.sct = _cut(upright, self.box)

    @cached_property
    def shown(self) -> list[Shown]:
        """MR, sCT, CT, their difference and the uncertainty, as far as they are there."""
        parts, found = self.parts, []
        if parts.mr is not None:
            mr = self._brought(parts.mr, 0.0)
            found.append(Shown("mr", "MR", "scanner units", mr, mr_window(mr)))
        found.append(Shown("sct", "sCT", "HU", self.sct, CT_WINDOW_HU))
        if parts.ct is not None:
            ct = self._brought(parts.ct, hu.AIR)
            found.append(Shown("ct", "CT", "HU", ct, CT_WINDOW_HU))
            difference = self.sct.with_array(self.sct.array - ct.array)
            ends = (-DIFFERENCE_HU, DIFFERENCE_HU)
            found.append(Shown("difference", "sCT − CT", "HU", difference, ends, "PuOr_r"))
        if parts.uncertainty is not None:
            half = self._brought(parts.uncertainty, 0.0)
            found.append(Shown("uncertainty", "uncertainty", "HU", half, (0.0, UNCERTAINTY_HU), "cividis"))
        return found

    def named(self, key: str) -> Shown | None:
        """The image of that key, if it is there."""
        return next((one for one in self.shown if one.key == key), None)

    @cached_property
    def inside(self) -> Mask:
        """The body in the shown box: what is denser than air, with the air within its axial slices."""
        from scipy import ndimage

        dense = self.sct.array > BODY_ABOVE_HU
        return np.stack([ndimage.binary_fill_holes(plane) for plane in dense])

    @cached_property
    def centre(self) -> tuple[int, int, int]:
        """The voxel that the first screen shows: the middle of the body."""
        inside = self.sct.array > BODY_ABOVE_HU
        if not inside.any():
            d, h, w = (n // 2 for n in self.sct.shape)
            return d, h, w
        d, h, w = (
            round(float(np.average(np.arange(n), weights=inside.sum(axis=tuple({0, 1, 2} - {axis})))))
            for axis, n in enumerate(self.sct.shape)
        )
        return d, h, w

    def planes(self) -> list[list[Plane]]:
        """For each plane through the centre, all images."""
        scale = HEIGHT / max(self.sct.extent_mm)
        return [
            [
                Plane(
                    name,
                    one.name,
                    png_uri(_picture(one, axis, self.centre[axis], scale)),
                    f"{one.name}, {name} slice through the middle of the body",
                )
                for one in self.shown
            ]
            for axis, name in enumerate(PLANES)
        ]

    def voxel_at(self, position_mm: tuple[float, float, float]) -> tuple[int, int, int]:
        """The voxel of the shown box nearest to a patient position."""
        return self.sct.nearest_voxel(position_mm)

    def thumbnail(self, position_mm: tuple[float, float, float], key: str = "sct") -> str | None:
        """An axial slice through a position, with a ring around it; None if there is no such image."""
        from PIL import Image, ImageDraw

        one = self.named(key)
        if one is None:
            return None
        d, h, w = self.voxel_at(position_mm)
        scale = THUMBNAIL / max(self.sct.extent_mm[1:])
        image = Image.fromarray(_picture(one, 0, d, scale))
        x, y = (w + 0.5) * self.sct.spacing_mm[2] * scale, (h + 0.5) * self.sct.spacing_mm[1] * scale
        ImageDraw.Draw(image).ellipse((x - 9, y - 9, x + 9, y + 9), outline="#ffb000", width=2)
        return png_uri(np.asarray(image))

    @property
    def oblique_degrees(self) -> float:
        """Angle between the axes of the sCT and those of the patient."""
        return obliquity_degrees(self.sct)

    def _brought(self, volume: Volume, outside: float) -> Volume:
        upright = self.parts.sct.reoriented()
        if volume.same_grid_as(self.parts.sct):
            return _cut(upright.with_array(volume.reoriented().array), self.box)
        return bring_onto(volume, self.sct, outside)


def png_uri(picture: npt.NDArray[np.uint8]) -> str:
    """A picture, (rows, columns) or (rows, columns, 3), as a data URI."""
    from PIL import Image

    written = io.BytesIO()
    Image.fromarray(picture).save(written, format="PNG", optimize=True)
    return png_data(written.getvalue())


def _picture(one: Shown, axis: int, index: int, scale: float) -> npt.NDArray[np.uint8]:
    """A slice at `scale` pixels per mm: axial with anterior up, the others with superior up."""
    from PIL import Image

    plane = np.take(one.volume.array, index, axis=axis)
    plane = plane if axis == 0 else plane[::-1]
    height, width = (e * scale for n, e in enumerate(one.volume.extent_mm) if n != axis)
    image = Image.fromarray(_coloured(plane, one.window, one.colours))
    size = max(1, round(width)), max(1, round(height))
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR))


def _coloured(plane: Array, window: tuple[float, float], colours: str) -> npt.NDArray[np.uint8]:
    low, high = window
    level = np.clip((plane - low) / (high - low), 0, 1)
    if colours == "gray":
        return (255 * level).astype(np.uint8)
    import matplotlib as mpl

    return np.asarray(mpl.colormaps[colours](level, bytes=True))[..., :3].copy()


def _body_box(upright: Volume) -> tuple[slice, slice, slice]:
    """The box around what is denser than air, with a margin; everything if nothing is."""
    inside = upright.array > BODY_ABOVE_HU
    if not inside.any():
        return slice(None), slice(None), slice(None)
    found = []
    for axis, (count, spacing) in enumerate(zip(upright.shape, upright.spacing_mm, strict=True)):
        where = np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis})))
        margin = math.ceil(MARGIN_MM / spacing)
        found.append(slice(max(0, int(where[0]) - margin), min(count, int(where[-1]) + 1 + margin)))
    d, h, w = found
    return d, h, w


def _cut(volume: Volume, box: tuple[slice, slice, slice]) -> Volume:
    start = [one.start or 0 for one in box]
    x, y, z = volume.to_patient_mm(start).tolist()
    return Volume(volume.array[box], volume.spacing_mm, (x, y, z), volume.direction)
