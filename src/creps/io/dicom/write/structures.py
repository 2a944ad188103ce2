"""Write masks as an RT Structure Set that refers to a written synthetic CT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from creps.errors import InputError
from creps.io.dicom.identifiers import CT_IMAGE_STORAGE, IMPLICIT_LITTLE_ENDIAN, RT_STRUCTURE_SET_STORAGE
from creps.io.dicom.write.attributes import new_object, reference, save, series_number
from creps.io.dicom.write.contours import outlines
from creps.io.dicom.write.ct import WrittenSeries
from creps.io.dicom.write.derivation import Derivation
from creps.io.dicom.write.identity import SourceSeries
from creps.io.dicom.write.uids import new_uid
from creps.io.dicom.write.values import decimal, plain, put_uid
from creps.volume import Mask, Volume

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["write_structures"]

STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"
"""Detached Study Management: retired, and still what planning systems look for in a reference to a study."""

TRANSFER_SYNTAX = IMPLICIT_LITTLE_ENDIAN
"""Explicit encoding allows 64 KiB per contour, which the outline of a body may exceed."""

OF_IMAGES = (
    "ContentDate", "ContentTime", "AcquisitionDate", "AcquisitionTime", "PatientPosition", "BodyPartExamined",
    "Laterality",
)  # fmt: skip
"""Attributes that a structure set does not have."""

POINT_PLACES = 3
"""Decimals of a contour's points in mm."""


@dataclass(frozen=True)
class _Kind:
    """How structures of a name are drawn.

    Attributes:
        interpreted: RTROIInterpretedType.
        colour: ROIDisplayColor.
        with_holes: Whether holes are cut out or filled.
        smallest_mm2: Islands and holes of a smaller area are left out.
    """

    interpreted: str
    colour: tuple[int, int, int]
    with_holes: bool
    smallest_mm2: float


KINDS = {
    "BODY": _Kind("EXTERNAL", (0, 200, 0), with_holes=False, smallest_mm2=0.0),
    "BONE": _Kind("ORGAN", (255, 220, 120), with_holes=True, smallest_mm2=10.0),
}
"""A body is filled. Bone keeps its holes: the skull's would otherwise be the whole head."""

OTHER_KIND = _Kind("ORGAN", (0, 160, 255), with_holes=True, smallest_mm2=0.0)


def write_structures(
    path: Path,
    masks: Mapping[str, Mask],
    grid: Volume,
    written: WrittenSeries,
    source: SourceSeries,
    derivation: Derivation,
) -> tuple[str, ...]:
    """Write one file of RT Structure Set Storage: closed planar contours in the planes of the synthetic CT's slices.

    A mask without any contour is left out: not every planning system reads a structure without contours.

    Args:
        path: Where.
        masks: By name (``BODY`` and ``BONE`` are known, others are drawn with their holes), each (D, H, W).
        grid: The volume that was written, for its grid.
        written: What `write_ct` returned.
        source: The same as was given to `write_ct`.
        derivation: The same as was given to `write_ct`.

    Returns:
        The names of the structures that are in the file.

    Raises:
        InputError: no mask has a contour, or the file cannot be written.
        ValueError: a mask is not on the grid, or the grid is not the one that was written.
    """
    if len(written.instance_uids) != grid.shape[0] or any(mask.shape != grid.shape for mask in masks.values()):
        raise ValueError("masks, grid and written series do not have the same shape")
    rois = {name: contours for name, mask in masks.items() if (contours := _contours(name, mask, grid, written))}
    if not rois:
        raise InputError("No structure set can be written: none of the masks has a contour.", "Check the images.")
    dataset = new_object(source, derivation, sop_class=RT_STRUCTURE_SET_STORAGE, modality="RTSTRUCT")
    entropy = None if derivation.uid_entropy is None else [*derivation.uid_entropy, written.series_uid, *rois]
    dataset.SOPInstanceUID = new_uid(entropy, "structures instance")
    dataset.SeriesInstanceUID = new_uid(entropy, "structures series")
    dataset.SeriesNumber, dataset.InstanceNumber = series_number(source, 2), 1
    dataset.SeriesDescription = plain(f"Contours of a SYNTHETIC CT (creps {derivation.version})", 64)
    dataset.StructureSetDate, dataset.StructureSetTime = dataset.get("SeriesDate"), dataset.get("SeriesTime")
    for name in OF_IMAGES:
        dataset.pop(name, None)
    dataset.OperatorsName = None
    dataset.ApprovalStatus = "UNAPPROVED"
    _structure_set(dataset, list(rois), source.frame_uid, derivation)
    dataset.ReferencedFrameOfReferenceSequence = [_frame(source, written)]
    dataset.ROIContourSequence = [
        _roi_contour(number, name, contours) for number, (name, contours) in enumerate(rois.items(), start=1)
    ]
    dataset.RTROIObservationsSequence = [_observation(number, name) for number, name in enumerate(rois, start=1)]
    save(dataset, path, derivation, TRANSFER_SYNTAX)
    return tuple(rois)


