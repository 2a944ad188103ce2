"""Find the DICOM series in a folder and choose one.

Names and IDs of patients stay in here: what leaves is a short hash.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from creps.errors import InputError
from creps.io.dicom.identifiers import IMAGES
from creps.io.dicom.read.elements import (
    SUBSTRING,
    MalformedDicomError,
    floats,
    mentions,
    parts,
    value,
    whole,
    words,
)
from creps.io.dicom.read.faults import unreadable
from creps.io.dicom.read.headers import DamagedFileError, FileHeader, files_below, read_header
from creps.provenance import sha256_file

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = [
    "BULK_IMAGE",
    "UNCERTAINTY_IMAGE",
    "Series",
    "find_series",
    "matching",
    "one_series",
    "series_sha256",
    "several_series",
]

KEY_DIGITS = 16
"""Digits of the hash that stands for a patient's ID."""

UID_SHOWN = 6
"""Last characters of a UID in a list: enough to tell series apart."""

UNCERTAINTY_IMAGE = "UNCERTAINTY"
"""Value of ImageType of the series beside an sCT that is no image of a patient, though its class is that of CTs."""

BULK_IMAGE = "BULK_DENSITY"
"""Value of ImageType of a CT of bulk densities beside an sCT."""

SAME_PLACE_MM = 1e-2

UID_ENDING = 4
"""A selector needs this many characters to match the last part of a UID."""

NUMBER_DIGITS = 3
"""A selector of up to this many digits is a number in the list."""


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
        identities: Parts in small letters of the patient's ID and name, to keep them out of results.
        headers: The headers of its files, in the order of `files`; None if they were not kept.
    """

    uid: str
    modality: str
    description: str
    files: tuple[Path, ...]
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    patient_key: str | None = None
    identities: frozenset[str] = field(default=frozenset(), repr=False)
    headers: tuple[FileHeader, ...] | None = field(default=None, repr=False, compare=False)

    def without_headers(self) -> Series:
        """The same without its headers, which then are read again when they are needed: a cohort has too many."""
        return replace(self, headers=None)

    def read_headers(self, label: str) -> tuple[FileHeader, ...]:
        """The headers of its files, read unless they were kept.

        Raises:
            InputError: a file cannot be read; `label` names the series.
        """
        if self.headers is not None:
            return self.headers
        try:
            return tuple(FileHeader.read(path) for path in self.files)
        except (MalformedDicomError, OSError) as error:
            raise unreadable(label, error) from error

    @property
    def folder(self) -> Path:
        """The folder that holds all its files."""
        return Path(os.path.commonpath([path.parent for path in self.files]))

    @property
    def title(self) -> str:
        """The description, without the words that name the patient."""
        return self.without_names(self.description)

    def without_names(self, text: str) -> str:
        """A text of the header, with "..." for the words that name the patient."""
        return re.sub(r"[^\W_]+", lambda word: "..." if self.names_patient(word[0]) else word[0], text)

    def summary(self) -> str:
        """For a list of series: description, modality, slices, spacing, end of the UID."""
        spacing = " x ".join(f"{s:.3g}" for s in self.spacing_mm)
        ending = f", UID ...{self.uid[-UID_SHOWN:].lstrip('.')}" if len(self.uid) > UID_SHOWN else ""
        return f"'{self.title}' ({self.modality.upper()}, {self.shape[0]} slices, {spacing} mm{ending})"

    def names_patient(self, name: str) -> bool:
        """Whether a folder's or file's name carries the patient's ID or a part of his or her name."""
        return mentions(name, self.identities)


def find_series(
    folder: Path | Sequence[Path], damaged: list[DamagedFileError] | None = None, *, derived: bool = False
) -> list[Series]:
    """The CT and MR series in a folder and below it, in one file, or in some files.

    Skipped: files that are not DICOM, DICOMDIR, structure sets, PET and other objects, series of
    localizers, and the uncertainty of an sCT.

    Args:
        folder: The folder, a file, or files.
        damaged: Receives the files that cannot be read; None: the first one is raised.
        derived: Also return localizers, maps of uncertainty and bulk densities.

    Raises:
        DamagedFileError: a DICOM file cannot be read, or a folder cannot be opened.
    """

    def refuse(error: DamagedFileError) -> None:
        if damaged is None:
            raise error
        damaged.append(error)

    groups: dict[str, list[FileHeader]] = {}
    for path in _files(folder, refuse):
        try:
            header = read_header(path)
        except DamagedFileError as error:
            refuse(error)
            continue
        if header is not None and str(value(header.dataset, "SOPClassUID")) in IMAGES:
            groups.setdefault(str(value(header.dataset, "SeriesInstanceUID") or ""), []).append(header)
    found = [_series(uid, members) for uid, members in groups.items() if derived or not _is_no_image(members)]
    return sorted(found, key=lambda series: (series.folder, series.description, series.uid))


def _files(given: Path | Sequence[Path], refuse: Callable[[DamagedFileError], None]) -> Iterable[Path]:
    if isinstance(given, Path):
        return [given] if given.is_file() else files_below(given, refuse)
    return given


