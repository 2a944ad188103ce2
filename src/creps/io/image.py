"""One entrance for images: a volume file or the folder of a DICOM series."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from creps.errors import InputError
from creps.io.dicom.read.series import Series, one_series, series_sha256
from creps.io.dicom.read.volume import read_series
from creps.io.itk import read_header, read_volume
from creps.provenance import sha256_file
from creps.volume import Volume

__all__ = ["ImageHeader", "image_header", "image_sha256", "read_image"]


@dataclass(frozen=True)
class ImageHeader:
    """What an image says of itself before its voxels are read.

    Attributes:
        shape: (D, H, W).
        spacing_mm: Along D, H, W.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    @property
    def voxels(self) -> int:
        """Number of voxels."""
        return self.shape[0] * self.shape[1] * self.shape[2]

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """Edge-to-edge size along D, H, W in mm."""
        (d, h, w), (sd, sh, sw) = self.shape, self.spacing_mm
        return d * sd, h * sh, w * sw


def read_image(
    path: Path | str,
    series: Series | None = None,
    name: str | None = None,
    wanted: str | None = None,
    *,
    modality: str | None = None,
    selectable: bool = False,
) -> Volume:
    """Read a volume file, or one DICOM series in a folder.

    Args:
        path: A NIfTI, MetaImage or NRRD file, or a folder of DICOM files.
        series: The series of the folder to read, if it is known already.
        name: What messages about a series call it.
        wanted: Which series of the folder, see `one_series`.
        modality: "mr" or "ct": the only series of the folder that count; None: either.
        selectable: Whether the caller can be told `wanted`.

    Raises:
        InputError: it cannot be read as one volume; see `read_volume` and `read_series`.
    """
    path = Path(path)
    if series is not None:
        return read_series(series, name)
    if path.is_dir():
        return read_series(one_series(path, modality, name, wanted, selectable=selectable), name)
    if wanted is not None:
        raise InputError(f"{path} is not a folder of DICOM series, so there is none to choose.", "Leave out --series.")
    return read_volume(path)


def image_header(path: Path, series: Series | None = None) -> ImageHeader:
    """Size and spacing without reading the voxels.

    Raises:
        InputError: the header cannot be read, or is not that of a 3-D scalar image.
    """
    if series is not None:
        return ImageHeader(series.shape, series.spacing_mm)
    shape, spacing_mm = read_header(path)
    return ImageHeader(shape, spacing_mm)


def image_sha256(path: Path, series: Series | None = None) -> str:
    """SHA-256 of a file's bytes, or over the files of a series."""
    return sha256_file(path) if series is None else series_sha256(series)
