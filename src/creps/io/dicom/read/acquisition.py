"""What the headers of a series say about its acquisition: facts only; `creps.intake` assesses them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from creps.io.dicom.read.elements import (
    MalformedDicomError,
    floats,
    items,
    malformed,
    private,
    tagged,
    text,
    value,
    words,
)
from creps.io.dicom.read.faults import unreadable
from creps.io.dicom.read.wording import is_negated, says_none, split_words

if TYPE_CHECKING:
    from pydicom import Dataset

    from creps.io.dicom.read.series import Series

__all__ = ["IMPLANT_WORDS", "Acquisition", "Correction"]

Correction = Literal["3d", "2d", "none"]

IMPLANT_WORDS = (
    "implant", "implants", "implanted", "implantat", "implantate", "implantaat", "prosthesis", "prostheses",
    "prosthetic", "prothese", "prothesen", "prothèse", "endoprosthesis", "endoprothese", "hemiprosthesis", "tep",
    "arthroplasty", "osteosynthesis", "osteosynthese", "fixation", "fixateur", "screw", "screws", "schraube",
    "schrauben", "metal", "metallic", "metall", "pacemaker", "schrittmacher", "defibrillator", "stent", "stents",
    "clip", "clips", "cochlear", "neurostimulator", "semac", "mavric",
)  # fmt: skip
"""Whole words that speak of metal in the patient, or of a sequence against its artefacts (SEMAC, MAVRIC)."""

IMPLANT_TEXTS = (
    "StudyDescription", "SeriesDescription", "ProtocolName", "MedicalAlerts", "AdditionalPatientHistory",
    "RequestedProcedureDescription",
)  # fmt: skip

DIFFUSION_TYPES = {"DIFFUSION", "ADC", "TRACEW"}

B_VALUES = (
    (0x0019, "SIEMENS MR HEADER", 0x0C),
    (0x2001, "Philips Imaging DD 001", 0x03),
    (0x0043, "GEMS_PARM_01", 0x39),
)
"""Where makers keep the b-value (s/mm²): group, creator, element."""

B_IN_NAME = re.compile(r"\*?(?:EP|RE|TGSE|RESOLVE)\w*?_?B(?:0_)?[1-9]\d*")
"""SequenceName of a diffusion scan of Siemens: *ep_b1000t, re_b0_1000."""

GE_OFFSET = 10**9
"""GE adds it to b-values of some sequences."""

GAUSS_FROM = 100
"""A field strength from this value on is in gauss: no magnet has 100 T."""

IMPLANT = re.compile(rf"(?<![^\W_])(?:{'|'.join(IMPLANT_WORDS)})(?![^\W_])")
AGENTS = "ContrastBolusAgentSequence"

NO_AGENT = {"NONE", "NO", "N", "N/A", "NA", "NO CONTRAST", "WITHOUT", "-", "0"}
"""What ContrastBolusAgent says of scans without one."""

SIEMENS_FRAME, SIEMENS_FRAME_CREATOR, SIEMENS_TYPES = (0x0021, 0x11FE), "SIEMENS MR SDI 02", 0x75
"""Where enhanced objects of Siemens keep what classic ones say in ImageType."""

PULSES = {"SPIN": "SE", "GRADIENT": "GR", "BOTH": "SE\\GR"}
"""EchoPulseSequence of an enhanced object → ScanningSequence of a classic one."""


@dataclass(frozen=True)
class Acquisition:
    """How a series was made, as its headers say; nothing of the patient's name or ID.

    Text is in capitals; several values of one attribute are joined by a backslash. Numbers are medians over the slices.
    An attribute that is absent or malformed is an empty text or None.

    Attributes:
        modality: "MR" or "CT".
        body_part: BodyPartExamined, or the meaning of the code in AnatomicRegionSequence.
        image_types: Values of ImageType and FrameType over all slices.
        scanning_sequence: ScanningSequence; of an enhanced object EchoPulseSequence in the same terms (SE, GR, IR).
        sequence_variant: SequenceVariant.
        sequence_name: SequenceName.
        pulse_sequence_name: PulseSequenceName.
        protocol: ProtocolName.
        description: SeriesDescription.
        scan_options: ScanOptions.
        echo_time_ms: EchoTime or EffectiveEchoTime.
        repetition_time_ms: RepetitionTime.
        inversion_time_ms: InversionTime.
        field_strength_t: MagneticFieldStrength.
        acquisition_type: MRAcquisitionType, 2D or 3D.
        fat_suppressed: Whether SpectrallySelectedSuppression says that fat is suppressed; None if unknown.
        contrast_agent: Whether a contrast agent is named.
        diffusion: Whether a slice has a b-value above 0, is of a diffusion type, or its sequence's name has one.
        distortion_correction: "3d", "2d" or "none", by the ImageType values DIS3D, DIS2D and ND; None if the
            header does not say. Of slices that differ, the least corrected counts.
        patient_position: PatientPosition, such as HFS.
        manufacturer: Manufacturer.
        implant_words: Whether a description, an alert or the history has one of `IMPLANT_WORDS`.
        slice_thickness_mm: SliceThickness.
    """

    modality: str = "MR"
    body_part: str | None = None
    image_types: frozenset[str] = frozenset()
    scanning_sequence: str = ""
    sequence_variant: str = ""
    sequence_name: str = ""
    pulse_sequence_name: str = ""
    protocol: str = ""
    description: str = ""
    scan_options: str = ""
    echo_time_ms: float | None = None
    repetition_time_ms: float | None = None
    inversion_time_ms: float | None = None
    field_strength_t: float | None = None
    acquisition_type: str = ""
    fat_suppressed: bool | None = None
    contrast_agent: bool = False
    diffusion: bool = False
    distortion_correction: Correction | None = None
    patient_position: str | None = None
    manufacturer: str = ""
    implant_words: bool = False
    slice_thickness_mm: float | None = None

    @classmethod
    def of(cls, series: Series) -> Acquisition:
        """Read the headers of a series.

        Raises:
            InputError: a file cannot be read.
        """
        label = f"DICOM series '{series.title}'"
        headers = series.read_headers(label)
        files = [header.dataset for header in headers]
        try:
            slices = [one for header in headers for one in header.slices]
        except MalformedDicomError as error:
            raise unreadable(label, error) from error
        both = [*slices, *files]
        types = [frozenset(_image_types(header)) for header in both]
        manufacturer = _first(files, "Manufacturer")
        return cls(
            modality=series.modality.upper(),
            body_part=_body_part(both) or None,
            image_types=frozenset().union(*types),
            scanning_sequence=_first(both, "ScanningSequence") or _pulses(both),
            sequence_variant=_first(both, "SequenceVariant"),
            sequence_name=_first(both, "SequenceName"),
            pulse_sequence_name=_first(files, "PulseSequenceName"),
            protocol=series.without_names(_first(both, "ProtocolName")),
            description=series.without_names(_first(files, "SeriesDescription")),
            scan_options=_first(both, "ScanOptions"),
            echo_time_ms=_middle(slices, "EchoTime", "EffectiveEchoTime"),
            repetition_time_ms=_middle(slices, "RepetitionTime"),
            inversion_time_ms=_middle(slices, "InversionTime", "InversionTimes"),
            field_strength_t=_tesla(both),
            acquisition_type=_first(both, "MRAcquisitionType"),
            fat_suppressed=_fat_suppressed(_first(both, "SpectrallySelectedSuppression")),
            contrast_agent=any(_agent(header) for header in both),
            diffusion=any(one & DIFFUSION_TYPES for one in types) or any(_diffuses(header) for header in both),
            distortion_correction=_correction(types[: len(slices)], "SIEMENS" in manufacturer),
            patient_position=_first(files, "PatientPosition") or None,
            manufacturer=manufacturer,
            implant_words=any(_speaks_of_implant(header, series) for header in files),
            slice_thickness_mm=_middle(slices, "SliceThickness"),
        )

    def record(self) -> dict[str, Any]:
        """What is kept with a result, as plain JSON values: numbers and codes, no text that a person wrote."""
        return {
            "manufacturer": self.manufacturer,
            "field_strength_t": self.field_strength_t,
            "scanning_sequence": self.scanning_sequence,
            "sequence_variant": self.sequence_variant,
            "acquisition_type": self.acquisition_type,
            "echo_time_ms": self.echo_time_ms,
            "repetition_time_ms": self.repetition_time_ms,
            "inversion_time_ms": self.inversion_time_ms,
            "slice_thickness_mm": self.slice_thickness_mm,
            "contrast_agent": self.contrast_agent,
            "distortion_correction": self.distortion_correction,
            "patient_position": self.patient_position,
        }


def _first(headers: Sequence[Dataset], name: str) -> str:
    """The first text that is not empty."""
    return next(filter(None, ("\\".join(words(header, name)) for header in headers)), "")


def _middle(headers: Sequence[Dataset], *names: str) -> float | None:
    """Median over the slices of the first of the attributes that each has."""
    found = []
    for header in headers:
        values = (floats(header, name, 1) or _first_of_several(header, name) for name in names)
        found += [one[0] for one in values if one and np.isfinite(one[0])][:1]
    return median(found) if found else None


def _first_of_several(header: Dataset, name: str) -> list[float]:
    found = value(header, name)
    try:
        with malformed():
            return [float(found[0])]
    except MalformedDicomError:
        return []


def _image_types(header: Dataset) -> Iterator[str]:
    yield from words(header, "ImageType")
    yield from words(header, "FrameType")
    frame = tagged(header, SIEMENS_FRAME)
    for item in frame if isinstance(frame, Sequence) and not isinstance(frame, str | bytes) else ():
        found = private(item, SIEMENS_FRAME[0], SIEMENS_FRAME_CREATOR, SIEMENS_TYPES)
        if isinstance(found, Sequence) and not isinstance(found, str | bytes):
            yield from (str(part).strip().upper() for part in found)


def _body_part(headers: Sequence[Dataset]) -> str:
    regions = (item for header in headers for item in items(header, "AnatomicRegionSequence"))
    return _first(headers, "BodyPartExamined") or _first(list(regions), "CodeMeaning")


def _pulses(headers: Sequence[Dataset]) -> str:
    """ScanningSequence of an enhanced object."""
    pulses = PULSES.get(_first(headers, "EchoPulseSequence"), "")
    planar = "EP" * (_first(headers, "EchoPlanarPulseSequence") == "YES")
    inversion = "IR" * (_first(headers, "InversionRecovery") == "YES")
    return "\\".join(filter(None, (planar, pulses, inversion)))


def _tesla(headers: Sequence[Dataset]) -> float | None:
    field = _middle(headers, "MagneticFieldStrength")
    return field / 10_000 if field is not None and field >= GAUSS_FROM else field


def _agent(header: Dataset) -> bool:
    coded = any(words(item, "CodeMeaning") or words(item, "CodeValue") for item in items(header, AGENTS))
    named = set(words(header, "ContrastBolusAgent")) - NO_AGENT
    return coded or any(not says_none(one) for one in named)


def _fat_suppressed(suppression: str) -> bool | None:
    return None if not suppression else suppression != "NONE"


def _diffuses(header: Dataset) -> bool:
    return _b_value(header) > 0 or B_IN_NAME.match(text(header, "SequenceName").upper()) is not None


def _b_value(header: Dataset) -> float:
    """In s/mm²; 0 if the header has none."""
    standard = floats(header, "DiffusionBValue", 1)
    if standard is not None:
        return standard[0]
    for place in B_VALUES:
        found = private(header, *place)
        try:
            with malformed():
                return float(found if isinstance(found, int | float | str | bytes) else found[0]) % GE_OFFSET
        except MalformedDicomError:
            continue
    return 0.0


def _correction(types: Sequence[frozenset[str]], siemens: bool) -> Correction | None:
    """The least correction that a slice had; None if a slice does not tell."""

    def of(one: frozenset[str]) -> Correction | None:
        if "ND" in one and siemens:
            return "none"
        return "2d" if "DIS2D" in one else "3d" if "DIS3D" in one else None

    found = {of(one) for one in types}
    order: tuple[Correction | None, ...] = ("none", None, "2d", "3d")
    return next((correction for correction in order if correction in found), None)


def _speaks_of_implant(header: Dataset, series: Series) -> bool:
    texts = (series.without_names(text(header, name)) for name in IMPLANT_TEXTS)
    return any(_names_implant(one) for one in texts)


def _names_implant(phrase: str) -> bool:
    """Whether a text names one and does not say that there is none."""
    folded = phrase.casefold()
    for found in IMPLANT.finditer(folded):
        before = split_words(re.split(r"[,;.\\\n]", folded[: found.start()])[-1])
        if not is_negated([*before, found.group()], len(before)):
            return True
    return False
