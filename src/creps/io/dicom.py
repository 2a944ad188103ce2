"""Find DICOM series and read one as a volume; what its slices must agree on is checked in `dicom_geometry`.

Names and IDs of patients stay in here: what leaves is a short hash.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from creps.errors import InputError
from creps.io.dicom_geometry import SliceGeometry, stack_geometry
from creps.io.dicom_header import (
    CLASSIC,
    MALFORMED,
    MULTI_FRAME,
    DamagedFileError,
    files_below,
    first_look,
    floats,
    open_dicom,
    parts,
    value,
    whole,
)
from creps.volume import Array, Volume

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["Series", "find_series", "one_series", "read_series", "series_sha256", "several_series"]

KEY_DIGITS = 16
"""Digits of the hash that stands for a patient's ID."""

SIZES = ("Rows", "Columns", "BitsAllocated")

SUBSTRING = 3
"""Parts of a name with as many letters are looked for within words, shorter ones as words only."""


@dataclass(frozen=True)
class Series:
    """A CT or MR series as it lies on disk.

    Attributes:
        uid: SeriesInstanceUID.
        modality: "mr" or "ct".
        description: SeriesDescription.
        files: Its files, sorted by name.
        shape: (D, H, W) as the headers say.
        spacing_mm: Along D, H, W as the headers say, for a first look; 0 where they say nothing.
        patient_key: Hash that stands for the patient's ID; None without one.
        multi_frame: Whether it is an enhanced multi-frame object.
        identities: Parts in small letters of the patient's ID and name, to keep them out of results.
    """

    uid: str
    modality: str
    description: str
    files: tuple[Path, ...]
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    patient_key: str | None = None
    multi_frame: bool = False
    identities: frozenset[str] = field(default=frozenset(), repr=False)

    @property
    def folder(self) -> Path:
        """The folder that holds all its files."""
        return Path(os.path.commonpath([path.parent for path in self.files]))

    def summary(self) -> str:
        """For a list of series: description, modality, slices, spacing."""
        spacing = " x ".join(f"{s:.3g}" for s in self.spacing_mm)
        return f"'{self.description}' ({self.modality.upper()}, {self.shape[0]} slices, {spacing} mm)"

    def names_patient(self, name: str) -> bool:
        """Whether a folder's or file's name carries the patient's ID or a part of his or her name."""
        words = parts(name)
        plain = unicodedata.normalize("NFC", name).casefold()
        return any(part in words if len(part) < SUBSTRING else part in plain for part in self.identities)


def find_series(folder: Path, damaged: list[DamagedFileError] | None = None) -> list[Series]:
    """The CT and MR series in a folder and below it.

    Passed over: files that are not DICOM, DICOMDIR, structure sets, PET and other objects, and series of
    localizers.

    Args:
        folder: The folder.
        damaged: Gets what cannot be read, instead of the first being raised.

    Raises:
        DamagedFileError: a DICOM file cannot be read, or a folder cannot be opened.
    """

    def refuse(error: DamagedFileError) -> None:
        if damaged is None:
            raise error
        damaged.append(error)

    groups: dict[str, list[tuple[Path, Dataset]]] = {}
    for path in files_below(folder, refuse):
        try:
            header = first_look(path)
        except DamagedFileError as error:
            refuse(error)
            continue
        if header is not None and str(value(header, "SOPClassUID")) in {**CLASSIC, **MULTI_FRAME}:
            groups.setdefault(str(value(header, "SeriesInstanceUID") or ""), []).append((path, header))
    found = [_series(uid, members) for uid, members in groups.items() if not _localizers(members)]
    return sorted(found, key=lambda series: (series.folder, series.description, series.uid))


def one_series(folder: Path, modality: str | None = None, name: str | None = None) -> Series:
    """The only series (of a modality) in a folder and below it.

    Raises:
        InputError: there is none, or there are several: they are listed.
    """
    name = name or str(folder)
    found = find_series(folder)
    wanted = [series for series in found if modality in (None, series.modality)]
    kind = (modality or "MR or CT").upper().replace(" OR ", " or ")
    if not wanted:
        others = f"; it holds {', '.join(series.summary() for series in found)}" if found else ""
        raise InputError(f"{name} holds no DICOM series of {kind}{others}.", "Give the folder of the series.")
    if len(wanted) > 1:
        raise several_series(wanted, kind, name)
    return wanted[0]


def several_series(series: Sequence[Series], kind: str, name: str) -> InputError:
    """The error that lists them."""
    return InputError(
        f"{name} holds {len(series)} {kind.upper().replace(' OR ', ' or ')} series:"
        f" {', '.join(one.summary() for one in series)}.",
        "Name the folder of the wanted series in a CSV file; series that share a folder need one each.",
    )


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


def series_sha256(series: Series) -> str:
    """SHA-256 over the files of a series; their names and order do not matter."""
    digests = []
    for path in series.files:
        with path.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()


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


def _series(uid: str, members: Sequence[tuple[Path, Dataset]]) -> Series:
    header = members[0][1]
    kind = str(header.SOPClassUID)
    patient_id = str(value(header, "PatientID") or "").strip()
    names = [patient_id.casefold(), *parts(patient_id), *parts(str(value(header, "PatientName") or ""))]
    frames = whole(header, "NumberOfFrames", 1) or 1
    spacing = floats(header, "PixelSpacing", 2) or [0.0, 0.0]
    depth = len(members) if frames == 1 else frames
    return Series(
        uid=uid,
        modality={**CLASSIC, **MULTI_FRAME}[kind],
        description=str(value(header, "SeriesDescription") or "without description").strip(),
        files=tuple(sorted(path for path, _ in members)),
        shape=(depth, whole(header, "Rows", 0) or 0, whole(header, "Columns", 0) or 0),
        spacing_mm=(_slice_distance([h for _, h in members]), spacing[0], spacing[1]),
        patient_key=hashlib.sha256(patient_id.encode()).hexdigest()[:KEY_DIGITS] if patient_id else None,
        multi_frame=kind in MULTI_FRAME or frames > 1,
        identities=frozenset(name for name in names if len(name) >= SUBSTRING or name.isalpha()),
    )


def _slice_distance(headers: Sequence[Dataset]) -> float:
    """Median distance of neighbours, for a first look; 0 if the headers do not say."""
    positions = [floats(header, "ImagePositionPatient", 3) for header in headers]
    points = np.array([position for position in positions if position is not None])
    if len(positions) < 2 or len(points) < len(positions) or not np.isfinite(points).all():
        return 0.0
    along = np.sort(points @ np.linalg.svd(points - points.mean(axis=0))[2][0])
    return float(np.median(np.diff(along)))


def _localizers(members: Sequence[tuple[Path, Dataset]]) -> bool:
    return all("LOCALIZER" in [str(part) for part in value(header, "ImageType") or ()] for _, header in members)


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
