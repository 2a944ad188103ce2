"""The slices of a DICOM file: a classic file holds one, an enhanced object many frames."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from creps.errors import InputError
from creps.io.dicom.identifiers import CLASSIC, MULTI_FRAME
from creps.io.dicom.read.elements import (
    MalformedDicomError,
    floats,
    private,
    tagged,
    text,
    value,
    whole,
    words,
)
from creps.io.dicom.read.faults import no_valid, unreadable
from creps.io.dicom.read.functional_groups import PHILIPS, PHILIPS_FRAME, SCALE, SCALE_SLOPE
from creps.io.dicom.read.geometry import SliceGeometry
from creps.io.dicom.read.headers import FileHeader

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["Frame", "Instance", "loss_of", "patient_of"]

LARGEST_SIDE = 8192
"""Largest number of rows or columns: no scanner writes more."""


@dataclass(frozen=True)
class Frame:
    """One slice, without its pixels.

    Attributes:
        geometry: Where it lies.
        slope: RescaleSlope, if there is one.
        intercept: RescaleIntercept, if there is one.
        scale_slope: Philips' private scale slope, if there is one.
    """

    geometry: SliceGeometry
    slope: float | None
    intercept: float | None
    scale_slope: float | None

    @classmethod
    def of(cls, header: Dataset, label: str) -> Frame:
        """Read it from a file's or a frame's header.

        Raises:
            InputError: geometry or rescaling is absent or malformed.
        """
        slope, intercept = (_number(header, name, label) for name in SCALE)
        if slope == 0:
            raise no_valid("RescaleSlope", label)
        return cls(SliceGeometry.of(header, label), slope, intercept, _scale_slope(header))


@dataclass(frozen=True)
class Instance:
    """One file of a series, without its pixels.

    Attributes:
        header: The file's header.
        kind: SOPClassUID.
        uid: SOPInstanceUID.
        study: StudyInstanceUID.
        patient: PatientID, PatientName and PatientBirthDate.
        philips: Whether Philips made it.
        loss: How it was compressed with loss; empty if it was not.
        frames: Its slices, in the order of its pixels.
    """

    header: FileHeader
    kind: str
    uid: str
    study: str
    patient: tuple[str, str, str]
    philips: bool
    loss: str
    frames: tuple[Frame, ...]

    @classmethod
    def of(cls, header: FileHeader, label: str) -> Instance:
        """Take it from a file's header.

        Raises:
            InputError: the file is of a kind that makes no volume, or says too little of its slices.
        """
        dataset = header.dataset
        kind = text(dataset, "SOPClassUID")
        _check_kind(dataset, kind, label)
        try:
            slices = header.slices
        except MalformedDicomError as error:
            raise unreadable(label, error) from error
        _check_size(dataset, kind, len(slices), label)
        return cls(
            header=header,
            kind=kind,
            uid=text(dataset, "SOPInstanceUID"),
            study=text(dataset, "StudyInstanceUID"),
            patient=patient_of(dataset),
            philips="PHILIPS" in text(dataset, "Manufacturer").upper(),
            loss=loss_of(dataset),
            frames=tuple(Frame.of(one, label) for one in slices),
        )


def _check_kind(dataset: Dataset, kind: str, label: str) -> None:
    """Refuse what is no grey image of one slice per file or frame."""
    samples = whole(dataset, "SamplesPerPixel", 1)
    grey = not {"RGB", "PALETTE COLOR"} & set(words(dataset, "PhotometricInterpretation"))
    if samples is None or samples < 1:
        raise no_valid("SamplesPerPixel", label)
    if samples > 1 or not grey:
        raise InputError(
            f"{label} has {max(samples, 3)} values per pixel (colour).", "Give the original CT or MR series."
        )
    if "MOSAIC" in words(dataset, "ImageType"):
        raise InputError(
            f"{label} is a mosaic: each image shows many slices side by side.",
            "Export it as enhanced multi-frame DICOM, or with one slice per file.",
        )
    if kind in CLASSIC and whole(dataset, "NumberOfFrames", 1) != 1:
        raise InputError(
            f"{label} has a file of several frames that does not say where each lies (no enhanced"
            f" {CLASSIC[kind].upper()}).",
            "Export it as enhanced multi-frame DICOM, or with one slice per file.",
        )


def _check_size(dataset: Dataset, kind: str, described: int, label: str) -> None:
    """Refuse sizes that cannot be, before memory is taken for them."""
    if kind in MULTI_FRAME and (described != whole(dataset, "NumberOfFrames", 1) or not described):
        claimed = whole(dataset, "NumberOfFrames", 1)
        raise InputError(
            f"{label} has a multi-frame file that describes {described} frames and claims"
            f" {'an unknown number' if claimed is None else claimed}.",
            "Export it again.",
        )
    for name in ("Rows", "Columns"):
        number = whole(dataset, name, 0)
        if number is None or number < 1:
            raise no_valid(name, label)
        if number > LARGEST_SIDE:
            raise InputError(f"{label} has a slice that claims {number} {name.lower()}.", "Copy or export it again.")


def patient_of(dataset: Dataset) -> tuple[str, str, str]:
    """Whose it is: ID, name as it is compared, birth date."""
    name = text(dataset, "PatientName").rstrip("^= ").casefold()
    return text(dataset, "PatientID"), name, text(dataset, "PatientBirthDate")


def loss_of(dataset: Dataset) -> str:
    """How its pixels were compressed with loss, now or once; empty if they were not."""
    from pydicom import uid

    meta = getattr(dataset, "file_meta", None)
    named = None if meta is None else value(meta, "TransferSyntaxUID")
    syntax = named if isinstance(named, uid.UID) else None  # a spoilt one may be a list
    flag = text(dataset, "LossyImageCompression")
    lossy = {uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless, uid.JPEG2000}
    if flag == "01" or (syntax in lossy and (flag != "00" or syntax not in {uid.JPEGLSNearLossless, uid.JPEG2000})):
        return f"as {syntax.name}" if syntax in lossy else "before it was stored"
    return ""


def _number(header: Dataset, name: str, label: str) -> float | None:
    number = floats(header, name, 1)
    if number is not None and np.isfinite(number[0]):
        return number[0]
    if name in header and header.get_item(name).value not in (None, b"", ""):
        raise no_valid(name, label)
    return None


def _scale_slope(header: Dataset) -> float | None:
    """Philips' scale slope of a classic file, of a frame or of a frame's private group."""
    for place in [header, *_private_items(header)]:
        found = private(place, SCALE_SLOPE[0], PHILIPS, SCALE_SLOPE[1] & 0xFF)
        if found is None and (SCALE_SLOPE[0], 0x0010) not in place:  # the creator got lost
            found = tagged(place, SCALE_SLOPE)
        number = _single(found)
        if number is not None:
            return number
    return None


def _private_items(header: Dataset) -> list[Dataset]:
    from pydicom import Sequence

    found = tagged(header, PHILIPS_FRAME)
    return list(found) if isinstance(found, Sequence) else []


def _single(found: Any) -> float | None:
    """A positive number, whatever it is stored as."""
    try:
        if isinstance(found, bytes):
            found = struct.unpack("<f", found)[0]
        number = float(found)
    except (struct.error, TypeError, ValueError, OverflowError):
        return None
    return number if np.isfinite(number) and number > 0 else None
