"""Write a synthetic CT as a series of CT Image Storage, one file per slice."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from creps import hu
from creps.errors import InputError
from creps.io.dicom.identifiers import CT_IMAGE_STORAGE, EXPLICIT_LITTLE_ENDIAN
from creps.io.dicom.write.attributes import new_object, reference, save, series_number
from creps.io.dicom.write.body_parts import ensure_body_part
from creps.io.dicom.write.derivation import Derivation
from creps.io.dicom.write.identity import SourceSeries
from creps.io.dicom.write.uids import new_uid
from creps.io.dicom.write.values import code, decimal, decimals, plain, put_uid
from creps.volume import Volume

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["SCT", "SeriesKind", "WrittenSeries", "write_ct"]

log = logging.getLogger(__name__)

DIRECTION_PLACES = 10
"""Decimals of direction cosines and spacings."""

POSITION_PLACES = 6
"""Decimals of positions in mm."""


@dataclass(frozen=True)
class SeriesKind:
    """What tells one series of HU from another.

    Attributes:
        role: Enters the UIDs.
        image_type: ImageType.
        description: SeriesDescription; the version of creps is added.
        place: Among the series made of an MR, from 1.
        letters: File names begin with these.
        windows: Explanation, centre and width in HU.
        remark: Goes before the comments of the derivation.
    """

    role: str
    image_type: tuple[str, ...]
    description: str
    place: int
    letters: str
    windows: tuple[tuple[str, int, int], ...]
    remark: str = ""


SCT = SeriesKind(
    role="ct",
    image_type=("DERIVED", "SECONDARY", "AXIAL"),
    description="SYNTHETIC CT from MR",
    place=1,
    letters="CT",
    windows=(("SOFT TISSUE", 40, 400), ("BONE", 500, 2000)),
)
"""The synthetic CT itself."""


@dataclass(frozen=True)
class WrittenSeries:
    """A synthetic CT that was written.

    Attributes:
        series_uid: Its SeriesInstanceUID.
        instance_uids: SOPInstanceUID of each slice, in the order of the volume's array.
        files: Its files in the order of InstanceNumber.
    """

    series_uid: str
    instance_uids: tuple[str, ...]
    files: tuple[Path, ...]


def write_ct(
    folder: Path, sct: Volume, source: SourceSeries, derivation: Derivation, kind: SeriesKind = SCT
) -> WrittenSeries:
    """Write ``CT.0001.dcm``, ``CT.0002.dcm``, ... into a folder.

    Values outside `hu.STORED_RANGE` are clipped, with a warning.

    Slices are numbered along row direction x column direction, whichever way the array runs: a left-handed volume is
    written from its last slice to its first, and no voxel moves in the patient.

    Args:
        folder: Where; it is made if it is not there. Give a fresh one.
        sct: In HU, on any grid with orthogonal axes; values are rounded.
        source: The MR it was made from.
        derivation: How.
        kind: What tells it from other series of HU on the same grid.

    Raises:
        InputError: a value is not finite, a plane is too large for DICOM, or a file cannot be written.
    """
    if not np.isfinite(sct.array).all():
        raise InputError(
            "The synthetic CT has values that are NaN or infinite.", "This is a bug in creps; please report it."
        )
    if max(sct.shape) > 2**16 - 1:
        raise InputError(
            f"A synthetic CT of {' x '.join(map(str, sct.shape))} voxels does not fit DICOM.", "Choose a coarser grid."
        )
    entropy = _entropy(sct, source, derivation)
    series_uid = new_uid(entropy, f"{kind.role} series")
    dataset = _template(sct, source, derivation, kind)
    dataset.SeriesInstanceUID = series_uid
    normal = np.cross(sct.direction[:, 2], sct.direction[:, 1])
    ascending = float(normal @ sct.direction[:, 0]) > 0
    order = range(sct.shape[0]) if ascending else range(sct.shape[0] - 1, -1, -1)
    uids, files, clipped = [""] * sct.shape[0], [], 0
    folder.mkdir(parents=True, exist_ok=True)
    for number, index in enumerate(order, start=1):
        position = sct.to_patient_mm([index, 0, 0])
        uids[index] = new_uid(entropy, f"{kind.role} instance", str(number))
        dataset.SOPInstanceUID, dataset.InstanceNumber = uids[index], number
        dataset.ImagePositionPatient = decimals(position, POSITION_PLACES)
        dataset.SliceLocation = decimal(float(position @ normal), POSITION_PLACES)
        dataset.PixelData, outside = _stored(sct.array[index])
        clipped += outside
        files.append(folder / f"{kind.letters}.{number:04d}.dcm")
        save(dataset, files[-1], derivation, EXPLICIT_LITTLE_ENDIAN)
    if clipped:
        low, high = hu.STORED_RANGE
        log.warning("%d voxels were outside %d to %d HU and were clipped.", clipped, low, high)
    return WrittenSeries(series_uid, tuple(uids), tuple(files))


def _entropy(sct: Volume, source: SourceSeries, derivation: Derivation) -> list[str] | None:
    """What the UIDs come from, if not from chance: never the same for another MR, model or grid."""
    if derivation.uid_entropy is None:
        return None
    grid = [sct.shape, sct.spacing_mm, sct.origin_mm, sct.direction.tolist()]
    made = [derivation.version, derivation.weights_sha256, derivation.region, derivation.recipe, derivation.grid]
    return [*derivation.uid_entropy, source.series_uid, *made, *map(str, grid)]


def _stored(plane_hu: npt.NDArray[np.float32]) -> tuple[bytes, int]:
    """Stored values of a plane, rounded to whole HU, and how many of them were clipped."""
    low, high = hu.STORED_RANGE
    rounded = np.rint(plane_hu)
    outside = int(np.count_nonzero((rounded < low) | (rounded > high)))
    stored = (rounded.clip(low, high) - low).astype("<u2").tobytes()
    return stored + b"\0" * (len(stored) % 2), outside


def _template(sct: Volume, source: SourceSeries, derivation: Derivation, kind: SeriesKind) -> Dataset:
    """All that the slices have in common."""
    dataset = new_object(source, derivation, sop_class=CT_IMAGE_STORAGE, modality="CT")
    dataset.ImageType = list(kind.image_type)
    dataset.SeriesDescription = plain(f"{kind.description} (creps {derivation.version})", 64)
    dataset.SeriesNumber = series_number(source, kind.place)
    dataset.AcquisitionNumber = None
    dataset.KVP = None
    ensure_body_part(dataset, derivation.region)
    dataset.ImageComments = f"{kind.remark} {derivation.comments}".strip()
    dataset.BurnedInAnnotation, dataset.LossyImageCompression = "NO", "01" if source.lossy else "00"
    _put_derivation(dataset, source, derivation)
    _plane(dataset, sct)
    _pixels(dataset, sct, kind)
    return dataset


def _put_derivation(dataset: Dataset, source: SourceSeries, derivation: Derivation) -> None:
    """From which instances, and how.

    The network looks at the whole volume, so every slice has every instance of the MR as a source.
    """
    from pydicom import Dataset

    dataset.DerivationDescription = derivation.description
    dataset.DerivationCodeSequence = [
        code("123110", "Artificial Intelligence"),
        code("113085", "Spatial resampling"),
    ]
    images = [reference(*instance) for instance in source.instances]
    for image in images:
        image.PurposeOfReferenceCodeSequence = [code("121322", "Source image for image processing operation")]
    dataset.SourceImageSequence = images
    series = Dataset()
    put_uid(series, "SeriesInstanceUID", source.series_uid)
    series.ReferencedInstanceSequence = [reference(*instance) for instance in source.instances]
    dataset.ReferencedSeriesSequence = [series]


def _plane(dataset: Dataset, sct: Volume) -> None:
    """Orientation and distances; lengths of direction columns that are not quite 1 go into the distances."""
    lengths = np.linalg.norm(sct.direction, axis=0)
    distance, rows, columns = (float(s) for s in np.asarray(sct.spacing_mm) * lengths)
    cosines = np.concatenate([sct.direction[:, 2] / lengths[2], sct.direction[:, 1] / lengths[1]])
    dataset.ImageOrientationPatient = decimals(cosines, DIRECTION_PLACES)
    dataset.PixelSpacing = decimals([rows, columns], DIRECTION_PLACES)
    dataset.SliceThickness = dataset.SpacingBetweenSlices = decimal(distance, DIRECTION_PLACES)


def _pixels(dataset: Dataset, sct: Volume, kind: SeriesKind) -> None:
    _, dataset.Rows, dataset.Columns = sct.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.RescaleIntercept, dataset.RescaleSlope = str(hu.STORED_RANGE[0]), "1"
    dataset.RescaleType = "HU"
    names, centres, widths = zip(*kind.windows, strict=True)
    dataset.WindowCenterWidthExplanation = list(names)
    dataset.WindowCenter, dataset.WindowWidth = [str(c) for c in centres], [str(w) for w in widths]
