"""Find the DICOM series in a folder and choose one.

Names and IDs of patients stay in here: what leaves is a short hash.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from creps.errors import InputError
from creps.io.dicom.header import (
    CLASSIC,
    MULTI_FRAME,
    DamagedFileError,
    files_below,
    first_look,
    floats,
    parts,
    value,
    whole,
)

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["Series", "find_series", "one_series", "series_sha256", "several_series"]

KEY_DIGITS = 16
"""Digits of the hash that stands for a patient's ID."""

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


def series_sha256(series: Series) -> str:
    """SHA-256 over the files of a series; their names and order do not matter."""
    digests = []
    for path in series.files:
        with path.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()


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
