"""What a synthesis is given and where its results go: files and DICOM series, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from creps.errors import InputError, OutputExistsError
from creps.io.atomic import is_writable
from creps.io.dicom.read.headers import ENDINGS, DamagedFileError, is_dicom
from creps.io.dicom.read.series import Series, find_series, one_series
from creps.io.image import ImageSource
from creps.io.itk import SUFFIXES, is_volume_file, stem, suffix
from creps.io.outputs import check_new

__all__ = ["SERIES_FILES", "beside", "check_free", "find_mr", "target_paths"]

SERIES_FILES = ("record.json", "picture.png", "RS.dcm")
"""What lies in the folder of a written series beside its slices."""

SLICES = "CT.*.dcm"


def find_mr(path: Path, wanted: str | None = None) -> ImageSource:
    """The MR that an argument names.

    Args:
        path: A volume file, a folder with a DICOM series somewhere below it, or a multi-frame DICOM file.
        wanted: Which series, if there are several: its number in the list, its UID or a part of its description.

    Raises:
        InputError: there is none, or there are several series and `wanted` chooses none.
    """
    if path.is_dir():
        if any(is_volume_file(one) for one in path.iterdir()):
            raise InputError(f"{path} is a folder of volume files.", "Give the files, or a folder of DICOM alone.")
        return ImageSource(path, _series(path, wanted))
    if not path.is_file():
        raise InputError(f"{path} does not exist.", "Give MR volume files, or folders of DICOM series.")
    if suffix(path):
        if wanted is not None:
            raise InputError(f"{path} is not a DICOM series, but --series is given.", "Remove --series.")
        return ImageSource(path)
    if not is_dicom(path):
        raise InputError(
            f"{path} has an unknown file extension.", f"creps reads {', '.join(SUFFIXES)}, and folders of DICOM."
        )
    return ImageSource(path, _series(path, wanted))


def _series(path: Path, wanted: str | None) -> Series:
    """The MR series; a damaged file is not called by folders that were not given: they may carry the patient's name."""
    try:
        return one_series(path, "mr", wanted=wanted, selectable=True)
    except DamagedFileError as error:
        if error.path == path:
            raise
        others: list[DamagedFileError] = []
        names = [one.without_names(error.path.name) for one in find_series(path, others)] or [error.path.name]
        shown = min(names, key=lambda name: (-name.count("..."), name))
        raise InputError(f"{shown} in {path} {error.fault}.", error.remedy) from error


def target_paths(inputs: Sequence[ImageSource], output: Path, overwrite: bool) -> list[Path]:
    """Where the sCT of each input goes: files for files, a folder of DICOM for a DICOM series.

    Args:
        inputs: The MRs.
        output: A file if its ending says so (one input only), otherwise a folder: of one DICOM series the one that
            receives its slices.
        overwrite: Whether what creps wrote may be replaced.

    Raises:
        InputError: several inputs for one file, two inputs with one name.
        OutputExistsError: a target, its record or its picture is there already, or is an input.
    """
    if suffix(output):
        if len(inputs) != 1:
            raise InputError(
                f"{output} is a single file, but there are {len(inputs)} inputs.", "Name a folder with -o."
            )
        targets = [output]
    elif output.suffix.lower() in ENDINGS and not output.is_dir():
        raise InputError(f"{output} names a file, but the sCT of a DICOM series is a folder.", "Name a folder.")
    else:
        volumes = any(one.series is None for one in inputs)
        if output.is_file() or (volumes and output.suffix and not output.is_dir() and len(inputs) == 1):
            raise InputError(f"{output} has an unknown file extension.", f"Use {', '.join(SUFFIXES)}, or a folder.")
        targets = _in_folder(inputs, output)
    written = [path for target in targets for path in beside(target)]
    twice = next((path for path in written if written.count(path) > 1), None)
    if twice is not None:
        raise InputError(f"Two inputs have the same output {twice}.", "Synthesize them into different folders.")
    for path in written:
        check_free(path, inputs, overwrite)
    return targets


def beside(target: Path) -> list[Path]:
    """A volume file's sCT, its record and its picture, for a header also its data file; a folder is alone."""
    if not suffix(target):
        return [target]
    endings = [".json", ".png", *{".mhd": [".zraw"], ".nhdr": [".raw.gz"]}.get(suffix(target), [])]
    return [target, *(target.with_name(f"{stem(target)}{ending}") for ending in endings)]


def _in_folder(inputs: Sequence[ImageSource], output: Path) -> list[Path]:
    """A place for each input; folders that are named after patients are numbered instead."""
    if len(inputs) == 1 and inputs[0].series is not None:
        return [output.resolve()]  # of a link to a folder the folder is filled, not the link replaced
    nameless = sum(one.label == "mr" and one.series is not None for one in inputs) > 1
    targets = []
    for number, one in enumerate(inputs, start=1):
        if one.series is None:
            targets.append(output / f"{stem(one.path)}_sct{suffix(one.path)}")
        else:
            label = f"mr_{number}" if nameless and one.label == "mr" else one.label
            targets.append(output / f"{label}_sct")
    return targets


def check_free(path: Path, inputs: Sequence[ImageSource], overwrite: bool) -> None:
    """Refuse a place that cannot be written, is one of the inputs, or holds something that may not be replaced."""
    real = path.resolve()
    place = next(one for one in (real, *real.parents) if one.exists())
    if not is_writable(place if place.is_dir() else place.parent):
        raise InputError(f"Cannot write to {place}.", "Check its rights, or choose another output with -o.")
    for one in inputs:
        source = one.path.resolve()
        if real == source or (one.series is not None and (real in source.parents or source in real.parents)):
            raise OutputExistsError(f"{path} is an input MR, or contains one.", "Choose another output with -o.")
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if path.is_dir():
        shown = [file for file in path.iterdir() if not file.name.startswith(".")]
        others = [file.name for file in shown if file.name not in SERIES_FILES and not file.match(SLICES)]
        if others or not (path / SERIES_FILES[0]).is_file():
            raise OutputExistsError(
                f"{path} contains something other than an sCT ({(others or ['no record'])[0]}).",
                "Name a new folder with -o.",
            )
    check_new(path, "Add --overwrite, or choose another output with -o.", overwrite=overwrite)
    if path.is_mount():
        raise OutputExistsError(f"{path} is a mount point and cannot be replaced.", "Name a folder in it.")
