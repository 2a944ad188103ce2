"""What all files of one series must agree on: above all, they show one patient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from creps.errors import InputError
from creps.io.dicom.identifiers import IMAGES
from creps.io.dicom.read.frames import Instance

__all__ = ["check_agreement", "check_one_patient"]

PATIENT = ("PatientID", "PatientName", "PatientBirthDate")


def check_agreement(instances: Sequence[Instance], modality: str, label: str) -> None:
    """Refuse files that do not belong together, although they carry one SeriesInstanceUID.

    An attribute that only some of the files have is a disagreement, too.

    Args:
        instances: The files of one series.
        modality: "mr" or "ct": what the series was found to be.
        label: What the message calls it; no patient is named.

    Raises:
        InputError: more than one patient, study or modality; an image without UID; an image twice.
    """
    check_one_patient([instance.patient for instance in instances], label)
    if len({instance.study for instance in instances}) > 1:
        raise InputError(
            f"{label} mixes images of more than one study: its files disagree in StudyInstanceUID.",
            "Export the series again, each study into a separate folder.",
        )
    kinds = {IMAGES.get(instance.kind, "others") for instance in instances}
    if kinds != {modality}:
        raise InputError(
            f"{label} mixes images of {' and '.join(sorted(kind.upper() for kind in kinds | {modality}))}.",
            "Export the series again, each into a separate folder.",
        )
    uids = Counter(instance.uid for instance in instances)
    if "" in uids:
        raise InputError(f"{label} has a file without a SOPInstanceUID.", "Export it again.")
    twice = sum(1 for count in uids.values() if count > 1)
    if twice:
        raise InputError(
            f"{label} has {twice} of its {len(uids)} images in more than one file (the same SOPInstanceUID).",
            "Remove the copies, or give the subfolder that holds one of them.",
        )


def check_one_patient(patients: Sequence[tuple[str, str, str]], label: str) -> None:
    """Refuse files of more than one patient.

    Args:
        patients: ID, name and birth date of each file, see `patient_of`.
        label: What the message calls the series; no patient is named.

    Raises:
        InputError: the files disagree in at least one of the three.
    """
    differing = [name for i, name in enumerate(PATIENT) if len({patient[i] for patient in patients}) > 1]
    if differing:
        raise InputError(
            f"{label} mixes images of more than one patient: its files disagree in {' and '.join(differing)}.",
            "Export the series again, each patient into a separate folder.",
        )
