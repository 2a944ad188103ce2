"""A pseudonym instead of a patient: what PS3.15, annex E (Basic Profile) asks of a newly made object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from creps.errors import InputError
from creps.io.dicom.read.elements import mentions, parts
from creps.io.dicom.write.uids import new_uid
from creps.io.dicom.write.values import code, single

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["pseudonymous", "replaced_uid"]

EMPTY = (
    "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID",
    "PositionReferenceIndicator",
)  # fmt: skip
"""Must be there (type 2), and is empty."""

POSITION = ("PatientPosition", "BodyPartExamined", "Laterality")
"""Does not identify the patient, and is needed to use the images."""

METHOD = "New object by creps; PS3.15 Basic Profile; faces not blurred"
"""For DeidentificationMethod, 64 characters."""

LONGEST = 64


def replaced_uid(uid: str, entropy: Sequence[str] | None) -> str:
    """The UID that stands for another: random, or always the same for the same strings."""
    return new_uid(entropy, "instead of", uid)


def pseudonymous(kept: Dataset, name: str, *, study_uid: str, frame_uid: str) -> Dataset:
    """The attributes of a patient and study under a pseudonym.

    Args:
        kept: The true ones; only position and body part are kept.
        name: The pseudonym.
        study_uid: Its StudyInstanceUID.
        frame_uid: Its FrameOfReferenceUID.

    Raises:
        InputError: the pseudonym cannot be written, or gives the patient away.
    """
    from pydicom import Dataset

    _check(name, kept)
    new = Dataset()
    if not name.isascii():
        new.SpecificCharacterSet = "ISO_IR 192"
    new.PatientID = name
    new.PatientName = f"{name}^"  # without ^ it is the retired form of a name
    for attribute in EMPTY:
        setattr(new, attribute, None)
    for attribute in POSITION:
        if attribute in kept:
            setattr(new, attribute, kept[attribute].value)
    new.StudyInstanceUID, new.FrameOfReferenceUID = study_uid, frame_uid
    new.PatientIdentityRemoved = "YES"
    new.DeidentificationMethod = METHOD
    new.DeidentificationMethodCodeSequence = [code("113100", "Basic Application Confidentiality Profile")]
    new.LongitudinalTemporalInformationModified = "REMOVED"
    return new


def _check(name: str, kept: Dataset) -> None:
    odd = name != name.strip() or not name.isprintable() or set(name) & set("\\=^")
    if not name or len(name) >= LONGEST or odd:
        raise InputError(
            "The pseudonym cannot be written as a patient's name and ID.",
            f"Give one of 1 to {LONGEST - 1} printable characters without backslash, '=', '^' and spaces at its ends.",
        )
    true_id = single(kept.get("PatientID", ""))
    known = [single(kept.get(one, "")) for one in ("PatientName", "PatientBirthDate", "AccessionNumber", "StudyID")]
    true_parts = {true_id.casefold(), *parts(true_id), *(part for text in known for part in parts(text))} - {""}
    if mentions(name, true_parts):
        raise InputError(
            "The pseudonym contains the patient's ID, birth date, accession number or part of the name.",
            "Choose one that does not identify the patient.",
        )
