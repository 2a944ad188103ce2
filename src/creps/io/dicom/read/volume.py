"""Read one DICOM series as a volume; what its slices must agree on is checked in `geometry` and `agreement`."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from creps import hu
from creps.errors import InputError
from creps.io.dicom.read.agreement import check_agreement
from creps.io.dicom.read.faults import changed_while_read
from creps.io.dicom.read.frames import Instance
from creps.io.dicom.read.geometry import StackGeometry, stack_geometry
from creps.io.dicom.read.pixels import Plane, read_planes
from creps.io.dicom.read.series import Series
from creps.volume import Array, Volume

__all__ = ["read_series"]

LARGEST_VOXELS = 2**31
"""More than any series has: a damaged or crafted header must not fill the memory."""

log = logging.getLogger(__name__)


def read_series(series: Series, name: str | None = None) -> Volume:
    """Read a series of classic files, of enhanced multi-frame files or of legacy converted ones.

    Values are ``RescaleSlope * stored + RescaleIntercept``, each slice with its own. Where Philips made an MR and every
    slice has the private scale slope (2005,100E), they are Philips' floating point values
    ``(RescaleSlope * stored + RescaleIntercept) / (RescaleSlope * scale slope)`` instead: display values depend on a
    scaling that changes from slice to slice and scan to scan. Padding (PixelPaddingValue, PixelPaddingRangeLimit)
    becomes air (-1024 HU) in a CT and the lowest other value in an MR.

    Files are read one after the other: besides the volume, no more than one of them is held.

    Args:
        series: What `find_series` found.
        name: What messages call it; default: its folder.

    Returns:
        The volume in rescaled values (CT: HU); slices ascend along the normal of the image plane.

    Raises:
        InputError: slices are missing, doubled, unevenly spaced, sheared (gantry tilt) or differ in size, spacing or
            orientation; a mosaic; colour; truncated or undecodable pixels; no geometry; more than one patient.
    """
    label = f"DICOM series '{series.title}' of {name or series.folder}"
    if not series.uid:
        raise InputError(f"{label} has no SeriesInstanceUID.", "Export it again.")
    instances = [Instance.of(header, label) for header in series.read_headers(label)]
    check_agreement(instances, series.modality, label)
    geometry = stack_geometry([frame.geometry for one in instances for frame in one.frames], label)
    scales = _scales(instances, series.modality, label)
    array = _empty((len(geometry.order), *geometry.plane_shape), label)
    _warn_of_loss(instances, f"DICOM series '{series.title}'" + (f" of {name}" if name else ""))
    _fill(array, instances, geometry, scales, label)
    _replace_padding(array, series.modality)
    return Volume(array, geometry.spacing_mm, geometry.origin_mm, geometry.direction)


def _scales(instances: Sequence[Instance], modality: str, label: str) -> list[tuple[float, float]]:
    """Slope and intercept of each slice, from stored values to those of the volume."""
    frames = [frame for instance in instances for frame in instance.frames]
    lacking = sum(frame.slope is None for frame in frames), sum(frame.intercept is None for frame in frames)
    if modality == "ct" and any(lacking):
        raise InputError(f"{label} has no rescale slope and intercept, so no HU.", "Export it again.")
    if any(0 < count < len(frames) for count in lacking):
        raise InputError(f"{label} has slices with and without a rescale slope or intercept.", "Export it again.")
    scales = [
        (1.0 if frame.slope is None else frame.slope, 0.0 if frame.intercept is None else frame.intercept)
        for frame in frames
    ]
    floating = [frame.scale_slope for frame in frames if frame.scale_slope is not None]
    if modality == "mr" and len(floating) == len(frames) and all(instance.philips for instance in instances):
        return [(1 / own, i / (s * own)) for (s, i), own in zip(scales, floating, strict=True)]
    return scales


def _empty(shape: tuple[int, int, int], label: str) -> Array:
    voxels = shape[0] * shape[1] * shape[2]
    if voxels > LARGEST_VOXELS:
        raise InputError(f"{label} claims {voxels:.3g} voxels, more than any scanner produces.", "Export it again.")
    try:
        return np.empty(shape, dtype=np.float32)
    except MemoryError as error:
        raise InputError(f"{label} needs {voxels * 4 / 2**30:.1f} GiB of memory.", "Free memory.") from error


def _warn_of_loss(instances: Sequence[Instance], label: str) -> None:
    losses = sorted({instance.loss for instance in instances} - {""})
    if losses:
        log.warning(
            "%s has undergone lossy compression (%s): fine structures may differ from the original.", label, losses[0]
        )


def _fill(
    array: Array,
    instances: Sequence[Instance],
    geometry: StackGeometry,
    scales: Sequence[tuple[float, float]],
    label: str,
) -> None:
    """Decode the files into the volume (D, H, W); padding becomes NaN."""
    places: npt.NDArray[np.intp] = np.argsort(geometry.order)
    planes = (plane for instance in instances for plane in read_planes(instance.header.path, label))
    try:
        for place, scale, plane in zip(places, scales, planes, strict=True):
            array[place] = _rescaled(plane, *scale, label)
        for instance in instances:
            instance.header.check_unchanged(label)
    except ValueError as error:  # another number of planes, or another size, than a moment ago
        raise changed_while_read(label) from error


def _rescaled(plane: Plane, slope: float, intercept: float, label: str) -> Array:
    stored, padded = plane
    with np.errstate(over="ignore"):
        values = (stored * slope + intercept).astype(np.float32)
    if not np.isfinite(values).all():
        raise InputError(f"{label} has values that are NaN or infinite.", "Export it again.")
    if padded is not None:
        values[padded] = np.nan
    return values


def _replace_padding(array: Array, modality: str) -> None:
    holes = [index for index, plane in enumerate(array) if np.isnan(plane).any()]
    if not holes:
        return
    lowest = min((float(plane[~np.isnan(plane)].min(initial=np.inf)) for plane in array), default=np.inf)
    air = hu.OUTSIDE_SCAN if modality == "ct" else lowest if np.isfinite(lowest) else 0.0
    for index in holes:
        np.nan_to_num(array[index], copy=False, nan=air)
