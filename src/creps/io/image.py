"""Images on disk: a volume file, or a DICOM series in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from creps.errors import InputError
from creps.io.itk import geometry_remarks, is_volume_file, read_header, read_volume, stem, suffix
from creps.provenance import sha256_file
from creps.volume import Volume

if TYPE_CHECKING:
    from creps.io.dicom.read.acquisition import Acquisition
    from creps.io.dicom.read.series import Series

__all__ = ["ImageHeader", "ImageSource"]


@dataclass(frozen=True)
class ImageHeader:
    """Size and spacing of an image, known before its voxels are read.

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


@dataclass(frozen=True)
class ImageSource:
    """An image on disk: where it is, how to read it, and what records say about it.

    Attributes:
        path: A volume file, or the folder (or the multi-frame file) of a DICOM series.
        series: The series, if the image is one.
        name: What messages call it; default: the path as given.
    """

    path: Path
    series: Series | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", str(self.path))

    @classmethod
    def find(
        cls,
        path: Path | str,
        *,
        modality: str | None = None,
        selector: str | None = None,
        name: str | None = None,
    ) -> ImageSource:
        """The image at a path; of a folder, the one DICOM series in it.

        Args:
            path: A NIfTI, MetaImage or NRRD file, or a folder of DICOM files.
            modality: "mr" or "ct": ignore series of the other modality. None: accept both.
            selector: Which series of the folder, see `one_series`.
            name: What messages call the image.

        Raises:
            InputError: the folder has no series, or several and `selector` fits none of them; `selector` is given
                for a file.
        """
        path = Path(path)
        if path.is_dir():
            if any(is_volume_file(one) for one in path.iterdir()) and suffix(path):
                raise InputError(f"{path} is a folder, not a volume file.", "Give the file inside it.")
            from creps.io.dicom.read.series import one_series

            return cls(path, one_series(path, modality, name, selector), name or "")
        if selector is not None:
            raise InputError(f"{path} is not a folder of DICOM series.", "Leave the series out.")
        return cls(path, None, name or "")

    @property
    def label(self) -> str:
        """A short name for progress and for output files; never contains the patient's name or ID."""
        if self.series is None:
            return stem(self.path)
        name = self.path.stem if self.path.is_file() else self.path.resolve().name
        return self.series.modality if self.series.names_patient(name) else name

    def read(self) -> Volume:
        """Read the voxels.

        Raises:
            InputError: the image cannot be read as one volume; see `read_volume` and `read_series`.
        """
        if self.series is None:
            return read_volume(self.path)
        from creps.io.dicom.read.volume import read_series

        return read_series(self.series, self.name)

    def header(self) -> ImageHeader:
        """Size and spacing; the voxels are not read.

        Raises:
            InputError: the header cannot be read, or is not that of a 3-D scalar image.
        """
        if self.series is not None:
            return ImageHeader(self.series.shape, self.series.spacing_mm)
        return ImageHeader(*read_header(self.path))

    def sha256(self) -> str:
        """SHA-256 of the file's bytes, or over all files of the series."""
        if self.series is None:
            return sha256_file(self.path)
        from creps.io.dicom.read.series import series_sha256

        return series_sha256(self.series)

    def record(self) -> dict[str, Any]:
        """What a record says about the image: file name or number of files, hash, doubts about its geometry."""
        if self.series is None:
            remarks = geometry_remarks(self.path)
            geometry = {"geometry": [f"It {remark}." for remark in remarks]} if remarks else {}
            return {"file": self.path.name, "sha256": self.sha256(), **geometry}
        return {"dicom_files": len(self.series.files), "sha256": self.sha256()}

    def acquisition(self) -> Acquisition | None:
        """How the series was acquired according to its headers; None for a volume file.

        Raises:
            InputError: a file of the series cannot be read.
        """
        if self.series is None:
            return None
        from creps.io.dicom.read.acquisition import Acquisition

        return Acquisition.of(self.series)
