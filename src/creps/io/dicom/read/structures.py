"""Read the contours of an RT Structure Set, and turn them into masks."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from creps.errors import InputError
from creps.io.dicom.identifiers import RT_STRUCTURE_SET_STORAGE
from creps.io.dicom.read.elements import MalformedDicomError, items, text, value, whole
from creps.io.dicom.read.headers import is_dicom, open_dicom
from creps.volume import Mask, Volume

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["Structure", "StructureSet", "read_structures"]

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
"""Types of contours that enclose an area; points and open lines do not."""

FLATNESS = 0.1
"""A contour may leave its plane by this share of a voxel."""

EXPORT_AGAIN = "Export the structure set again."

Points = npt.NDArray[np.float64]

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Structure:
    """One region of interest.

    Attributes:
        name: ROIName.
        kind: RTROIInterpretedType, such as ORGAN or EXTERNAL; empty if it is not given.
        frame_uid: UID of the frame of reference that the points are in.
        contours: Closed contours, each (n, 3): patient (x, y, z) in mm as `Volume.to_patient_mm` gives them.
    """

    name: str
    kind: str
    frame_uid: str = field(repr=False)
    contours: tuple[Points, ...] = field(repr=False)

    def mask(self, grid: Volume) -> Mask:
        """The voxels whose centres are inside the contours.

        In each plane the even-odd rule decides: a contour inside another one is a hole, and so is what a keyhole
        contour leaves out. A slice between two contour planes takes the nearer one, as long as it is within half the
        usual distance of the planes: where planes are missing, the mask has a gap.

        Args:
            grid: Any volume whose planes along one array axis are parallel to the contours.

        Returns:
            (D, H, W).

        Raises:
            InputError: the structure has no closed contour, is oblique to the grid, or lies outside it.
        """
        if not self.contours:
            raise InputError(f"Structure '{self.name}' has no closed contour.", "Choose another structure.")
        rings = [grid.to_index(ring) for ring in self.contours]
        axis = _axis(rings, self.name)
        planes: dict[float, Mask] = {}
        shape = tuple(np.delete(grid.shape, axis))
        for ring in rings:
            place = round(float(ring[:, axis].mean()), 2)
            plane = planes.setdefault(place, np.zeros(shape, dtype=np.bool_))
            plane ^= _filled(np.delete(ring, axis, axis=1), plane.shape)
        stack = np.moveaxis(np.zeros(grid.shape, dtype=np.bool_), axis, 0)
        for index, place in _nearest(np.array(sorted(planes)), stack.shape[0]):
            stack[index] = planes[place]
        self._check_extent(rings, grid, bool(stack.any()))
        return np.ascontiguousarray(np.moveaxis(stack, 0, axis))

    def _check_extent(self, rings: list[Points], grid: Volume, found: bool) -> None:
        low, high = (np.array(edge) for edge in ((-0.5, -0.5, -0.5), [n - 0.5 for n in grid.shape]))
        points = np.concatenate(rings)
        if not ((points > low) & (points < high)).all(axis=1).any():
            raise InputError(
                f"Structure '{self.name}' lies outside the volume.",
                "Give the volume that it was drawn on, or one in the same frame of reference.",
            )
        if ((points < low) | (points > high)).any():
            log.warning("Structure '%s' reaches beyond the volume and is cut off there.", self.name)
        elif not found:
            log.warning("Structure '%s' is too small for the volume: it encloses no voxel's centre.", self.name)


@dataclass(frozen=True, eq=False)
class StructureSet:
    """The structures of one file, in its order.

    Attributes:
        structures: All of them, those without contours too.
    """

    structures: tuple[Structure, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the structures."""
        return tuple(one.name for one in self.structures)

    def named(self, name: str) -> Structure:
        """The structure of this name; upper and lower case are the same.

        Raises:
            InputError: there is none, or there are several.
        """
        found = [one for one in self.structures if one.name.casefold() == name.casefold()]
        if len(found) != 1:
            raise InputError(
                f"The structure set has {len(found) or 'no'} structure{'s' * (len(found) != 1)} '{name}'.",
                f"Its structures are {', '.join(self.names)}.",
            )
        return found[0]


