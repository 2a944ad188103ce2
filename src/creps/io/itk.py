"""Volume files: NIfTI read by `creps.io.nifti`; MetaImage and NRRD, and all that is written, through SimpleITK."""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from creps.errors import InputError
from creps.io.atomic import atomic_file, move
from creps.io.nifti import NiftiHeader, read_nifti_header, read_nifti_voxels
from creps.io.placement import Affine, orthogonal, placement
from creps.io.stored import check_stored
from creps.io.text_headers import check_text_header, with_data_file
from creps.io.unfinished import destination
from creps.io.utf8 import utf8_path
from creps.volume import GeometryError, Volume

if TYPE_CHECKING:
    import SimpleITK as sitk

__all__ = [
    "SUFFIXES",
    "geometry_remarks",
    "is_volume_file",
    "read_header",
    "read_volume",
    "stem",
    "suffix",
    "write_volume",
]

log = logging.getLogger(__name__)

SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr")
"""File endings that are read and written."""

HEADER_FAULTS = ("HeaderCheck", "FieldCheck", "Parse", "couldn't parse")
"""What NRRD's errors of a header are called."""

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
    try:
        volume = _read_nifti(path) if _is_nifti(path) else _read_with_itk(path)
    except GeometryError as error:
        raise InputError(f"{path} has a broken geometry. {error.what}", "Correct the header.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}).", "Copy it again.") from error
    finite = np.isfinite(volume.array)
    if not finite.all():
        raise InputError(
            f"{path} has {int((~finite).sum())} voxels that are NaN or infinite.",
            "Replace them (0 in MR, -1000 in CT) first.",
        )
    return volume


def geometry_remarks(path: Path | str) -> list[str]:
    """What the header leaves out or contradicts about the geometry, one sentence each, to follow the file's name.

    Raises:
        InputError: as `read_header`.
    """
    path = Path(path)
    _check_path(path)
    if _is_nifti(path):
        header = read_nifti_header(path)
        _check_size(path, header.shape, header.shape)
        return list(placement(header, str(path)).remarks)
    return check_text_header(path)


def _is_nifti(path: Path) -> bool:
    return suffix(path) in (".nii", ".nii.gz")


def _read_nifti(path: Path) -> Volume:
    header = read_nifti_header(path)
    _check_size(path, header.shape, header.shape)
    voxels, header = read_nifti_voxels(path)
    placed = placement(header, str(path))
    for remark in placed.remarks:
        log.warning("%s %s.", path, remark)
    return _placed(voxels, np.diag([-1.0, -1.0, 1.0, 1.0]) @ placed.affine)


def _read_with_itk(path: Path) -> Volume:
    remarks = check_text_header(path) + check_stored(path)
    with _reading(path) as reader:
        image = reader.Execute()
        while image.GetDimension() > 3:
            image = image[(slice(None),) * (image.GetDimension() - 1) + (0,)]
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3))
    if not np.allclose(np.linalg.norm(affine[:3, :3], axis=0), 1, atol=1e-3):
        raise GeometryError("The columns of its orientation do not have the length 1.", "Correct it.")
    affine[:3, :3] *= image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    affine = orthogonal(affine, image.GetSize(), str(path), "orientation", remarks)
    for remark in remarks:
        log.warning("%s %s.", path, remark)
    import SimpleITK as sitk

    return _placed(sitk.GetArrayViewFromImage(image).astype(np.float32), affine)


def _placed(voxels: npt.NDArray[np.float32], affine: Affine) -> Volume:
    """The voxels (D, H, W) on the grid whose index (i, j, k) `affine` maps to LPS."""
    i, j, k = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    x, y, z = affine[:3, 3].tolist()
    return Volume(voxels, (k, j, i), (x, y, z), affine[:3, 2::-1] / (k, j, i))


def read_header(path: Path | str) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    """Shape and spacing in mm, both along (D, H, W), of a scalar 3-D volume; its voxels are not read.

    Raises:
        InputError: as `read_volume`, as far as the header shows it.
    """
    path = Path(path)
    _check_path(path)
    if _is_nifti(path):
        return _nifti_grid(read_nifti_header(path), path)
    check_text_header(path)
    with _reading(path) as reader:
        (w, h, d), (sw, sh, sd) = reader.GetSize()[:3], reader.GetSpacing()[:3]
    return (d, h, w), (sd, sh, sw)


