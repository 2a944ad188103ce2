"""Headers of the frames of an enhanced object, laid flat.

What an enhanced object says of a frame in nested sequences is put under the names of the attributes themselves, so
that everything after it knows one kind of slice header.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from creps.io.dicom.identifiers import MULTI_FRAME
from creps.io.dicom.read.elements import items, malformed, text

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["PHILIPS", "PHILIPS_FRAME", "SCALE", "SCALE_SLOPE", "frame_headers"]

FRAME_SEQUENCES = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
"""Where an enhanced object keeps what holds for all frames, and for each."""

SCALE = ("RescaleSlope", "RescaleIntercept")

MACROS = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "PixelValueTransformationSequence": SCALE,
    "FrameContentSequence": ("StackID", "TemporalPositionIndex"),
    "FrameAnatomySequence": ("AnatomicRegionSequence",),
    "MREchoSequence": ("EffectiveEchoTime",),
    "MRTimingAndRelatedParametersSequence": ("RepetitionTime",),
    "MRModifierSequence": ("InversionRecovery", "InversionTimes"),
    "MRDiffusionSequence": ("DiffusionBValue",),
    "MRImageFrameTypeSequence": ("FrameType",),
    "CTImageFrameTypeSequence": ("FrameType",),
}
"""Functional groups (PS3.3 C.7.6.16, C.8.13, C.8.15) and what is taken from them."""

CONVERTED = ("UnassignedSharedConvertedAttributesSequence", "UnassignedPerFrameConvertedAttributesSequence")
"""Where a legacy converted object keeps the attributes of the classic files, as they were."""

CONVERTED_NAMES = (
    "EchoTime", "RepetitionTime", "InversionTime", "ScanningSequence", "SequenceVariant", "ScanOptions",
    "SequenceName", "ImageType", "DiffusionBValue", "ProtocolName", "BodyPartExamined", "MagneticFieldStrength",
    "ContrastBolusAgent", *SCALE,
)  # fmt: skip

COMMON = (
    "Rows", "Columns", "FrameOfReferenceUID", "ImageType", "DiffusionBValue",
    "InversionRecovery", "RepetitionTime", "SliceThickness", *SCALE,
)  # fmt: skip
"""What a frame takes from the object itself where no functional group says it."""

PHILIPS = "Philips MR Imaging DD 001"
SCALE_SLOPE = (0x2005, 0x100E)
PHILIPS_FRAME = (0x2005, 0x140F)
"""Where an enhanced object of Philips keeps the private attributes of a frame."""
PRIVATE = (PHILIPS_FRAME, SCALE_SLOPE, (0x0021, 0x11FE))
"""Private attributes of a frame that are kept for their readers: Philips' scaling, Siemens' image type."""


def frame_headers(dataset: Dataset) -> list[Dataset]:
    """What each frame says; a classic file is its own only frame."""
    if text(dataset, "SOPClassUID") not in MULTI_FRAME:
        return [dataset]
    from pydicom import Dataset as Flat

    common, shared = Flat(), items(dataset, FRAME_SEQUENCES[0])
    _take(common, dataset, COMMON)
    for group in shared[:1]:
        _lay_flat(common, group)
    headers = []
    for group in items(dataset, FRAME_SEQUENCES[1]):
        header = Flat()
        header.update(common)
        _lay_flat(header, group)
        headers.append(header)
    return headers


def _lay_flat(header: Dataset, group: Dataset) -> None:
    for sequence in CONVERTED:
        for item in items(group, sequence)[:1]:
            _take(header, item, CONVERTED_NAMES)
    for sequence, names in MACROS.items():
        for item in items(group, sequence)[:1]:
            _take(header, item, names)
    for place in PRIVATE:
        if place in group:
            with malformed():
                header[place] = group[place]


def _take(header: Dataset, source: Dataset, names: tuple[str, ...]) -> None:
    for name in names:
        if name in source:
            element = source.get_item(name)  # as it lies there: what is malformed must not look absent
            header[element.tag] = element
