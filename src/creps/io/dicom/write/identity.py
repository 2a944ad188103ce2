"""`SourceSeries`: what an MR series passes on to the DICOM objects derived from it."""

from __future__ import annotations

import copy
import re
import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from creps.errors import InputError
from creps.io.dicom.read.agreement import check_one_patient
from creps.io.dicom.read.elements import value, whole
from creps.io.dicom.read.frames import loss_of, patient_of
from creps.io.dicom.read.series import Series
from creps.io.dicom.write.body_parts import copy_body_part
from creps.io.dicom.write.charsets import keep_texts
from creps.io.dicom.write.pseudonym import pseudonymous, replaced_uid
from creps.io.dicom.write.values import code, is_valid, single

if TYPE_CHECKING:
    from pydicom import DataElement, Dataset

__all__ = ["SourceSeries"]

EXACT = ("PatientName", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID")
"""Copied unchanged, even if malformed: a changed value would identify another patient."""

EMPTY_IF_INVALID = (
    "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID",
    "PositionReferenceIndicator", "PatientPosition",
)  # fmt: skip
"""Must be present, may be empty (type 2)."""

ABSENT_IF_INVALID = (
    "TimezoneOffsetFromUTC", "IssuerOfPatientID", "TypeOfPatientID", "IssuerOfPatientIDQualifiersSequence",
    "PatientBirthTime", "OtherPatientIDsSequence", "OtherPatientNames", "PatientAge", "PatientSize", "PatientWeight",
    "EthnicGroup", "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified", "IssuerOfAccessionNumberSequence", "StudyDescription",
    "PhysiciansOfRecord", "ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID", "ClinicalTrialSiteName", "ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID",
    "ClinicalTrialTimePointID", "ClinicalTrialTimePointDescription", "AcquisitionDate", "AcquisitionTime",
)  # fmt: skip
"""Optional (type 3, or part of an optional module)."""

RETIRED_IDS = "OtherPatientIDs"
"""Written as OtherPatientIDsSequence, which replaced it in the standard."""

EQUIPMENT = (
    "Manufacturer", "InstitutionName", "StationName", "InstitutionalDepartmentName", "ManufacturerModelName",
    "DeviceSerialNumber", "SoftwareVersions",
)  # fmt: skip
"""Of the scanner."""

MALFORMED = (
    ValueError, TypeError, LookupError, ArithmeticError, EOFError, NotImplementedError, RecursionError, struct.error,
)  # fmt: skip
"""What pydicom raises for values that it cannot convert."""

UID = re.compile(r"(?=.{1,64}$)[0-9]+(\.[0-9]+)*")
"""Leading zeros, which the standard forbids, are common."""


@dataclass(frozen=True, eq=False)
class SourceSeries:
    """The patient, the study, the frame of reference and the instances that something was made from.

    Attributes:
        kept: Attributes copied unchanged, with their character set.
        equipment: The scanner as an item of ContributingEquipmentSequence.
        series_uid: SeriesInstanceUID of the MR.
        series_number: Its SeriesNumber.
        instances: SOP class and instance UID of each file.
        pseudonym: The patient's pseudonym in a de-identified export; None otherwise.
        lossy: Whether the MR was ever compressed with loss; every derived object records this.
    """

    kept: Dataset = field(repr=False)
    equipment: Dataset | None = field(repr=False)
    series_uid: str = field(repr=False)
    series_number: int | None
    instances: tuple[tuple[str, str], ...] = field(repr=False)
    pseudonym: str | None = None
    lossy: bool = False

    @classmethod
    def of(cls, series: Series) -> SourceSeries:
        """Read it from the headers of a series.

        Args:
            series: What `find_series` found.

        Raises:
            InputError: a file cannot be read; its files differ in patient, study, series or frame of reference; study,
                frame of reference or instance UIDs are missing; the patient's ID cannot be decoded.
        """
        from pydicom.errors import BytesLengthException

        label = f"DICOM series '{series.title}'"
        headers = [header.dataset for header in series.read_headers(label)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # values that break rules are dealt with here
            try:
                _check_alike(headers, label)
                return cls._of_headers(headers, label)
            except (*MALFORMED, BytesLengthException) as error:
                raise InputError(
                    f"A file of {label} has a header that cannot be read ({type(error).__name__}).",
                    "Copy or export it again.",
                ) from error

    @classmethod
    def _of_headers(cls, headers: Sequence[Dataset], label: str) -> SourceSeries:
        first = copy.deepcopy(headers[0])  # its values are passed on and changed later
        kept = _kept(first)
        equipment = _equipment(first)
        keep_texts(first, [kept, equipment], label)
        return cls(
            kept=kept,
            equipment=equipment,
            series_uid=single(first.SeriesInstanceUID),
            series_number=whole(first, "SeriesNumber", 0) or None,
            instances=tuple((single(h.SOPClassUID), single(h.SOPInstanceUID)) for h in headers),
            lossy=any(loss_of(header) for header in headers),
        )

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID."""
        return single(self.kept.StudyInstanceUID)

    @property
    def frame_uid(self) -> str:
        """FrameOfReferenceUID."""
        return single(self.kept.FrameOfReferenceUID)

    def deidentified(self, name: str, entropy: Sequence[str] | None = None) -> SourceSeries:
        """Return a de-identified copy: PS3.15, annex E, Basic Application Level Confidentiality Profile.

        Attributes of the patient, the study and the scanner are removed; UIDs are replaced consistently. The
        shape of a head or face in the voxels remains.

        Args:
            name: Pseudonym, as the patient's name and ID.
            entropy: None: new random UIDs at each call, so keep the result for all that belongs together. Strings: the
                same UIDs for the same strings and MR; whoever knows the strings and the MR can show that they belong
                together, so let one of them be a secret.

        Raises:
            InputError: the pseudonym is empty, longer than 64 characters, has a backslash, ``=`` or control
                characters, or carries the patient's ID or a part of the name.
        """
        new = {uid: replaced_uid(uid, entropy) for uid in (self.study_uid, self.frame_uid, self.series_uid)}
        return replace(
            self,
            kept=pseudonymous(self.kept, name, study_uid=new[self.study_uid], frame_uid=new[self.frame_uid]),
            equipment=None,
            series_uid=new[self.series_uid],
            instances=tuple((kind, replaced_uid(uid, entropy)) for kind, uid in self.instances),
            pseudonym=name,
        )


def _check_alike(headers: Sequence[Dataset], label: str) -> None:
    """Refuse slices of several patients or studies, and slices without valid UIDs."""
    check_one_patient([patient_of(header) for header in headers], label)
    for name in (*EXACT[2:], "SeriesInstanceUID"):
        if len({single(value(header, name)) for header in headers}) > 1:
            raise InputError(f"{label} has slices that differ in {name}.", "Export the series again, by itself.")
    for name in ("StudyInstanceUID", "SeriesInstanceUID"):
        if not UID.fullmatch(single(value(headers[0], name))):
            raise InputError(f"{label} has no valid {name}.", "Export it again.")
    if not UID.fullmatch(single(value(headers[0], "FrameOfReferenceUID"))):
        raise InputError(
            f"{label} has no valid FrameOfReferenceUID, so nothing made from it can be overlaid on it in a planning"
            " system.",
            "Export it again with its frame of reference, or write the synthetic CT as a NIfTI file.",
        )
    instances = [(single(value(h, "SOPClassUID")), single(value(h, "SOPInstanceUID"))) for h in headers]
    if not all(UID.fullmatch(uid) for pair in instances for uid in pair) or len(set(instances)) < len(instances):
        raise InputError(f"{label} has files without a valid SOPInstanceUID of their own.", "Export it again.")


def _kept(header: Dataset) -> Dataset:
    from pydicom import Dataset

    kept = Dataset()
    for name in EXACT:
        setattr(kept, name, None)  # type 1 or 2: there even when the MR has none
        _copy(header, name, kept)
    for name in EMPTY_IF_INVALID:
        setattr(kept, name, None)
    for name in ABSENT_IF_INVALID:
        if name in header and header[name].is_empty and header[name].VR != "SQ":
            setattr(kept, name, None)  # two files of a study agree in what they leave open
    for name in (*EMPTY_IF_INVALID, *ABSENT_IF_INVALID):
        if (element := _element(header, name)) is not None:
            kept[name] = element
    if RETIRED_IDS in header and "OtherPatientIDsSequence" not in kept:
        _modern_ids(header, kept)
    copy_body_part(header, kept)
    return kept


def _copy(header: Dataset, name: str, kept: Dataset) -> None:
    from pydicom.datadict import dictionary_VR

    if value(header, name) is None:
        return
    if dictionary_VR(header[name].tag) == header[name].VR:
        kept[name] = header[name]
    else:
        setattr(kept, name, single(header[name].value))


def _element(header: Dataset, name: str) -> DataElement | None:
    """Return an element if its value is valid; for a sequence, its items without invalid elements."""
    if not value(header, name):
        return None
    element = header[name]
    if element.VR != "SQ":
        return element if is_valid(element) else None
    from pydicom import DataElement, Dataset

    items = []
    for item in element.value:
        clean = Dataset()
        for inner in item.dir():
            if (part := _element(item, inner)) is not None:
                clean[inner] = part
        if clean:
            items.append(clean)
    return DataElement(element.tag, "SQ", items) if items else None


def _modern_ids(header: Dataset, kept: Dataset) -> None:
    from pydicom import Dataset

    items = []
    for other in single(value(header, RETIRED_IDS)).split("\\"):
        item = Dataset()
        item.PatientID, item.TypeOfPatientID = other, "TEXT"
        if other and is_valid(item["PatientID"]):
            items.append(item)
    if items:
        kept.OtherPatientIDsSequence = items


def _equipment(header: Dataset) -> Dataset:
    """Describe the scanner and when the acquisition started."""
    from pydicom import Dataset

    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code("109101", "Acquisition Equipment")]
    item.Manufacturer = "unknown"
    for name in EQUIPMENT:
        if (element := _element(header, name)) is not None:
            item[name] = element
    day, time = (single(value(header, name)) for name in ("AcquisitionDate", "AcquisitionTime"))
    if moment := single(value(header, "AcquisitionDateTime")) or (day and day + time):
        probe = Dataset()
        probe.ContributionDateTime = moment
        if is_valid(probe["ContributionDateTime"]):
            item.ContributionDateTime = moment
    item.ContributionDescription = "MR that the synthetic CT was made from"
    return item
