"""NIfTI, MetaImage and NRRD through SimpleITK."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from creps.errors import InputError
from creps.io.atomic import atomic_file
from creps.io.nifti import read_nifti_voxels
from creps.volume import GeometryError, Volume

if TYPE_CHECKING:
    import SimpleITK as sitk

__all__ = ["SUFFIXES", "is_volume_file", "read_header", "read_volume", "stem", "suffix", "write_volume"]

SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr")
"""File endings that are read and written."""

MAX_VOXELS = 2**31
"""A header that claims more voxels than this is taken to be broken."""


def is_volume_file(path: Path) -> bool:
    """Whether the name ends as one of the formats read here."""
    return suffix(path) != "" and not path.name.startswith(".")


def suffix(path: Path) -> str:
    """The format's ending of a file name (``.nii.gz`` is one), or an empty string."""
    name = path.name.lower()
    return next((ending for ending in SUFFIXES if name.endswith(ending)), "")


def stem(path: Path) -> str:
    """The file name without its format's ending."""
    return path.name[: len(path.name) - len(suffix(path))] if suffix(path) else path.name


def read_volume(path: Path | str) -> Volume:
    """Read a scalar 3-D volume.

    Args:
        path: A NIfTI, MetaImage or NRRD file.

    Returns:
        The volume, values as stored (rescaled where the format says so), float32.

    Raises:
        InputError: the file is missing, not readable, not 3-D, has several components, a broken
            geometry, values that are not finite, or fewer than two voxels along an axis.
    """
    path = Path(path)
    _check_path(path)
    voxels = read_nifti_voxels(path) if suffix(path) in (".nii", ".nii.gz") else None
    with _reading(path) as reader:
        if voxels is None:
            image = reader.Execute()
            while image.GetDimension() > 3:
                image = image[(slice(None),) * (image.GetDimension() - 1) + (0,)]
    try:
        volume = Volume.from_sitk(image) if voxels is None else _with_geometry(voxels, reader)
    except GeometryError as error:
        raise InputError(f"{path} has a broken geometry. {error.what}", "Correct the header.") from error
    finite = np.isfinite(volume.array)
    if not finite.all():
        raise InputError(
            f"{path} has {int((~finite).sum())} voxels that are NaN or infinite.",
            "Replace them (0 in MR, -1000 in CT) first.",
        )
    return volume


def _with_geometry(voxels: npt.NDArray[np.float32], reader: sitk.ImageFileReader) -> Volume:
    """The voxels of a file with the geometry that ITK has read from its header."""
    dimension = reader.GetDimension()
    direction = np.reshape(reader.GetDirection(), (dimension, dimension))[:3, 2::-1]
    (w, h, d), (sw, sh, sd), (x, y, z) = reader.GetSize()[:3], reader.GetSpacing()[:3], reader.GetOrigin()[:3]
    return Volume(voxels.reshape(d, h, w), (sd, sh, sw), (x, y, z), direction)


def read_header(path: Path | str) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    """Shape and spacing in mm, both along (D, H, W), of a scalar 3-D volume; its voxels are not read.

    Raises:
        InputError: as `read_volume`, as far as the header shows it.
    """
    path = Path(path)
    _check_path(path)
    with _reading(path) as reader:
        (w, h, d), (sw, sh, sd) = reader.GetSize()[:3], reader.GetSpacing()[:3]
    return (d, h, w), (sd, sh, sw)


def _check_path(path: Path) -> None:
    if not path.exists():
        raise InputError(f"{path} does not exist.", "Check the path.")
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a volume file.", "Give the file inside it.")
    if suffix(path) == "":
        raise InputError(f"{path} has an unknown file extension.", f"creps reads {', '.join(SUFFIXES)}.")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} cannot be opened (permission denied).", "Check its permissions.")


def write_volume(volume: Volume, path: Path | str, *, integer: bool = False) -> None:
    """Write a volume, whole or not at all.

    Args:
        volume: What to write.
        path: Where; the ending selects the format.
        integer: Round to int16 (HU, labels) instead of float32.

    Raises:
        InputError: the ending is not one of `SUFFIXES`, a value is not finite, or the file cannot be written.
    """
    import SimpleITK as sitk

    path = Path(path)
    if suffix(path) == "":
        raise InputError(f"{path} has an unknown file extension.", f"creps writes {', '.join(SUFFIXES)}.")
    if not np.isfinite(volume.array).all():
        raise InputError(f"{path} would hold NaN or infinite voxels.", "Replace them before writing.")
    if integer:
        rounded = volume.with_array(np.rint(volume.array).clip(-32768, 32767))
        image = sitk.Cast(rounded.to_sitk(), sitk.sitkInt16)
    else:
        image = volume.to_sitk()
    try:
        with atomic_file(path) as temporary:
            with _quiet_itk():
                sitk.WriteImage(image, str(temporary), useCompression=True)
            if suffix(path) in (".nii", ".nii.gz"):
                read_nifti_voxels(temporary)  # ITK does not notice a full disk here
    except (RuntimeError, OSError, InputError) as error:
        raise InputError(
            f"{path} cannot be written ({_reason(error)}).", "Check that the folder is writable and not full."
        ) from error


@contextmanager
def _quiet_itk() -> Iterator[None]:
    """Keep what ITK and its format libraries print off the terminal: what matters is raised here."""
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


@contextmanager
def _reading(path: Path) -> Iterator[sitk.ImageFileReader]:
    """A reader that has read and checked the header; what ITK raises becomes an InputError."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with _quiet_itk():
            reader.ReadImageInformation()
            _check_header(reader, path)
            yield reader
    except RuntimeError as error:
        if "orthonormal" in str(error).lower():
            raise InputError(
                f"{path} has a sheared orientation matrix, which is not a scanner's grid.",
                "Resample it to an orthogonal grid first.",
            ) from error
        reason = _reason(error).removeprefix("Reason: ")
        detail = "" if "No such file" in reason else f" ({reason})"  # MetaImage says so of any truncated file
        raise InputError(
            f"{path} cannot be read as an image{detail}.", "It may be truncated: copy or convert it again."
        ) from error


def _check_header(reader: sitk.ImageFileReader, path: Path) -> None:
    size, spacing = reader.GetSize(), reader.GetSpacing()
    dimension = len(size)
    while dimension > 3 and size[dimension - 1] == 1:
        dimension -= 1
    if dimension != 3:
        raise InputError(
            f"{path} has {dimension} dimensions (size {' x '.join(map(str, size))}), not 3.",
            "Give one 3-D volume per file: split a time series or echoes first.",
        )
    if reader.GetNumberOfComponents() != 1:
        raise InputError(
            f"{path} has {reader.GetNumberOfComponents()} values per voxel, not 1.",
            "Give a scalar image, not colour or a vector field.",
        )
    if min(size[:3]) < 2:
        raise InputError(
            f"{path} has size {' x '.join(map(str, size[:3]))}: a single slice is not a volume.",
            "Give the whole stack of slices.",
        )
    if int(np.prod([int(n) for n in size])) > MAX_VOXELS:
        raise InputError(
            f"{path} claims {' x '.join(map(str, size))} voxels.", "The header is probably corrupt: convert it again."
        )
    if not all(np.isfinite(s) and s > 1e-6 for s in spacing[:3]):
        raise InputError(
            f"{path} has a voxel spacing of {' x '.join(f'{s:g}' for s in spacing[:3])} mm.",
            "Spacing must be positive: correct the header.",
        )


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].removeprefix("sitk::ERROR: ").rstrip(".") if lines else type(error).__name__
