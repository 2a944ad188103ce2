"""Find the images of a cohort in the folders and tables that people have."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from creps.cohort.cohort import Modality, Split
from creps.errors import CrepsError, InputError
from creps.io.dicom.read.acquisition import Acquisition
from creps.io.dicom.read.headers import DamagedFileError
from creps.io.dicom.read.series import Series, find_series, matching, several_series
from creps.io.image import ImageSource
from creps.io.itk import SUFFIXES, is_volume_file, stem
from creps.preprocessing.label_maps import named_as_labels, named_as_mask

__all__ = ["Source", "dicom_source", "find_sources", "synthrad_centre"]

log = logging.getLogger(__name__)

Named = Literal["table", "file name", "folder name", "DICOM"]
"""What names a patient."""

MODALITIES: tuple[Modality, ...] = ("mr", "ct")

REMEDY = (
    "Give a folder of volume files, or of one folder per patient that holds mr.nii.gz, ct.nii.gz or a DICOM series."
)

SYNTHRAD = (
    (re.compile(r"[12]B([A-Z])\d{3}"), ("brain",)),
    (re.compile(r"[12]P([A-Z])\d{3}"), ("pelvis",)),
    (re.compile(r"[12]AB([A-Z])\d{3}"), ("AB",)),
    (re.compile(r"[12]HN([A-Z])\d{3}"), ("HN",)),
    (re.compile(r"[12]TH([A-Z])\d{3}"), ("TH",)),
)
"""Ids of the SynthRAD challenges (2023: brain, pelvis; 2025: AB, HN, TH) with the folder that holds them."""


@dataclass(frozen=True)
class Source:
    """One image to prepare.

    Attributes:
        case: Name of the case, unique within its modality.
        patient: Patient it belongs to.
        path: The volume's file, or the folder of a DICOM series.
        mask: A body mask's file or series folder, if there is one.
        modality: "mr" or "ct".
        centre: Hospital or scanner, where that is known.
        split: Where a table puts it; None leaves that to `assign_splits`.
        series: The DICOM series, if it is one.
        shown: What the manifest calls the file: relative, and without a patient's name.
        problem: Why it cannot be used, if that is known already.
        patient_from: What names the patient.
        acquisition: How an MR was made, if its DICOM headers say.
    """

    case: str
    patient: str
    path: Path
    mask: Path | None = None
    modality: Modality = "mr"
    centre: str | None = None
    split: Split | None = None
    series: Series | None = None
    shown: str = ""
    problem: CrepsError | None = None
    patient_from: Named = "file name"
    acquisition: Acquisition | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.modality.upper()} '{self.case}'" if self.series is not None else str(self.path)

    @property
    def image(self) -> ImageSource:
        """The image itself: what reads, measures and hashes it."""
        return ImageSource(self.path, self.series, self.name)


def find_sources(folder: Path, modality: Modality | None = None, series: str | None = None) -> list[Source]:
    """The images in a folder.

    Either every volume file in the folder is a case named after its file (label maps by
    name are passed over; only if `modality` is given), or every sub-folder is a patient's, named after it: with
    ``mr.*`` or ``ct.*`` and perhaps ``mask.*`` (the layout of SynthRAD), or with a DICOM series somewhere below it.
    Sub-folders without the modality are other patients' and are passed over.

    Args:
        folder: The folder.
        modality: Look for this one; None looks for both, in patients' folders.
        series: Text in the description, or the UID, of the DICOM series to use, for patients with several.

    Raises:
        InputError: no such folder, nothing in it, both kinds of cases, or folders of several regions.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder.", REMEDY)
    try:
        return _find(folder, modality, series)
    except PermissionError as error:
        raise InputError(
            f"{error.filename or folder} cannot be opened ({error.strerror}).", "Check its permissions."
        ) from error


def synthrad_centre(case: str, container: str) -> str | None:
    """The centre that a SynthRAD id names: one letter; None unless the containing folder is named as the region."""
    for pattern, folders in SYNTHRAD:
        match = pattern.fullmatch(case)
        if match and container in folders:
            return match[1]
    return None


def dicom_source(folder: Path, series: Series, modality: Modality, case: str | None = None) -> Source:
    """The case of a DICOM series; its names never carry the patient's.

    Args:
        folder: What the case is named after.
        series: The series.
        modality: Its modality.
        case: A name that was chosen for it.
    """
    if case is None:
        key = (series.patient_key or "unknown")[:8]
        case = f"patient-{key}" if series.names_patient(folder.name) else folder.name
    patient = series.patient_key or case
    return Source(
        case,
        patient,
        series.folder,
        modality=modality,
        series=series.without_headers(),
        shown=f"{case} (DICOM)",
        patient_from="DICOM" if series.patient_key else "folder name",
        acquisition=_acquisition(series) if modality == "mr" else None,
    )