def _nifti_grid(header: NiftiHeader, path: Path) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    _check_size(path, header.shape, header.shape)
    w, h, d = header.shape
    sw, sh, sd = np.linalg.norm(placement(header, str(path)).affine[:3, :3], axis=0).tolist()
    return (d, h, w), (sd, sh, sw)


def _check_path(path: Path) -> None:
    if not path.exists():
        raise InputError(f"{path} does not exist.", "Check the path.")
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a volume file.", "Give the file inside it.")
    if not path.is_file():
        raise InputError(f"{path} is a pipe or a device, not a volume file.", "Copy the volume to a file.")
    if suffix(path) == "":
        raise InputError(f"{path} has an unknown file extension{_known(path)}.", f"creps reads {', '.join(SUFFIXES)}.")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} cannot be opened (permission denied).", "Check its permissions.")


def _known(path: Path) -> str:
    """What is known of an ending that is not read."""
    ending = path.suffix.lower()
    if ending in (".hdr", ".img"):
        return " (one half of a NIfTI or Analyze pair: convert both to one .nii.gz)"
    return " (decompress it first)" if ending in (".bz2", ".xz", ".zst", ".zip", ".7z", ".gz") else ""


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
            lower = temporary.with_name(stem(temporary) + suffix(temporary))  # ITK knows endings in small letters only
            with _quiet_itk(), utf8_path(lower) as name:
                sitk.WriteImage(image, name, useCompression=True)
            if lower != temporary:
                move(lower, temporary)
            if suffix(path) in (".nii", ".nii.gz"):
                read_nifti_voxels(temporary)  # ITK does not notice a full disk here
    except (RuntimeError, OSError, InputError) as error:
        reason = "what was written is not whole" if isinstance(error, InputError) else _reason(error)
        raise InputError(
            f"{destination(path)} cannot be written ({reason}).", "Check that the folder is writable and not full."
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
    reader.SetImageIO("NrrdImageIO" if suffix(path) in (".nrrd", ".nhdr") else "MetaImageIO")
    try:
        with with_data_file(path) as readable, _quiet_itk(), utf8_path(readable) as name:
            reader.SetFileName(name)
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
        if "bzip2" in reason:
            raise InputError(
                f"{path} is compressed with bzip2, which creps does not read.", "Write it with gzip."
            ) from error
        if any(word in reason for word in HEADER_FAULTS):
            raise InputError(
                f"{path} has a header that cannot be read ({reason}).", "Correct its header, or convert it again."
            ) from error
        system = {os.strerror(code) for code in (0, 2)}  # MetaImage says one of these of any truncated file
        detail = "" if reason in system else f" ({reason})"
        raise InputError(
            f"{path} cannot be read as an image{detail}.", "It may be truncated: copy or convert it again."
        ) from error


def _check_header(reader: sitk.ImageFileReader, path: Path) -> None:
    size, spacing = reader.GetSize(), reader.GetSpacing()
    if reader.GetNumberOfComponents() != 1:
        raise InputError(
            f"{path} has {reader.GetNumberOfComponents()} values per voxel, not 1.",
            "Give a scalar image, not colour, a vector field or several frames.",
        )
    shape = list(size)
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    _check_size(path, shape, size)
    if not all(np.isfinite(s) and s > 1e-6 for s in spacing[:3]):
        raise InputError(
            f"{path} has a voxel spacing of {' x '.join(f'{s:g}' for s in spacing[:3])} mm.",
            "Spacing must be positive: correct the header.",
        )


def _check_size(path: Path, shape: Sequence[int], size: Sequence[int]) -> None:
    """Refuse what is no 3-D volume; `shape` is `size` without trailing axes of length 1."""
    if len(shape) != 3:
        remedy = "split a time series or echoes first" if len(shape) > 3 else "stack the slices first"
        raise InputError(
            f"{path} has {len(shape)} dimensions (size {' x '.join(map(str, size))}), not 3.",
            f"Give one 3-D volume per file: {remedy}.",
        )
    if min(shape) < 2:
        raise InputError(
            f"{path} has size {' x '.join(map(str, shape))}: a single slice is not a volume.",
            "Give the whole stack of slices.",
        )
    if math.prod(size) > MAX_VOXELS:
        raise InputError(
            f"{path} claims {' x '.join(map(str, size))} voxels.", "The header is probably corrupt: convert it again."
        )


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].removeprefix("sitk::ERROR: ").rstrip(".") if lines else type(error).__name__
