"""Check the DICOM header against the model: region, sequence, distortion, implants.

Headers are often wrong, and free text may name the patient: messages report what was recognised, never the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from creps.intake.body_parts import regions_of
from creps.intake.findings import Finding, Level

if TYPE_CHECKING:
    from creps.io.dicom.read.acquisition import Acquisition

__all__ = ["STIR_TI_MS", "ULTRASHORT_TE_MS", "check_header"]

ULTRASHORT_TE_MS = 0.2
"""Echo time in ms below which compact bone (T2* of 0.3 to 0.5 ms) produces signal."""

STIR_TI_MS = (80.0, 260.0)
"""An inversion time in this range suppresses fat (150 to 230 ms at 1.5 and 3 T)."""

NO_ANATOMY = {
    "DIFFUSION": "diffusion", "TRACEW": "diffusion", "TRACE": "diffusion", "ADC": "diffusion", "EADC": "diffusion",
    "FA": "diffusion", "MIP": "a projection", "MAX_IP": "a projection", "MIN_IP": "a projection",
    "MNIP": "a projection", "PROJECTION IMAGE": "a projection", "SUBTRACTION": "a subtraction", "SUB": "a subtraction",
    "P": "phase", "PHASE": "phase", "PHASE MAP": "phase", "VELOCITY": "phase", "B0": "a field map", "B1": "a field map",
    "FIELD_MAP": "a field map", "T1 MAP": "a parameter map", "T2 MAP": "a parameter map", "T1_MAP": "a parameter map",
    "T2_MAP": "a parameter map", "T2_STAR MAP": "a parameter map", "R2_STAR MAP": "a parameter map",
    "FF": "a fat fraction", "FAT_FRACTION": "a fat fraction", "PERFUSION": "perfusion", "CBF": "perfusion",
    "CBV": "perfusion", "MTT": "perfusion", "TTP": "perfusion", "FAT": "the fat image of a Dixon scan",
    "F": "the fat image of a Dixon scan", "LOCALIZER": "a localizer", "DIFFUSION MAP": "diffusion",
    "VELOCITY MAP": "phase", "PHASE SUBTRACT": "a subtraction", "MODULUS SUBTRACT": "a subtraction",
    "DENSITY MAP": "a parameter map", "MAXIMUM": "a projection", "MINIMUM": "a projection",
    "METABOLITE_MAP": "a parameter map", "FMRI": "a functional scan", "TAGGING": "a tagged scan",
}  # fmt: skip
"""Values of ImageType and FrameType from which no CT can be synthesized → what the image is instead."""

WORDS = {"ADC": "diffusion", "DWI": "diffusion", "TRACEW": "diffusion"}
"""Likewise, words in descriptions that leave no doubt."""

DOUBTFUL = {
    "DTI": "diffusion", "MIP": "a projection", "BOLD": "a functional scan", "FMRI": "a functional scan",
    "LOCALIZER": "a localizer", "SCOUT": "a localizer", "SURVEY": "a localizer",
}  # fmt: skip
"""The same for ambiguous words, which may describe the whole examination ("FMRI_T1_MPRAGE")."""

NEIGHBOURS = ({"head", "neck"}, {"neck", "chest"}, {"chest", "abdomen"}, {"abdomen", "pelvis"})
"""Pairs of regions that are often confused in the header."""

UNUSUAL = {"TOF", "MRA", "MRV", "ANGIO", "ANGIO_TIME", "VENOGRAM", "SWI", "SWAN", "EPI", "MRCP"}
"""Words for sequences designed for vessels, iron or speed rather than anatomy."""

FAT_SUPPRESSED = {"FATSAT", "FS", "SPAIR", "SPIR", "STIR", "TIRM", "SFS", "FATSUP", "DIXONW", "CHESS", "PROSET"}
ULTRASHORT = {"UTE", "ZTE", "PETRA"}
AGENT = {"GD", "GADO", "GADOLINIUM", "GADOVIST", "DOTAREM", "POSTGD", "POSTCONTRAST", "KM"}
WATER_ONLY = {"WATER", "W", "STIR"}
"""Values of ImageType and FrameType of images without fat."""


def check_header(acquisition: Acquisition | None, region: str, recipe: str | None) -> list[Finding]:
    """Check the DICOM header against the model.

    Args:
        acquisition: DICOM attributes of the MR; None for a volume file.
        region: The model's, `preparation.region`.
        recipe: The model's; None if unknown.
    """
    if acquisition is None:
        message = "No DICOM header: region, sequence, distortion correction and implants were not checked."
        return [Finding("header", "note", message, "Check them yourself, or give the DICOM series.")]
    return [
        *_check_region(acquisition.body_part, region),
        *_check_sequence(acquisition),
        *_check_assumptions(acquisition, recipe),
        *_check_distortion(acquisition.distortion_correction),
        *_check_implants(acquisition),
    ]


def _check_region(body_part: str | None, region: str) -> Iterator[Finding]:
    wanted, said = regions_of(region), regions_of(body_part or "")
    remedy = "Make sure that it is an MR of the model's region."
    if not body_part:
        yield Finding("region", "note", "The header does not state the body part.", remedy)
    elif not said or not wanted:
        which = "the body part in the header" if wanted else "the region of the model"
        yield Finding("region", "note", f"creps does not recognise {which}, so the regions were not compared.", remedy)
    elif not said & wanted:
        message = f"The header says {_listed(said)}, but the model is for {_listed(wanted)}."
        level: Level = "warning" if any({a, b} in NEIGHBOURS for a in said for b in wanted) else "refusal"
        yield Finding("region", level, message, "Use a model for that region, or correct the header.")


def _check_sequence(acquisition: Acquisition) -> Iterator[Finding]:
    if acquisition.modality != "MR":
        yield Finding("sequence", "refusal", "The header does not state modality MR.", "Give the MR series.")
    kinds = {NO_ANATOMY[kind] for kind in acquisition.image_types if kind in NO_ANATOMY}
    kinds |= {WORDS[word] for word in _words(acquisition) if word in WORDS}
    kinds |= {"diffusion"} if acquisition.diffusion else set()
    if kinds:
        message = f"The header identifies the image as {' and '.join(sorted(kinds))}, which does not show anatomy."
        yield Finding("sequence", "refusal", message, "Use an anatomical series like those in training.")
    elif doubts := {DOUBTFUL[word] for word in _words(acquisition) if word in DOUBTFUL}:
        message = f"A description in the header mentions {' and '.join(sorted(doubts))}; it may denote the examination."
        yield Finding("sequence", "warning", message, "Make sure that it is an anatomical series.")
    elif UNUSUAL & (_words(acquisition) | acquisition.image_types) or "EP" in _split(acquisition.scanning_sequence):
        message = (
            "The header names a sequence for vessels, iron or speed; its contrast or geometry may differ from training."
        )
        yield Finding("sequence", "warning", message, "Prefer an anatomical series like those in training.")


def _check_assumptions(acquisition: Acquisition, recipe: str | None) -> Iterator[Finding]:
    """Check the assumptions of the recipe `anatomy`; other recipes learn contrast from their training MRs."""
    level: Level = "warning" if recipe == "anatomy" else "note"
    words = _words(acquisition)
    if acquisition.contrast_agent or AGENT & words:
        message = "A contrast agent was given: HU of enhancing tissue are unreliable unless training MRs had it too."
        yield Finding("contrast agent", level, message, "Prefer a pre-contrast series.")
    if _fat_suppressed(acquisition, words):
        message = "Fat is suppressed: dark fat is mistaken for bone or air unless the training MRs were fat-suppressed."
        yield Finding(
            "fat suppression", level, message, "Use a series without fat suppression, or the in-phase Dixon image."
        )
    echo = acquisition.echo_time_ms
    if ULTRASHORT & words or (echo is not None and echo < ULTRASHORT_TE_MS):
        message = (
            "The echo time is ultra-short: bone has signal and is missed unless the training MRs were ultra-short too."
        )
        yield Finding("ultra-short echo", level, message, "Use a sequence in which compact bone is dark.")


def _fat_suppressed(acquisition: Acquisition, words: set[str]) -> bool:
    inversion = acquisition.inversion_time_ms
    stir = inversion is not None and STIR_TI_MS[0] <= inversion <= STIR_TI_MS[1]
    text = f"{acquisition.protocol} {acquisition.description}"
    said = bool(FAT_SUPPRESSED & words) or re.search(r"FAT[\W_]*(SAT|SUP)", text) is not None
    options = _split(acquisition.scan_options) & FAT_SUPPRESSED
    return bool(said or stir or options or WATER_ONLY & acquisition.image_types)


def _check_distortion(correction: str | None) -> Iterator[Finding]:
    if correction == "none":
        message = (
            "Geometric distortion was not corrected (ImageType ND): off-centre, bone may be displaced by mm to cm."
        )
        yield Finding("distortion", "warning", message, "Use the series with 3-D distortion correction.")
    elif correction == "2d":
        message = "Geometric distortion was corrected within the slices only (ImageType DIS2D)."
        yield Finding("distortion", "note", message, "Prefer 3-D correction; check it against a phantom.")
    elif correction is None:
        message = "The header does not say whether geometric distortion was corrected."
        yield Finding("distortion", "note", message, "Ask the scanner's operators, and check against a phantom.")


def _check_implants(acquisition: Acquisition) -> Iterator[Finding]:
    if acquisition.implant_words:
        message = "The header mentions an implant or metal: the MR has signal voids and distortion around it."
        yield Finding("implant", "warning", message, "Inspect the MR and override the density there.")


def _words(acquisition: Acquisition) -> set[str]:
    names = (acquisition.protocol, acquisition.description, acquisition.sequence_name, acquisition.pulse_sequence_name)
    return _split(" ".join(names))


def _split(text: str) -> set[str]:
    """Return the words of a text in upper case."""
    return set(re.split(r"[\W_]+", text.upper())) - {""}


def _listed(regions: frozenset[str]) -> str:
    return " or ".join(sorted(regions))
