"""Where the slices of a DICOM series lie, and whether they make one regular stack.

Nothing is guessed: a stack whose spacing is not the same everywhere is refused, not averaged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from creps.errors import InputError
from creps.io.dicom.read.elements import floats, text, whole, words
from creps.io.dicom.read.faults import no_valid

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["SliceGeometry", "StackGeometry", "stack_geometry"]

POSITION_TOLERANCE_MM = 0.1
"""A slice may lie this far from its place in a perfectly even stack (0.05 mm of jitter is common), but not
further than a tenth of the slice distance."""

PARALLEL_TOLERANCE = 1e-3
"""Direction cosines of the slices may differ by this much (rounding)."""

SPACING_TOLERANCE_MM = 1e-3
"""Pixel spacings of the slices may differ by this much (rounding)."""

SHEAR_TOLERANCE = 2e-3
"""Sideways shift per mm along the normal that rounding explains (0.1 degree); a tilted gantry shifts more."""

MARKS = (
    "StackID", "EffectiveEchoTime", "EchoTime", "DiffusionBValue", "TemporalPositionIndex",
    "TemporalPositionIdentifier", "InversionTime", "FrameType", "ImageType", "TriggerTime", "AcquisitionNumber",
)  # fmt: skip
"""Attributes in which slices at one position may differ, the likeliest first."""

MARKS_SHOWN, VALUES_SHOWN = 2, 4

REMEDY_EXPORT = "Export the whole series again."
REMEDY_SPLIT = (
    "Export or copy each stack, echo, b-value, phase or repetition as a series of its own, in its own folder."
)
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SliceGeometry:
    """One slice.

    Attributes:
        position_mm: Patient (x, y, z) of the first pixel's centre.
        row: Patient direction in which the column index grows.
        column: Patient direction in which the row index grows.
        spacing_mm: Distance of rows, distance of columns.
        shape: Rows, columns.
        frame: FrameOfReferenceUID, or an empty string.
        marks: Those of `MARKS` that the header has.
    """

    position_mm: Vector
    row: Vector
    column: Vector
    spacing_mm: tuple[float, float]
    shape: tuple[int, int]
    frame: str
    marks: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: Dataset, label: str) -> SliceGeometry:
        """Read it from a data set, or from what an enhanced object says of a frame.

        Raises:
            InputError: position, orientation, spacing or size is absent or makes no sense.
        """
        position = _numbers(dataset, "ImagePositionPatient", 3, label)
        orientation = _numbers(dataset, "ImageOrientationPatient", 6, label)
        spacing = _numbers(dataset, "PixelSpacing", 2, label)
        rows, columns = whole(dataset, "Rows", 0) or 0, whole(dataset, "Columns", 0) or 0
        row, column = orientation[:3], orientation[3:]
        lengths = np.array([np.linalg.norm(row), np.linalg.norm(column)])
        if np.abs(lengths - 1).max() > 1e-2 or abs(float(row @ column)) > 1e-2:
            raise InputError(f"{label} has an orientation whose axes are not at right angles.", REMEDY_EXPORT)
        if spacing.min() <= 0 or min(rows, columns) < 1:
            raise InputError(f"{label} has a pixel spacing or size that is not positive.", REMEDY_EXPORT)
        return cls(
            position_mm=position,
            row=row,
            column=column,
            spacing_mm=(float(spacing[0]), float(spacing[1])),
            shape=(rows, columns),
            frame=text(dataset, "FrameOfReferenceUID"),
            marks={name: "\\".join(words(dataset, name)) for name in MARKS if name in dataset},
        )


@dataclass(frozen=True)
class StackGeometry:
    """A regular stack of slices.

    Attributes:
        order: Index of each slice in the list that was given, first to last along the normal.
        plane_shape: Rows, columns.
        spacing_mm: Along D, H, W.
        origin_mm: Patient (x, y, z) of the centre of voxel (0, 0, 0).
        direction: (3, 3), see `Volume`.
    """

    order: tuple[int, ...]
    plane_shape: tuple[int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    direction: Vector


def stack_geometry(slices: Sequence[SliceGeometry], label: str) -> StackGeometry:
    """The stack that the slices make, whatever their order.

    Raises:
        InputError: they make no regular, orthogonal stack; `label` and the positions are named.
    """
    if len(slices) < 2:
        raise InputError(f"{label} has {len(slices)} slice, which is not a volume.", "Give the whole stack of slices.")
    _check_alike(slices, label)
    direction = _direction(slices[0])
    positions = np.stack([s.position_mm for s in slices])
    order = np.argsort(positions @ direction[:, 0], kind="stable")
    along = (positions @ direction[:, 0])[order]
    _check_doubled(along, [slices[i] for i in order], label)
    _check_gaps(along, label)
    offsets = positions[order] - positions[order[0]]
    _check_shear(offsets, direction[:, 0], label)
    x, y, z = positions[order[0]].tolist()
    distance = float((along[-1] - along[0]) / (len(slices) - 1))
    return StackGeometry(
        order=tuple(int(i) for i in order),
        plane_shape=slices[0].shape,
        spacing_mm=(distance, *slices[0].spacing_mm),
        origin_mm=(x, y, z),
        direction=direction,
    )


def _direction(first: SliceGeometry) -> Vector:
    """Columns: normal, direction of rows, direction of columns; made exactly orthonormal."""
    row = first.row / np.linalg.norm(first.row)
    column = first.column - (first.column @ row) * row
    column /= np.linalg.norm(column)
    return np.stack([np.cross(row, column), column, row], axis=1)


def _check_alike(slices: Sequence[SliceGeometry], label: str) -> None:
    first = slices[0]
    shapes = sorted({s.shape for s in slices})
    if len(shapes) > 1:
        sizes = ", ".join(f"{rows} x {columns}" for rows, columns in shapes)
        raise InputError(f"{label} mixes slices of different size ({sizes}).", REMEDY_SPLIT)
    turned = [float(np.abs(np.concatenate([s.row - first.row, s.column - first.column])).max()) for s in slices]
    if max(turned) > PARALLEL_TOLERANCE:
        differ = _differences([(first, slices[turned.index(max(turned))])])
        raise InputError(f"{label} mixes slices of different orientation{differ}.", REMEDY_SPLIT)
    spacings = np.array([s.spacing_mm for s in slices])
    if np.ptp(spacings, axis=0).max() > SPACING_TOLERANCE_MM:
        low, high = spacings.min(), spacings.max()
        raise InputError(f"{label} mixes slices of different pixel spacing ({low:g} to {high:g} mm).", REMEDY_SPLIT)
    if len({s.frame for s in slices}) > 1:
        raise InputError(f"{label} mixes frames of reference.", REMEDY_SPLIT)


def _check_doubled(along: Vector, slices: Sequence[SliceGeometry], label: str) -> None:
    """Refuse more than one slice at a position; `along` ascends, in mm along the normal."""
    gaps = np.diff(along)
    apart = gaps[gaps > POSITION_TOLERANCE_MM / 2]
    least = min(POSITION_TOLERANCE_MM / 2, 0.2 * float(np.median(apart))) if apart.size else np.inf
    doubled = np.flatnonzero(gaps <= least)
    if doubled.size:
        places = ", ".join(list(dict.fromkeys(f"{along[i]:.2f}" for i in doubled))[:5])
        pairs = [(slices[i], slices[i + 1]) for i in doubled.tolist()]
        raise InputError(
            f"{label} has more than one slice at {places} mm along its normal{_differences(pairs)}.", REMEDY_SPLIT
        )


def _differences(pairs: Sequence[tuple[SliceGeometry, SliceGeometry]]) -> str:
    """What tells the slices of the pairs apart, if their headers say so."""
    found = []
    for name in MARKS:
        if any(one.marks.get(name) != other.marks.get(name) for one, other in pairs):
            values = list(dict.fromkeys(one.marks.get(name, "none") for pair in pairs for one in pair))
            more = ", ..." * (len(values) > VALUES_SHOWN)
            found.append(f"{name} ({', '.join(values[:VALUES_SHOWN])}{more})")
    return f"; they differ in {' and '.join(found[:MARKS_SHOWN])}" if found else ""


def _check_gaps(along: Vector, label: str) -> None:
    """Refuse missing and unevenly spaced slices; `along` ascends, in mm along the normal."""
    gaps = np.diff(along)
    usual = float(np.median(gaps))
    allowed = min(POSITION_TOLERANCE_MM, 0.1 * usual)
    steps = np.rint(gaps / usual)
    wide = np.flatnonzero(steps > 1)
    if wide.size and (np.abs(gaps - steps * usual) <= 2 * allowed * steps).all():
        places = ", ".join(f"between {along[i]:.2f} and {along[i + 1]:.2f} mm" for i in wide[:5])
        missing = int((steps - 1).sum())
        raise InputError(
            f"{label} misses {missing} slice{'s' * (missing > 1)} {places} along its normal (others are {usual:.3g} mm"
            " apart).",
            REMEDY_EXPORT,
        )
    index = np.arange(len(along))
    away = np.abs(along - np.polyval(np.polyfit(index, along, 1), index))
    if (np.abs(gaps - usual) > 2 * allowed).any() or away.max() > allowed:
        worst = int(np.argmax(np.abs(gaps - usual)))
        raise InputError(
            f"{label} is unevenly spaced: slices are {gaps.min():.3f} to {gaps.max():.3f} mm apart (near"
            f" {along[worst]:.2f} mm along its normal); {allowed:.2g} mm deviation is accepted.",
            "Export an evenly spaced series, or resample it first.",
        )


def _check_shear(offsets: Vector, normal: Vector, label: str) -> None:
    """Refuse slices that move sideways along the stack; `offsets` (n, 3) from the first slice."""
    along = offsets @ normal
    sideways = np.linalg.norm(offsets - np.outer(along, normal), axis=1)
    if (sideways > np.maximum(POSITION_TOLERANCE_MM, SHEAR_TOLERANCE * along)).any():
        angle = float(np.degrees(np.arctan2(sideways[-1], along[-1])))
        raise InputError(
            f"{label} is sheared: its slices shift sideways by up to {sideways.max():.2f} mm (a gantry tilt of"
            f" {angle:.1f} degrees?).",
            "Resample it to an orthogonal grid first.",
        )


def _numbers(dataset: Dataset, name: str, count: int, label: str) -> Vector:
    numbers = np.array(floats(dataset, name, count) or [], dtype=np.float64)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise no_valid(name, label)
    return numbers
