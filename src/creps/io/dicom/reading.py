"""Read one DICOM series as a volume; what its slices must agree on is checked in `geometry`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from creps.errors import InputError
from creps.io.dicom.geometry import SliceGeometry, stack_geometry
from creps.io.dicom.header import MALFORMED, floats, open_dicom, whole
from creps.io.dicom.series import Series
from creps.volume import Array, Volume

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["read_series"]

SIZES = ("Rows", "Columns", "BitsAllocated")


def read_series(series: Series, name: str | None = None) -> Volume:
    """Read a classic single-frame series.

    Args:
        series: What `find_series` found.
        name: What messages call it; default: its folder.

    Returns:
        The volume in rescaled values (CT: HU); slices ascend along the normal of the image plane.

    Raises:
        InputError: slices are missing, doubled, unevenly spaced, sheared (gantry tilt) or differ in size, spacing or
            orientation; colour; multi-frame; truncated or undecodable pixels; no geometry.
    """
    label = f"DICOM series '{series.description}' of {name or series.folder}"
    if series.multi_frame:
        raise InputError(
            f"{label} is an enhanced multi-frame object, not one file per slice.",
            "Convert it to classic (single-frame) DICOM first.",
        )
    datasets = [_dataset(path, label) for path in series.files]
    geometry = stack_geometry([SliceGeometry.of(dataset, label) for dataset in datasets], label)
    array = np.empty((len(datasets), *geometry.plane_shape), dtype=np.float32)
    for target, index in zip(array, geometry.order, strict=True):
        target[:] = _pixels(datasets[index], label, series.modality)
    if not np.isfinite(array).all():
        raise InputError(f"{label} has values that are NaN or infinite.", "Export it again.")
    return Volume(array, geometry.spacing_mm, geometry.origin_mm, geometry.direction)


def _dataset(path: Path, label: str) -> Dataset:
    try:
        dataset = open_dicom(path)
    except (*MALFORMED, OSError) as error:
        raise InputError(
            f"A file of {label} cannot be read as DICOM ({type(error).__name__}).", "Copy or export it again."
        ) from error
    samples = _whole(dataset, "SamplesPerPixel", label, 1)
    if samples > 1:
        raise InputError(f"{label} has {samples} values per pixel (colour).", "Give the original CT or MR series.")
    return dataset


def _whole(dataset: Dataset, name: str, label: str, default: int) -> int:
    number = whole(dataset, name, default)
    if number is None or number < 1:
        raise InputError(f"{label} has a slice without a valid {name}.", "Export it again.")
    return number


def _rescaling(dataset: Dataset, label: str) -> tuple[float | None, float | None]:
    numbers: list[float | None] = []
    for name in ("RescaleSlope", "RescaleIntercept"):
        number = floats(dataset, name, 1)
        if number is None and name in dataset and dataset.get_item(name).value not in (None, b"", ""):
            raise InputError(f"{label} has a slice without a valid {name}.", "Export it again.")
        numbers.append(None if number is None else number[0])
    return numbers[0], numbers[1]


def _pixels(dataset: Dataset, label: str, modality: str) -> Array:
    """(H, W) in rescaled values."""
    rows, columns, bits = (_whole(dataset, name, label, 16 * (name == "BitsAllocated")) for name in SIZES)
    expected = rows * columns * bits // 8
    compressed = (
        dataset.file_meta.TransferSyntaxUID.is_compressed if "TransferSyntaxUID" in dataset.file_meta else False
    )
    stored = len(dataset.get("PixelData", b"") or b"")
    if stored == 0 or (not compressed and stored < expected):
        raise InputError(
            f"{label} has a truncated slice: {stored} of {expected} bytes of pixels.", "Copy or export it again."
        )
    slope, intercept = _rescaling(dataset, label)
    if modality == "ct" and (slope is None or intercept is None):
        raise InputError(f"{label} has no rescale slope and intercept, so no HU.", "Export it again.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values = dataset.pixel_array.astype(np.float32)
    except (RuntimeError, ValueError, NotImplementedError, AttributeError, KeyError, TypeError) as error:
        if compressed:
            raise InputError(
                f"{label} is compressed as {dataset.file_meta.TransferSyntaxUID.name}, which cannot be decoded here.",
                "Export it uncompressed.",
            ) from error
        raise InputError(f"{label} has pixels that cannot be read.", "Copy or export it again.") from error
    return values * np.float32(1 if slope is None else slope) + np.float32(0 if intercept is None else intercept)