def _contours(name: str, mask: Mask, grid: Volume, written: WrittenSeries) -> list[Dataset]:
    """The items of ContourSequence."""
    from pydicom import DataElement, Dataset

    kind = KINDS.get(name, OTHER_KIND)
    pixel_mm2 = grid.spacing_mm[1] * grid.spacing_mm[2]
    items: list[Dataset] = []
    for index in np.flatnonzero(mask.any(axis=(1, 2))).tolist():
        for ring in outlines(mask[index], with_holes=kind.with_holes, smallest=kind.smallest_mm2 / pixel_mm2):
            points = grid.to_patient_mm(np.column_stack([np.full(len(ring), index), ring]))
            item = Dataset()
            item.ContourImageSequence = [reference(CT_IMAGE_STORAGE, written.instance_uids[index])]
            item.ContourGeometricType = "CLOSED_PLANAR"
            item.NumberOfContourPoints = len(points)
            item.ContourNumber = len(items) + 1
            text = "\\".join(decimal(number, POINT_PLACES) for number in points.ravel().tolist())
            item["ContourData"] = DataElement(0x30060050, "DS", text, already_converted=True)
            items.append(item)
    return items


def _structure_set(dataset: Dataset, names: Sequence[str], frame_uid: str, derivation: Derivation) -> None:
    from pydicom import Dataset

    dataset.StructureSetLabel = "creps sCT"
    dataset.StructureSetName = "Contours of a SYNTHETIC CT, not for diagnosis"
    dataset.StructureSetDescription = plain(
        f"{derivation.comments} Drawn by program and not approved. BODY: holes filled. Others: holes cut out by"
        " channels without width (keyholes). BONE: islands and holes below"
        f" {KINDS['BONE'].smallest_mm2:g} mm2 left out.",
        1024,
        single_value=False,
    )
    items: list[Dataset] = []
    for number, name in enumerate(names, start=1):
        item = Dataset()
        item.ROINumber, item.ROIName = number, plain(name, 64)
        put_uid(item, "ReferencedFrameOfReferenceUID", frame_uid)
        item.ROIGenerationAlgorithm = "AUTOMATIC"
        items.append(item)
    dataset.StructureSetROISequence = items


def _frame(source: SourceSeries, written: WrittenSeries) -> Dataset:
    """Frame of reference, study and series that the contours lie in."""
    from pydicom import Dataset

    series = Dataset()
    series.SeriesInstanceUID = written.series_uid
    series.ContourImageSequence = [reference(CT_IMAGE_STORAGE, uid) for uid in written.instance_uids]
    study = reference(STUDY_CLASS, source.study_uid)
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    put_uid(frame, "FrameOfReferenceUID", source.frame_uid)
    frame.RTReferencedStudySequence = [study]
    return frame


def _roi_contour(number: int, name: str, contours: list[Dataset]) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    item.ROIDisplayColor = list(KINDS.get(name, OTHER_KIND).colour)
    item.ReferencedROINumber = number
    item.ContourSequence = contours
    return item


def _observation(number: int, name: str) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    item.ObservationNumber = item.ReferencedROINumber = number
    item.ROIObservationLabel = plain(name, 16)
    item.RTROIInterpretedType = KINDS.get(name, OTHER_KIND).interpreted
    item.ROIInterpreter = None
    return item
