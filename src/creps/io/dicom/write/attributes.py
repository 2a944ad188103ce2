"""Attributes and file meta information that all files of one derivation share, of images and of contours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from creps.errors import InputError
from creps.io.dicom.write.derivation import MANUFACTURER, MODEL_NAME, Derivation
from creps.io.dicom.write.identity import SourceSeries
from creps.io.dicom.write.uids import IMPLEMENTATION_CLASS_UID
from creps.io.dicom.write.values import code, put_uid

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["new_object", "reference", "save", "series_number"]

SERIES_NUMBERS = 100
"""A derived series has this times the SeriesNumber of its MR, plus its place: it is listed after the MR."""

LARGEST_NUMBER = 2**31 - 1


def new_object(source: SourceSeries, derivation: Derivation, *, sop_class: str, modality: str) -> Dataset:
    """A data set with its patient, study, equipment and dates; still without series, instance and content.

    With a pseudonym, dates are left out.
    """
    from pydicom import DataElement, Dataset

    dataset = Dataset()
    for element in source.kept:  # as they are: a copy would be checked, and what was kept may break rules
        dataset[element.tag] = DataElement(element.tag, element.VR, element.value, already_converted=True)
    dataset.SOPClassUID, dataset.Modality = sop_class, modality
    dataset.SyntheticData = "YES"
    dataset.Manufacturer, dataset.ManufacturerModelName = MANUFACTURER, MODEL_NAME
    dataset.SoftwareVersions = derivation.software_versions
    equipment = [] if source.equipment is None else [source.equipment]
    equipment.append(_own_equipment(derivation, "109102", "Processing Equipment", derivation.description))
    if source.pseudonym is not None:
        equipment.append(_own_equipment(derivation, "109104", "De-identifying Equipment", "Pseudonym"))
    else:
        created = derivation.created_in(dataset.get("TimezoneOffsetFromUTC"))
        day, time = created.strftime("%Y%m%d"), created.strftime("%H%M%S.%f")
        for name in ("InstanceCreation", "Series", "Content"):
            setattr(dataset, f"{name}Date", day)
            setattr(dataset, f"{name}Time", time)
        equipment[-1].ContributionDateTime = day + time
    dataset.ContributingEquipmentSequence = equipment
    return dataset


def _own_equipment(derivation: Derivation, value: str, purpose: str, description: str) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code(value, purpose)]
    item.Manufacturer, item.ManufacturerModelName = MANUFACTURER, MODEL_NAME
    item.SoftwareVersions = derivation.software_versions
    item.ContributionDescription = description
    return item


def series_number(source: SourceSeries, place: int) -> int:
    """SeriesNumber of a derived series, by its place among those derived from one MR (1, 2, ...)."""
    number = SERIES_NUMBERS * (source.series_number or 0) + place
    return number if 0 < number <= LARGEST_NUMBER else place


def reference(sop_class: str, sop_instance: str) -> Dataset:
    """An item that refers to an instance."""
    from pydicom import Dataset

    item = Dataset()
    put_uid(item, "ReferencedSOPClassUID", sop_class)
    put_uid(item, "ReferencedSOPInstanceUID", sop_instance)
    return item


def save(dataset: Dataset, path: Path, derivation: Derivation | None, transfer_syntax: str) -> None:
    """Write a data set as a file.

    Raises:
        InputError: the file cannot be written.
    """
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(transfer_syntax)
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    if derivation is not None:
        meta.ImplementationVersionName = derivation.implementation_version
    dataset.file_meta = meta
    try:
        dataset.save_as(path, enforce_file_format=True)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror or error}).", "Check that the folder is writable and not full."
        ) from error
