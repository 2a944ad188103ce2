"""Find the volumes of a cohort in the folders that people have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from creps.data.cohort import Modality
from creps.errors import InputError
from creps.io.itk import SUFFIXES, is_volume_file, stem

__all__ = ["Source", "find_sources"]

REMEDY = "Give a folder of volume files, or of one folder per patient that holds mr.nii.gz or ct.nii.gz."


@dataclass(frozen=True)
class Source:
    """One volume to prepare.

    Attributes:
        case: Name of the case.
        patient: Patient it belongs to.
        path: The volume's file.
        mask: A body mask's file, if the folder has one.
    """

    case: str
    patient: str
    path: Path
    mask: Path | None = None


def find_sources(folder: Path, modality: Modality) -> list[Source]:
    """The volumes of one modality in a folder.

    Either every volume file in the folder is a case named after its file (files with "mask" in their
    name are passed over), or every sub-folder that
    holds ``mr.*`` (or ``ct.*``) is one, named after the sub-folder, with ``mask.*`` beside it: the
    layout of SynthRAD. Sub-folders without that modality are other patients' and are passed over.

    Raises:
        InputError: no such folder, nothing in it, or both kinds of cases.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder.", REMEDY)
    per_patient = [
        Source(case.name, case.name, volume, _named(case, "mask"))
        for case in sorted(folder.iterdir())
        if case.is_dir() and (volume := _named(case, modality)) is not None
    ]
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and is_volume_file(path)]
    files = [path for path in files if "mask" not in stem(path).lower()]
    if per_patient and files:
        raise InputError(
            f"{folder} holds both volume files ({files[0].name}, …) and patients' folders ({per_patient[0].case}, …).",
            "Keep one kind of them in it.",
        )
    if not per_patient and not files:
        raise InputError(f"{folder} holds no {modality.upper()} volume.", f"{REMEDY} Read are {', '.join(SUFFIXES)}.")
    names = [stem(path) for path in files]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{folder} holds two volumes named '{twice}'.", "Keep one of them, or rename it.")
    return per_patient or [Source(name, name, path) for name, path in zip(names, files, strict=True)]


def _named(folder: Path, name: str) -> Path | None:
    found = [folder / f"{name}{ending}" for ending in SUFFIXES if (folder / f"{name}{ending}").is_file()]
    if len(found) > 1:
        raise InputError(f"{folder} holds both {found[0].name} and {found[1].name}.", "Keep one of them.")
    return found[0] if found else None
