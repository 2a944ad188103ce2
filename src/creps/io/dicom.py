"""Find DICOM series and read one as a volume; what its slices must agree on is checked in `dicom_geometry`.

Names and IDs of patients stay in here: what leaves is a short hash.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from creps.errors import InputError
from creps.io.dicom_geometry import SliceGeometry, stack_geometry
from creps.volume import Array, Volume

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["Series", "find_series", "one_series", "read_series", "series_sha256"]

CLASSIC = {"1.2.840.10008.5.1.4.1.1.2": "ct", "1.2.840.10008.5.1.4.1.1.4": "mr"}
"""Storage classes of single-frame CT and MR."""

MULTI_FRAME = {
    "1.2.840.10008.5.1.4.1.1.2.1": "ct",
    "1.2.840.10008.5.1.4.1.1.2.2": "ct",
    "1.2.840.10008.5.1.4.1.1.4.1": "mr",
    "1.2.840.10008.5.1.4.1.1.4.4": "mr",
}
"""Storage classes of enhanced and of converted multi-frame CT and MR."""

HEADER_TAGS = [
    "SOPClassUID", "SeriesInstanceUID", "SeriesDescription", "PatientID", "PatientName", "ImageType", "Rows",
    "Columns", "PixelSpacing", "ImagePositionPatient", "NumberOfFrames",
]  # fmt: skip

KEY_DIGITS = 16
"""Digits of the hash that stands for a patient's ID."""


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
        identities: Lower-case parts of the patient's ID and name, to keep them out of results.
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
        return any(identity in name.lower() for identity in self.identities)


def find_series(folder: Path) -> list[Series]:
    """The CT and MR series in a folder and below it.

    Passed over: files that are not DICOM, DICOMDIR, structure sets, PET and other objects, and series of
    localizers.

    Raises:
        InputError: a file with DICOM's mark cannot be read, or a folder cannot be opened.
    """
    groups: dict[str, list[tuple[Path, Dataset]]] = {}
    for path in _files(folder):
        header = _header(path)
        if header is not None and str(header.get("SOPClassUID", "")) in {**CLASSIC, **MULTI_FRAME}:
            groups.setdefault(str(header.get("SeriesInstanceUID", "")), []).append((path, header))
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
        raise InputError(
            f"{name} holds {len(wanted)} {kind} series: {', '.join(series.summary() for series in wanted)}.",
            "Name the folder of the wanted series in a CSV file; series that share a folder need one each.",
        )
    return wanted[0]


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


def _files(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise InputError(
            f"{error.filename} cannot be opened ({error.strerror}).", "Check its access rights."
        ) from error

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place) / name for name in sorted(names) if not name.startswith("."))


def _header(path: Path) -> Dataset | None:
    """The tags needed for a first look; None if the file is no DICOM file."""
    try:
        with path.open("rb") as stream:
            start = stream.read(132)
    except OSError as error:
        raise InputError(f"{path} cannot be opened ({error.strerror}).", "Check its access rights.") from error
    if not start and path.suffix.lower() in (".dcm", ".ima"):
        raise InputError(f"{path} is empty.", "Copy or export it again.")
    marked = start[128:] == b"DICM"
    if not marked and start[:4] not in (b"\x08\x00\x00\x00", b"\x08\x00\x05\x00", b"\x08\x00\x08\x00"):
        return None
    header = _read(path, str(path), header_only=True)
    kind = getattr(getattr(header, "file_meta", None), "MediaStorageSOPClassUID", None)
    if kind in {**CLASSIC, **MULTI_FRAME} and not {"SOPClassUID", "SeriesInstanceUID", "Rows"} <= set(header.dir()):
        raise InputError(f"{path} is truncated: its DICOM header ends early.", "Copy or export it again.")
    return header


def _read(path: Path, label: str, *, header_only: bool = False) -> Dataset:
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd values of attributes that are of no interest here
            if header_only:
                return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(HEADER_TAGS), force=True)
            return pydicom.dcmread(path, force=True)
    except (OSError, ValueError, KeyError, AttributeError, EOFError, NotImplementedError, InvalidDicomError) as error:
        raise InputError(
            f"A file of {label} cannot be read as DICOM ({type(error).__name__}).", "Copy or export it again."
        ) from error


def _dataset(path: Path, label: str) -> Dataset:
    dataset = _read(path, label)
    if int(dataset.get("SamplesPerPixel", 1) or 1) != 1:
        raise InputError(
            f"{label} has {dataset.SamplesPerPixel} values per pixel (colour).", "Give the original CT or MR series."
        )
    return dataset


def _series(uid: str, members: Sequence[tuple[Path, Dataset]]) -> Series:
    header = members[0][1]
    kind = str(header.SOPClassUID)
    patient_id = str(header.get("PatientID", "") or "").strip()
    names = [patient_id, *str(header.get("PatientName", "") or "").replace("^", " ").split()]
    frames = int(header.get("NumberOfFrames", 1) or 1)
    spacing = [float(s) for s in header.get("PixelSpacing", None) or (0.0, 0.0)]
    depth = len(members) if frames == 1 else frames
    return Series(
        uid=uid,
        modality={**CLASSIC, **MULTI_FRAME}[kind],
        description=str(header.get("SeriesDescription", "") or "without description").strip(),
        files=tuple(sorted(path for path, _ in members)),
        shape=(depth, int(header.get("Rows", 0) or 0), int(header.get("Columns", 0) or 0)),
        spacing_mm=(_slice_distance([h for _, h in members]), spacing[0], spacing[1]),
        patient_key=hashlib.sha256(patient_id.encode()).hexdigest()[:KEY_DIGITS] if patient_id else None,
        multi_frame=kind in MULTI_FRAME or frames > 1,
        identities=frozenset(name.lower() for name in names if len(name) > 2),
    )


def _slice_distance(headers: Sequence[Dataset]) -> float:
    """Median distance of neighbours, for a first look; 0 if the headers do not say."""
    positions = [header.get("ImagePositionPatient", None) for header in headers]
    if len(positions) < 2 or any(position is None or len(position) != 3 for position in positions):
        return 0.0
    points = np.array([[float(x) for x in position] for position in positions])
    along = np.sort(points @ np.linalg.svd(points - points.mean(axis=0))[2][0])
    return float(np.median(np.diff(along)))


def _localizers(members: Sequence[tuple[Path, Dataset]]) -> bool:
    return all("LOCALIZER" in [str(part) for part in header.get("ImageType", None) or ()] for _, header in members)


def _pixels(dataset: Dataset, label: str, modality: str) -> Array:
    """(H, W) in rescaled values."""
    expected = dataset.Rows * dataset.Columns * int(dataset.get("BitsAllocated", 16)) // 8
    compressed = (
        dataset.file_meta.TransferSyntaxUID.is_compressed if "TransferSyntaxUID" in dataset.file_meta else False
    )
    stored = len(dataset.get("PixelData", b"") or b"")
    if stored == 0 or (not compressed and stored < expected):
        raise InputError(
            f"{label} has a truncated slice: {stored} of {expected} bytes of pixels.", "Copy or export it again."
        )
    slope, intercept = dataset.get("RescaleSlope", None), dataset.get("RescaleIntercept", None)
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