def _acquisition(series: Series) -> Acquisition | None:
    """While its headers are in memory; what is wrong with them is found when the series is read."""
    if series.headers is None:
        return None
    try:
        return Acquisition.of(series)
    except InputError:
        return None


def _find(folder: Path, modality: Modality | None, series: str | None) -> list[Source]:
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    modalities = MODALITIES if modality is None else (modality,)
    per_patient = [source for entry in entries if entry.is_dir() for source in _of_patient(entry, modalities, series)]
    files = [path for path in entries if path.is_file() and is_volume_file(path)]
    files = _without_labels(files)
    if per_patient and files:
        raise InputError(
            f"{folder} mixes volume files ({files[0].name}, …) with patient folders ({per_patient[0].case}, …).",
            "Keep one layout per folder.",
        )
    if not per_patient and not (files and modality):
        raise _nothing(folder, entries, modalities, bool(files))
    if per_patient:
        _warn_of_ignored_folders(entries, per_patient)
    found = per_patient or [
        Source(stem(path), stem(path), path, modality=modalities[0], shown=path.name) for path in files
    ]
    found = _numbered(found)
    _check_names(folder, found)
    return found


def _without_labels(files: list[Path]) -> list[Path]:
    """The files that are no label maps by name; others are logged, unless all of them are."""
    labels = [path for path in files if named_as_labels(stem(path))]
    unexpected = [path.name for path in labels if not named_as_mask(stem(path))]
    if unexpected and len(labels) < len(files):
        more = f" and {len(unexpected) - 3} more" if len(unexpected) > 3 else ""
        log.warning("Label maps by name, not prepared: %s%s.", ", ".join(unexpected[:3]), more)
    return [path for path in files if path not in labels]


def _warn_of_ignored_folders(entries: list[Path], found: list[Source]) -> None:
    """Name the sub-folders that may have been meant as patients' but hold nothing under a known name."""
    used = {source.path for source in found} | {parent for source in found for parent in source.path.parents}
    for entry in entries:
        try:
            if entry in used or not entry.is_dir():
                continue
            content = [path for path in entry.iterdir() if not path.name.startswith(".")]
        except OSError:
            continue  # it is a failure already
        known = any(_candidates(entry, modality) for modality in MODALITIES)
        if not content or (not known and any(is_volume_file(path) for path in content)):
            what = "holds neither mr.* nor ct.*" if content else "is empty"
            log.warning("The folder '%s' %s and is ignored.", entry.name, what)


def _of_patient(folder: Path, modalities: tuple[Modality, ...], series: str | None) -> Iterator[Source]:
    """The images in one patient's folder; what is wrong with it is this patient's problem alone."""
    try:
        volumes = {modality: _candidates(folder, modality) for modality in MODALITIES}
        if not any(volumes.values()):
            yield from _of_dicom(folder, modalities, series)
            return
        masks = _candidates(folder, "mask")
    except OSError as error:
        problem = InputError(
            f"The folder '{folder.name}' cannot be opened ({error.strerror}).", "Check its permissions."
        )
        for modality in modalities:
            yield Source(
                folder.name,
                folder.name,
                folder,
                modality=modality,
                shown=folder.name,
                problem=problem,
                patient_from="folder name",
            )
        return
    for modality in modalities:
        found = volumes[modality]
        if found:
            yield Source(
                case=folder.name,
                patient=folder.name,
                path=found[0],
                mask=masks[0] if masks else None,
                modality=modality,
                centre=synthrad_centre(folder.name, folder.parent.absolute().name),
                shown=f"{folder.name}/{found[0].name}",
                problem=_doubled(folder, found) or _doubled(folder, masks),
                patient_from="folder name",
            )


def _of_dicom(folder: Path, modalities: tuple[Modality, ...], chosen: str | None) -> Iterator[Source]:
    if _regions([folder]):
        return
    damaged: list[DamagedFileError] = []
    found = find_series(folder, damaged)
    touched = [s for s in found if {path.parent for path in s.files} & {error.path.parent for error in damaged}]
    for modality in modalities:
        series = [s for s in found if s.modality == modality]
        if chosen is not None and len(series) > 1:
            series = matching(series, chosen) or series
        hurt = [s for s in series if s in touched]
        if damaged and (hurt or not touched):
            yield _damaged(folder, modality, series or found, damaged)
            continue
        if not series:
            continue
        source = dicom_source(folder, series[0], modality)
        if len(series) > 1:
            source = replace(source, path=folder, problem=several_series(series, modality, source.case))
        yield source