def read_structures(path: Path | str) -> StructureSet:
    """Read a file of RT Structure Set Storage.

    Args:
        path: The file.

    Raises:
        InputError: the file cannot be read, is something else, or has a malformed contour.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not a file.", "Give the file of an RT Structure Set.")
    other = InputError(f"{path} is not an RT Structure Set.", "Give a DICOM file of modality RTSTRUCT.")
    if not is_dicom(path):
        raise other
    try:
        dataset = open_dicom(path)
    except (MalformedDicomError, OSError) as error:
        raise InputError(f"{path} cannot be read as DICOM ({error}).", EXPORT_AGAIN) from error
    if text(dataset, "SOPClassUID") != RT_STRUCTURE_SET_STORAGE:
        raise other
    kinds = {
        whole(item, "ReferencedROINumber", -1): text(item, "RTROIInterpretedType")
        for item in items(dataset, "RTROIObservationsSequence")
    }
    contours = {
        whole(item, "ReferencedROINumber", -1): _contours(item, str(path))
        for item in items(dataset, "ROIContourSequence")
    }
    found = []
    for item in items(dataset, "StructureSetROISequence"):
        number = whole(item, "ROINumber", -1)
        name, frame = text(item, "ROIName"), text(item, "ReferencedFrameOfReferenceUID")
        found.append(Structure(name, kinds.get(number, ""), frame, contours.get(number, ())))
    if not found:
        raise InputError(f"{path} has no structures.", EXPORT_AGAIN)
    return StructureSet(tuple(found))


def _contours(item: Dataset, name: str) -> tuple[Points, ...]:
    closed = [one for one in items(item, "ContourSequence") if text(one, "ContourGeometricType") in CLOSED]
    return tuple(_points(one, name) for one in closed)


def _points(contour: Dataset, name: str) -> Points:
    """Corners (n, 3) of a contour; its numbers are converted here: pydicom makes an object of each."""
    raw = contour.get_item("ContourData") if "ContourData" in contour else None
    found = b"" if raw is None else raw.value
    try:
        if isinstance(found, bytes):
            numbers = np.array(found.decode("ascii").rstrip(" \0").split("\\"), dtype=np.float64)
        else:
            numbers = np.array(value(contour, "ContourData"), dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.zeros(0)
    count = whole(contour, "NumberOfContourPoints", numbers.size // 3)
    if numbers.size < 9 or numbers.size != 3 * (count or 0) or not np.isfinite(numbers).all():
        raise InputError(f"{name} has a closed contour that is not made of three or more points.", EXPORT_AGAIN)
    return numbers.reshape(-1, 3)


def _axis(rings: list[Points], name: str) -> int:
    """The array axis that all contours are perpendicular to."""
    spread = np.max([np.ptp(ring, axis=0) for ring in rings], axis=0)
    axis = int(spread.argmin())
    if spread[axis] > FLATNESS:
        raise InputError(
            f"Structure '{name}' has contours that are oblique to the slices of the volume.",
            "Give the volume that it was drawn on, and resample the mask.",
        )
    return axis


def _filled(ring: Points, shape: tuple[int, ...]) -> Mask:
    """Pixels (H, W) whose centres are inside a polygon (n, 2) of rows and columns, by the even-odd rule.

    Along each row, every edge that crosses the row switches between outside and inside.
    """
    height, width = shape
    (y0, x0), (y1, x1) = ring.T, np.roll(ring, -1, axis=0).T
    first, end = (np.ceil(edge(y0, y1)).clip(0, height).astype(np.intp) for edge in (np.minimum, np.maximum))
    crossed = end - first
    edge = np.repeat(np.arange(len(ring)), crossed)
    row = np.arange(crossed.sum()) - np.repeat(np.cumsum(crossed) - crossed, crossed) + first[edge]
    column = x0[edge] + (row - y0[edge]) * (x1 - x0)[edge] / (y1 - y0)[edge]
    switches = np.zeros((height, width + 1), dtype=np.int64)
    np.add.at(switches, (row, np.ceil(column).clip(0, width).astype(np.intp)), 1)
    return np.asarray(switches.cumsum(axis=1)[:, :-1] % 2 == 1)


def _nearest(places: Points, count: int) -> list[tuple[int, float]]:
    """For each slice that is near enough to a contour plane: its index, and the plane's place (in slices)."""
    usual = float(np.median(np.diff(places))) if len(places) > 1 else 1.0
    found = []
    for index in range(count):
        away = np.abs(places - index)
        if away.min() <= usual / 2 + FLATNESS:
            found.append((index, float(places[away.argmin()])))
    return found
