"""Write a comparison: JSON, dose volumes and pictures, all together or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from creps.dose.compare import DoseComparison
from creps.dose.document import FILE, PICTURES
from creps.dose.figures import dose_figures
from creps.errors import InputError
from creps.io.atomic import atomic_folder, is_writable, write_json
from creps.io.itk import write_volume
from creps.io.outputs import check_new
from creps.io.picture import write_picture

__all__ = ["FILES", "check_output", "write_comparison"]

FILES = (FILE, "dose_ct.nii.gz", "dose_sct.nii.gz", *(f"{name}.png" for name in PICTURES))
"""What a comparison consists of."""


def check_output(folder: Path, inputs: Iterable[Path] = (), *, overwrite: bool = False) -> None:
    """Refuse to write over something; asked before anything is computed.

    Args:
        folder: The folder that is to be made.
        inputs: Files and folders that are read; the folder must hold none of them.
        overwrite: Whether an earlier comparison may be replaced; nothing else ever is.

    Raises:
        OutputExistsError: something is there and may not be replaced.
        InputError: what is there is no comparison, or holds other files as well, or the place cannot be written to.
    """
    for one in inputs:
        if folder.resolve() in (one.resolve(), *one.resolve().parents):
            raise InputError(f"{folder} holds the input {one} and cannot be the output.", "Name another folder.")
    check_new(folder, "Add --overwrite (overwrite=True), or name another folder.", overwrite=overwrite)
    if folder.exists() and not (folder.is_dir() and all(one.name in FILES for one in folder.iterdir())):
        raise InputError(f"{folder} holds other things than a dose comparison.", "Name another folder.")
    place = next(one for one in folder.absolute().parents if one.exists())
    if not place.is_dir() or not is_writable(place):
        raise InputError(f"{folder} cannot be written: {place} takes no new entries.", "Choose another location.")


def write_comparison(result: DoseComparison, folder: Path, *, overwrite: bool = False) -> Path:
    """Write ``dose.json``, ``dose_ct.nii.gz``, ``dose_sct.nii.gz`` and pictures.

    Args:
        result: The comparison.
        folder: The folder to make.
        overwrite: Replace what an earlier comparison wrote there.

    Raises:
        OutputExistsError: something is there and may not be replaced.
    """
    check_output(folder, overwrite=overwrite)
    pictures = dose_figures(result)
    with atomic_folder(folder) as building:
        write_json(building / FILE, result.document.model_dump(mode="json"))
        write_volume(result.ct_dose, building / "dose_ct.nii.gz")
        write_volume(result.sct_dose, building / "dose_sct.nii.gz")
        for name, picture in pictures.items():
            write_picture(picture, building / f"{name}.png")
    return folder
