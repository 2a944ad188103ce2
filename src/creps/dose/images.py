"""Read the CT and the sCT: in HU, axial, without padding, with what ties them to structures and to each other."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from creps import hu
from creps.errors import InputError
from creps.io.dicom.read.elements import text
from creps.io.dicom.read.series import Series
from creps.io.dicom.read.volume import read_series
from creps.io.image import ImageSource
from creps.preprocessing.padding import ct_without_padding
from creps.preprocessing.plausibility import check_below_air, check_ct
from creps.preprocessing.target_grid import bring_onto, obliquity_degrees, planning_grid
from creps.volume import Array, Volume

__all__ = ["CtImage", "Image", "axial", "read_ct"]

Image = Volume | Path | str
"""A volume, a file, or the folder of a DICOM series."""

LONGEST_GAP_MM = 12.5
"""Linear interpolation across more than this invents anatomy."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CtImage:
    """A CT or an sCT.

    Attributes:
        volume: In HU, axes along the patient's.
        name: What messages call it.
        frame_uid: UID of its DICOM frame of reference; None for volumes and volume files.
        record: What the document says of it.
        notes: What was changed in it.
    """

    volume: Volume
    name: str
    frame_uid: str | None
    record: dict[str, Any]
    notes: tuple[str, ...] = ()


def read_ct(image: Image, role: str, *, fill_gaps: bool = False, bulk: bool = False) -> CtImage:
    """Read and check a CT or an sCT.

    Args:
        image: A volume, a file, or the folder of a DICOM series; in HU.
        role: ``CT`` or ``sCT``, for messages.
        fill_gaps: Interpolate missing slices of a DICOM series instead of refusing it.
        bulk: The image has one HU per class; checks that tell a windowed CT from a true one do not apply.

    Raises:
        InputError: it cannot be read, is not in HU, or misses slices.
    """
    frame, notes = None, list[str]()
    if isinstance(image, Volume):
        volume, name, record = image, f"the {role}", dict[str, Any]()
    else:
        source = ImageSource.find(image, modality="ct", name=str(image))
        name, record = str(image), source.record()
        if source.series is not None:
            frame = text(source.series.read_headers(name)[0].dataset, "FrameOfReferenceUID") or None
        if source.series is not None and fill_gaps:
            volume, filled = _read_filled(source.series, name)
            if filled:
                notes.append(f"{filled} missing slices of the {role} were interpolated from their neighbours.")
        else:
            volume = source.read()
    volume, more = _checked(volume, name, role, bulk=bulk)
    return CtImage(axial(volume), name, frame, {**record, "interpolated_slices": bool(notes)}, tuple(notes) + more)


def _checked(volume: Volume, name: str, role: str, *, bulk: bool) -> tuple[Volume, tuple[str, ...]]:
    if not np.isfinite(volume.array).all():
        raise InputError(f"{name} has values that are NaN or infinite.", "Write it again in HU.")
    if bulk:
        if not (volume.array.min() < hu.AIR_BELOW and abs(float(np.median(_dense(volume)))) < hu.BONE_ABOVE):
            raise InputError(f"{name} is not a bulk-density CT in HU.", "Give the file that --bulk-density wrote.")
        return volume, ()
    unpadded, padding = ct_without_padding(volume)
    check_ct(unpadded, name, padding)
    check_below_air(volume, name, padding)
    return unpadded, () if padding is None else (f"The {role}: {padding.note('ct')}",)


def _dense(volume: Volume) -> Array:
    dense = volume.array[volume.array > hu.AIR_BELOW]
    return dense if dense.size else np.full(1, np.inf, np.float32)


def axial(volume: Volume, outside: float = hu.AIR) -> Volume:
    """The volume with its axes along the patient's; an oblique one is resampled.

    Args:
        volume: On any grid.
        outside: Value beyond it.
    """
    upright = volume.reoriented()
    if obliquity_degrees(upright) == 0.0:
        return upright
    return bring_onto(upright, planning_grid(upright), outside)


def _read_filled(series: Series, name: str) -> tuple[Volume, int]:
    """Read a series two slices at a time, and put interpolated slices where some are missing.

    Any two slices make a regular stack, so that each keeps its own position, rescaling and checks.
    """
    files = list(series.files)
    planes: dict[float, np.ndarray[Any, np.dtype[np.float32]]] = {}
    first = None
    for pair in _in_twos(files):
        part = read_series(replace(series, files=tuple(pair), headers=None), name)
        first = first or part
        for index, plane in enumerate(part.array):
            along = part.to_patient_mm((index, 0, 0)) @ part.direction[:, 0]
            planes[round(float(along), 3)] = plane
    if first is None:
        raise InputError(f"{name} has no slices.", "Export it again.")
    return _stacked(planes, first, name)


def _stacked(planes: dict[float, Any], first: Volume, name: str) -> tuple[Volume, int]:
    places = np.array(sorted(planes))
    gaps = np.diff(places)
    usual = float(np.median(gaps))
    if gaps.max() > LONGEST_GAP_MM:
        raise InputError(
            f"{name} has a gap of {gaps.max():.1f} mm between slices, too wide to be interpolated.",
            "Export the whole series again.",
        )
    index = (places - places[0]) / usual
    if np.abs(index - np.rint(index)).max() > 0.1:
        raise InputError(f"{name} has slices that are no multiple of {usual:.3g} mm apart.", "Export it again.")
    index = np.rint(index).astype(int)
    shape = (int(index[-1]) + 1, *first.shape[1:])
    array = np.empty(shape, np.float32)
    for (low, high), (z0, z1) in zip(pairwise(places.tolist()), pairwise(index.tolist()), strict=True):
        for place in range(int(z0), int(z1) + 1):
            share = (place - z0) / (z1 - z0)
            array[place] = (1 - share) * planes[low] + share * planes[high]
    normal = first.direction[:, 0]
    origin = np.asarray(first.origin_mm) + normal * (places[0] - np.asarray(first.origin_mm) @ normal)
    x, y, z = origin.tolist()
    return Volume(array, (usual, *first.spacing_mm[1:]), (x, y, z), first.direction), shape[0] - len(places)


def _in_twos(files: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Neighbours, two by two; the last of an odd number goes with the first."""
    return list(zip(files[::2], [*files[1::2], files[0]], strict=False))
