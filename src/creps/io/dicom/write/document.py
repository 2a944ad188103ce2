"""Write a PDF as DICOM, beside a written series and in its study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from creps.io.atomic import atomic_file
from creps.io.dicom.identifiers import ENCAPSULATED_PDF_STORAGE, EXPLICIT_LITTLE_ENDIAN
from creps.io.dicom.write.attributes import save
from creps.io.dicom.write.uids import new_uid

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["write_document"]

OF_STUDY = (
    "SpecificCharacterSet", "TimezoneOffsetFromUTC", "StudyDate", "StudyTime", "AccessionNumber",
    "IssuerOfAccessionNumberSequence", "ReferringPhysicianName", "StudyDescription", "PhysiciansOfRecord",
    "StudyInstanceUID", "StudyID", "Manufacturer", "ManufacturerModelName", "SoftwareVersions",
    "ContributingEquipmentSequence", "InstanceCreationDate", "InstanceCreationTime", "SeriesDate", "SeriesTime",
    "ContentDate", "ContentTime",
)  # fmt: skip

TITLE = "Report of a SYNTHETIC CT (creps)"
"""DocumentTitle and SeriesDescription."""

PATIENT_GROUPS = (0x0010, 0x0012)

AFTER_STRUCTURES = 8
"""Added to the SeriesNumber of the synthetic CT."""


def write_document(path: Path, pdf: bytes, *, like: Path) -> None:
    """Write one file of Encapsulated PDF Storage (PS3.3, A.45.1), whole or not at all.

    Its UIDs follow from the series it reports.

    Args:
        path: Where.
        pdf: The document.
        like: A slice of the series: patient, study and equipment are its.

    Raises:
        InputError: the file cannot be written.
    """
    from pydicom import dcmread

    image = dcmread(like, stop_before_pixels=True)
    dataset = _of_study(image)
    dataset.SOPClassUID, dataset.Modality = ENCAPSULATED_PDF_STORAGE, "DOC"
    dataset.SeriesInstanceUID = new_uid([image.SeriesInstanceUID], "report series")
    dataset.SOPInstanceUID = new_uid([image.SeriesInstanceUID], "report instance")
    dataset.SeriesNumber, dataset.InstanceNumber = int(image.get("SeriesNumber") or 0) + AFTER_STRUCTURES, 1
    dataset.SeriesDescription = dataset.DocumentTitle = TITLE
    dataset.ConversionType, dataset.BurnedInAnnotation = "SYN", "NO"
    for name in ("ContentDate", "ContentTime", "AcquisitionDateTime", "ConceptNameCodeSequence"):
        if name not in dataset:
            setattr(dataset, name, None)
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.EncapsulatedDocumentLength = len(pdf)
    dataset.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    with atomic_file(path) as temporary:
        save(dataset, temporary, None, EXPLICIT_LITTLE_ENDIAN)


def _of_study(image: Dataset) -> Dataset:
    from pydicom import Dataset

    dataset = Dataset()
    for element in image:
        if element.tag.group in PATIENT_GROUPS or element.keyword in OF_STUDY:
            dataset[element.tag] = element
    return dataset