def _damaged(folder: Path, modality: Modality, series: list[Series], damaged: list[DamagedFileError]) -> Source:
    """A patient with files that cannot be read; the message gives a file name unless it holds the patient's."""
    case, first = folder.name, damaged[0]
    name = "" if any(s.names_patient(first.path.name) for s in series) else f" ({first.path.name})"
    if series:
        case = dicom_source(folder, series[0], modality).case
    more = f", and so are {len(damaged) - 1} more" if len(damaged) > 1 else ""
    problem = InputError(f"A file or folder of '{case}'{name} {first.fault}{more}.", first.remedy)
    patient = (series[0].patient_key if series else None) or case
    return Source(case, patient, folder, modality=modality, shown=f"{case} (DICOM)", problem=problem)


def _regions(entries: list[Path]) -> list[str]:
    """Sub-folders that are no patients but hold patients' folders."""
    return [
        entry.name
        for entry in entries
        if entry.is_dir()
        and any(
            child.is_dir() and any(_candidates(child, modality) for modality in MODALITIES)
            for child in sorted(entry.iterdir())
        )
    ]


def _nothing(folder: Path, entries: list[Path], modalities: tuple[Modality, ...], loose: bool) -> InputError:
    """Say why no case was found."""
    regions = _regions(entries)
    if regions:
        return InputError(
            f"{folder} contains no cases, only folders of cases: {', '.join(regions)}.",
            "Each region needs its own model: give one of these folders.",
        )
    if loose:
        return InputError(
            f"{folder} contains volume files that could be MR or CT.",
            "Give a folder of MR and one of CT, or a CSV file.",
        )
    damaged: list[DamagedFileError] = []
    series = find_series(folder, damaged)
    others = {one.modality for one in series} - set(modalities)
    if len(modalities) == 1 and series and others == {one.modality for one in series}:
        return InputError(
            f"{folder} holds DICOM series of {others.pop().upper()}, none of {modalities[0].upper()}.",
            "Swap the folders: MR first, then CT.",
        )
    if series or damaged:
        return InputError(
            f"{folder} holds DICOM files, but none of {' or '.join(map(str.upper, modalities))} in a folder"
            " per patient.",
            "Put the series of each patient into a separate folder.",
        )
    kind = "MR and no CT" if len(modalities) == 2 else modalities[0].upper()
    return InputError(f"{folder} holds no {kind} volume.", f"{REMEDY} Supported formats: DICOM, {', '.join(SUFFIXES)}.")


def _numbered(sources: list[Source]) -> list[Source]:
    """Give names that stand for a patient's a number where several folders are one patient's, and say so."""
    seen: dict[tuple[Modality, str], int] = {}
    folders: dict[tuple[Modality, str], list[str]] = {}
    numbered = []
    for source in sources:
        key = (source.modality, source.case)
        seen[key] = seen.get(key, 0) + 1
        if seen[key] > 1 and source.shown.endswith("(DICOM)"):
            case = f"{source.case}-{seen[key]}"
            source = replace(source, case=case, shown=f"{case} (DICOM)")
        if source.series is not None and source.series.patient_key:
            folders.setdefault((source.modality, source.patient), []).append(source.case)
        numbered.append(source)
    for (modality, _), cases in folders.items():
        if len(cases) > 1:
            log.warning("These %s have the same patient ID: %s.", modality.upper(), ", ".join(cases))
    return numbered


def _check_names(folder: Path, sources: list[Source]) -> None:
    seen: set[tuple[Modality, str]] = set()
    for source in sources:
        if (source.modality, source.case) in seen:
            raise InputError(f"{folder} contains two volumes named '{source.case}'.", "Keep one of them, or rename it.")
        seen.add((source.modality, source.case))


def _candidates(folder: Path, name: str) -> list[Path]:
    """The volume files of a name, without regard to case."""
    entries = sorted(folder.iterdir())
    return [p for p in entries if is_volume_file(p) and stem(p).casefold() == name and p.is_file()]


def _doubled(folder: Path, found: list[Path]) -> InputError | None:
    if len(found) < 2:
        return None
    return InputError(f"The folder '{folder.name}' holds both {found[0].name} and {found[1].name}.", "Keep one.")
