"""Find the MRs that a path names: volume files and DICOM series."""

from __future__ import annotations

import logging
from pathlib import Path

from creps.errors import InputError
from creps.io.dicom.read.headers import DamagedFileError, is_dicom
from creps.io.dicom.read.series import Series, find_series, one_series
from creps.io.image import ImageSource
from creps.io.itk import SUFFIXES, is_volume_file, stem, suffix
from creps.preprocessing.label_maps import named_as_labels

__all__ = ["find_mr", "find_mrs"]

log = logging.getLogger(__name__)


def find_mr(path: Path, series: str | None = None) -> ImageSource:
    """The MR that an argument names.

    Args:
        path: A volume file, a folder with a DICOM series somewhere below it, or a multi-frame DICOM file.
        series: Which series, if there are several: its number in the list, its UID or a part of its description.

    Raises:
        InputError: there is none, or there are several series and `series` chooses none.
    """
    if series is not None and not isinstance(series, str):
        raise InputError(f"'series' is of the type {type(series).__name__}.", "Give it as text.")
    if path.is_dir():
        if any(is_volume_file(one) for one in path.iterdir()):
            raise InputError(f"{path} is a folder of volume files.", "Give the files, or a folder of DICOM alone.")
        return ImageSource(path, _series(path, series))
    if not path.is_file():
        what = "is a pipe or a device" if path.exists() else "does not exist"
        raise InputError(f"{path} {what}.", "Give MR volume files, or folders of DICOM series.")
    if suffix(path):
        if series is not None:
            raise InputError(f"{path} is not a DICOM series, but a series is chosen.", "Leave the series out.")
        return ImageSource(path)
    if not is_dicom(path):
        raise InputError(
            f"{path} has an unknown file extension.", f"creps reads {', '.join(SUFFIXES)}, and folders of DICOM."
        )
    return ImageSource(path, _series(path, series))


def find_mrs(folder: Path | str) -> list[Path]:
    """The MRs in a folder: every subfolder and every volume file that is no label map by name.

    A folder with neither is returned itself.

    Raises:
        InputError: it is not a folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder.", "Give a folder of MRs, or a list of files and folders.")
    entries = [one for one in sorted(folder.iterdir()) if not one.name.startswith(".")]
    found = [one for one in entries if one.is_dir() or is_volume_file(one)]
    labels = [one for one in found if not one.is_dir() and named_as_labels(stem(one))]
    if labels and len(labels) < len(found):
        log.warning("Label maps by name, not synthesized: %s.", ", ".join(one.name for one in labels))
        found = [one for one in found if one not in labels]
    return found or ([folder] if entries else [])


def _series(path: Path, series: str | None) -> Series:
    """The MR series; a damaged file is not called by folders that were not given: they may carry the patient's name."""
    try:
        return one_series(path, "mr", selector=series, selectable=True)
    except DamagedFileError as error:
        if error.path == path:
            raise
        others: list[DamagedFileError] = []
        names = [one.without_names(error.path.name) for one in find_series(path, others)] or [error.path.name]
        shown = min(names, key=lambda name: (-name.count("..."), name))
        raise InputError(f"{shown} in {path} {error.fault}.", error.remedy) from error
