"""Check before anything is computed that its results can be written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from creps.errors import InputError, OutputExistsError
from creps.io.atomic import is_writable
from creps.io.itk import SUFFIXES

__all__ = ["check_new", "check_targets"]

IMAGE_ENDINGS = (*SUFFIXES, ".gz", ".raw", ".zraw", ".img", ".hdr", ".dcm", ".ima")
"""Endings of volumes, of the voxels of a volume whose header lies beside them, and of DICOM."""


def check_new(path: Path, remedy: str, *, overwrite: bool = False) -> None:
    """Refuse to write over something.

    Args:
        path: The file or folder that is to be written.
        remedy: What the user can do instead, one sentence.
        overwrite: Whether an existing file or folder may be replaced.

    Raises:
        OutputExistsError: it exists (a broken link counts) and may not be replaced.
    """
    if not overwrite and (path.exists() or path.is_symlink()):
        raise OutputExistsError(f"{path} already exists.", remedy)


def check_targets(targets: Iterable[Path], inputs: Iterable[Path], *, overwrite: bool) -> None:
    """Refuse files of results that cannot be written or would destroy something.

    Args:
        targets: Files that are to be written.
        inputs: Files, and folders of DICOM series, that are read.
        overwrite: Whether existing files may be replaced; an input never is.

    Raises:
        InputError: a folder, an image's ending, one of the inputs, one file for two results, or a place that cannot be
            written to.
        OutputExistsError: a target exists.
    """
    inputs = list(inputs)
    taken: list[Path] = []
    for path in targets:
        if path.is_dir():
            raise InputError(f"{path} is a folder.", "Name a file.")
        source = next((one for one in inputs if _is_in(path, one)), None)
        if source is not None:
            raise InputError(f"{path} is an input of this evaluation and cannot be its output.", "Name another file.")
        if path.name.lower().endswith(IMAGE_ENDINGS):
            raise InputError(f"{path} has the extension of an image, not of a report.", "Name a .json or .csv file.")
        if any(_same(path, other) for other in taken):
            raise InputError(f"{path} is given for two outputs.", "Choose two different files.")
        check_new(path, "Add --overwrite (overwrite=True), or name another file.", overwrite=overwrite)
        _check_place(path)
        taken.append(path)


def _check_place(path: Path) -> None:
    """Refuse a file whose folder, or the nearest existing one above it, takes no new entries."""
    place = next(folder for folder in path.absolute().parents if folder.exists())
    if not place.is_dir():
        raise InputError(f"{path} cannot be written: {place} is a file, not a folder.", "Choose another location.")
    if not is_writable(place):
        raise InputError(f"{path} cannot be written: no permission to write in {place}.", "Choose another location.")


def _is_in(path: Path, source: Path) -> bool:
    """Whether a file is the source, or an existing file in the source's folder."""
    if source.is_dir():
        return path.exists() and source.resolve() in path.resolve().parents
    return _same(path, source)


def _same(path: Path, other: Path) -> bool:
    """By where they lead, whatever they are called; hard links and folders without upper case too."""
    if path.resolve() == other.resolve():
        return True
    return path.exists() and other.exists() and path.samefile(other)