def one_series(
    folder: Path,
    modality: str | None = None,
    name: str | None = None,
    selector: str | None = None,
    *,
    selectable: bool = False,
) -> Series:
    """The only series (of a modality) in a folder and below it, or the selected one.

    Args:
        folder: The folder, or a file.
        modality: "mr" or "ct"; None: either.
        name: What messages call the folder.
        selector: Which one (`--series`): its number in the list that the error shows, its SeriesInstanceUID or the last
            part of it, or text that only its description holds.
        selectable: Whether the user can give the caller a `selector`: the error then numbers the series.

    Raises:
        InputError: there is none, there are several, or `selector` fits none or several: they are listed.
    """
    name = name or str(folder)
    found = find_series(folder)
    fitting = [series for series in found if modality in (None, series.modality)]
    kind = _kind(modality or "MR or CT")
    if not fitting:
        others = f"; it holds {', '.join(series.summary() for series in found)}" if found else ""
        raise InputError(f"{name} contains no DICOM series of {kind}{others}.", "Give the folder of the series.")
    if selector is not None:
        chosen = matching(fitting, selector.strip())
        if len(chosen) != 1:
            count = f"{len(chosen)} {kind} series" if chosen else f"no {kind} series"
            raise InputError(f"{name} holds {count} '{selector}'; there are {_numbered(fitting)}.", CHOOSE)
        return chosen[0]
    if len(fitting) > 1:
        raise several_series(fitting, kind, name, selectable=selectable)
    return fitting[0]


CHOOSE = (
    "Choose one with series=…: its number in this list, its SeriesInstanceUID or the last part of it, or text that only"
    " its description holds."
)


def several_series(series: Sequence[Series], kind: str, name: str, *, selectable: bool = False) -> InputError:
    """The error that lists them, numbered if the caller can choose one."""
    listed = _numbered(series) if selectable else ", ".join(one.summary() for one in series)
    patients = len({one.patient_key for one in series})
    whose = f" of {patients} patients" if patients > 1 else ""
    return InputError(
        f"{name} holds {len(series)} {_kind(kind)} series{whose}: {listed}.",
        CHOOSE if selectable else "Choose by --series, or in a CSV file: its columns 'path' and 'series'.",
    )


def _kind(modality: str) -> str:
    return modality.upper().replace(" OR ", " or ")


def _numbered(series: Sequence[Series]) -> str:
    patients = list(dict.fromkeys(one.patient_key for one in series))
    whose = [f" of patient {patients.index(one.patient_key) + 1}" if len(patients) > 1 else "" for one in series]
    return ", ".join(f"[{n}] {one.summary()}{who}" for n, (one, who) in enumerate(zip(series, whose, strict=True), 1))


def matching(series: Sequence[Series], selector: str) -> list[Series]:
    """Those that `selector` fits (see `one_series`): as a number, else as a UID, else as text."""
    if selector.isdecimal() and len(selector) <= NUMBER_DIGITS:
        return [one for number, one in enumerate(series, start=1) if number == int(selector)]
    ending = selector.lstrip(".")
    by_uid = [one for one in series if one.uid == selector or _ends(one.uid, ending)]
    plain = selector.casefold()
    whole_text = [one for one in series if plain in (one.description.casefold(), one.title.casefold())]
    within = [one for one in series if plain and plain in one.description.casefold()]
    return by_uid or (whole_text if len(whole_text) == 1 else within)


def _ends(uid: str, ending: str) -> bool:
    """Whether a UID ends with whole parts, or with as much as a list shows of it."""
    whole_parts = len(ending) >= UID_ENDING and uid.endswith(f".{ending}")
    return whole_parts or (len(ending) >= UID_SHOWN and uid.endswith(ending))


def series_sha256(series: Series) -> str:
    """SHA-256 over the files of a series; their names and order do not matter."""
    digests = sorted(sha256_file(path) for path in series.files)
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _series(uid: str, members: Sequence[FileHeader]) -> Series:
    first = members[0].dataset
    patient_id = str(value(first, "PatientID") or "").strip()
    names = [patient_id.casefold(), *parts(patient_id), *parts(str(value(first, "PatientName") or ""))]
    frames = [whole(member.dataset, "NumberOfFrames", 1) or 1 for member in members]
    slices = [one for member in members for one in _slices(member)]
    spacing = next(filter(None, (floats(one, "PixelSpacing", 2) for one in slices[:1])), [0.0, 0.0])
    headers = tuple(sorted(members, key=lambda member: member.path))
    return Series(
        uid=uid,
        modality=IMAGES[str(first.SOPClassUID)],
        description=str(value(first, "SeriesDescription") or "without description").strip(),
        files=tuple(header.path for header in headers),
        shape=(sum(frames), whole(first, "Rows", 0) or 0, whole(first, "Columns", 0) or 0),
        spacing_mm=(_slice_distance(slices), spacing[0], spacing[1]),
        patient_key=hashlib.sha256(patient_id.encode()).hexdigest()[:KEY_DIGITS] if patient_id else None,
        identities=frozenset(name for name in names if len(name) >= SUBSTRING or name.isalpha()),
        headers=headers,
    )


def _slices(header: FileHeader) -> Sequence[Dataset]:
    """The headers of a file's slices, for a first look; none if they are malformed."""
    try:
        return header.slices
    except MalformedDicomError:
        return ()


def _slice_distance(headers: Sequence[Dataset]) -> float:
    """Median distance of neighbouring positions, for a first look; 0 if the headers do not say."""
    positions = [floats(header, "ImagePositionPatient", 3) for header in headers]
    points = np.array([position for position in positions if position is not None])
    if len(positions) < 2 or len(points) < len(positions) or not np.isfinite(points).all():
        return 0.0
    along = np.sort(points @ np.linalg.svd(points - points.mean(axis=0))[2][0])
    gaps = np.diff(along)
    return float(np.median(gaps[gaps > SAME_PLACE_MM])) if gaps.max() > SAME_PLACE_MM else 0.0


def _is_no_image(members: Sequence[FileHeader]) -> bool:
    """Whether a series consists of localizers, of maps of uncertainty or of bulk densities."""
    kinds = [set(words(member.dataset, "ImageType")) for member in members]
    return any(all(word in kind for kind in kinds) for word in ("LOCALIZER", UNCERTAINTY_IMAGE, BULK_IMAGE))
