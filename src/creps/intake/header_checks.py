"""Check the DICOM header against the model: region, sequence, distortion, implants.

What was set at the scanner decides before words do. Headers are often wrong, and free text may name the patient:
messages report what was recognised and on what ground, never the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from creps.intake.body_parts import regions_of
from creps.intake.findings import Finding, Level
from creps.io.dicom.read.bone_and_fat import STIR_TI_MS, ULTRASHORT_TE_MS, is_fat_suppressed, is_ultrashort
from creps.io.dicom.read.sequence_words import Topics, topics_of_series

if TYPE_CHECKING:
    from creps.io.dicom.read.acquisition import Acquisition

__all__ = ["DIFFUSION_TE_MS", "STIR_TI_MS", "ULTRASHORT_TE_MS", "check_header"]

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

DOUBTFUL = {
    "projection": "a projection", "localizer": "a localizer", "functional": "a functional scan", "phase": "phase",
    "perfusion": "perfusion", "field map": "a field map", "subtraction": "a subtraction",
}  # fmt: skip
"""Topics of words in a description → what they may mean."""

DIFFUSION_TE_MS = 35.0
"""No clinical scanner weights by diffusion at a shorter echo time."""

NEIGHBOURS = ({"head", "neck"}, {"neck", "chest"}, {"chest", "abdomen"}, {"abdomen", "pelvis"})
"""Pairs of regions that are often confused in the header."""

UNUSUAL = frozenset({"TOF", "MRA", "MRV", "ANGIO", "ANGIO_TIME", "VENOGRAM", "SWI", "SWAN", "EPI", "MRCP"})
"""Values of ImageType and FrameType of sequences made for vessels, iron or speed and not for anatomy."""


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
    topics = topics_of_series(acquisition)
    return [
        *_check_region(acquisition.body_part, region),
        *_check_sequence(acquisition, topics),
        *_check_assumptions(acquisition, topics, recipe),
        *_check_distortion(acquisition.distortion_correction),
        *_check_implants(acquisition),
    ]


def _check_region(body_part: str | None, region: str) -> Iterator[Finding]:
    expected, found = regions_of(region), regions_of(body_part or "")
    remedy = "Make sure that it is an MR of the model's region."
    if not body_part:
        yield Finding("region", "note", "The header does not state the body part.", remedy)
    elif not found or not expected:
        which = "the body part in the header" if expected else "the region of the model"
        yield Finding("region", "note", f"creps does not recognise {which}, so the regions were not compared.", remedy)
    elif not found & expected:
        message = f"The header says {_listed(found)}, but the model is for {_listed(expected)}."
        level: Level = "warning" if any({a, b} in NEIGHBOURS for a in found for b in expected) else "refusal"
        yield Finding("region", level, message, "Use a model for that region, or correct the header.")


def _check_sequence(acquisition: Acquisition, topics: Topics) -> Iterator[Finding]:
    if acquisition.modality != "MR":
        yield Finding("sequence", "refusal", "The header does not state modality MR.", "Give the MR series.")
    facts = {NO_ANATOMY[kind] for kind in acquisition.image_types if kind in NO_ANATOMY}
    facts |= {"diffusion"} if acquisition.diffusion else set()
    excluded = not facts and _excludes_diffusion(acquisition)
    doubts = {DOUBTFUL[topic] for topic in topics if topic in DOUBTFUL}
    if facts:
        message = f"By image type or b-value in its header it is {_joined(facts)}, which is no picture of the anatomy."
        yield Finding("sequence", "refusal", message, "Use an anatomical series like those in training.")
    elif "diffusion" in topics and not excluded and "T1" not in topics:
        message = "By the words of its description it is diffusion, which is no picture of the anatomy."
        remedy = "Use an anatomical series like those in training; if the words are wrong, correct them."
        yield Finding("sequence", "refusal", message, remedy)
    elif doubts or "diffusion" in topics:
        named = _joined(doubts | ({"diffusion"} & topics))
        against = ", while its sequence and echo time are not" if excluded and "diffusion" in topics else ""
        message = f"The description in its header names {named}{against}; the words may mean the examination."
        yield Finding("sequence", "warning", message, "Make sure that it is an anatomical series.")
    elif (UNUSUAL & acquisition.image_types) or _unusual(acquisition, topics):
        message = (
            "The header names a sequence for vessels, iron or speed; its contrast or geometry may differ from training."
        )
        yield Finding("sequence", "warning", message, "Prefer an anatomical series like those in training.")


def _excludes_diffusion(acquisition: Acquisition) -> bool:
    """Whether sequence, echo time and type of acquisition are none of a diffusion scan."""
    pulses, echo = _split(acquisition.scanning_sequence), acquisition.echo_time_ms
    if "EP" in pulses or "RM" in pulses:
        return False
    short = echo is not None and 0 < echo < DIFFUSION_TE_MS
    return short or (bool(pulses) and ("GR" in pulses or acquisition.acquisition_type == "3D"))


def _unusual(acquisition: Acquisition, topics: Topics) -> bool:
    return "vessels, iron or speed" in topics or "EP" in _split(acquisition.scanning_sequence)


def _check_assumptions(acquisition: Acquisition, topics: Topics, recipe: str | None) -> Iterator[Finding]:
    """Assumptions of the recipe `anatomy`; the other recipes learn from the MRs of the training."""
    level: Level = "warning" if recipe == "anatomy" else "note"
    if acquisition.contrast_agent or "contrast agent" in topics:
        what = "names a contrast agent" if acquisition.contrast_agent else "has words for a contrast agent"
        message = f"The header {what}: enhancing tissue is a guess, unless the training's MRs had it too."
        yield Finding("contrast agent", level, message, "Prefer a series before contrast.")
    if is_fat_suppressed(acquisition, topics):
        message = (
            "By its header fat is suppressed: dark fat is taken for bone or air, unless the training's MRs were like"
            " that."
        )
        yield Finding(
            "fat suppression", level, message, "Use a series without fat suppression, or the in-phase Dixon image."
        )
    if is_ultrashort(acquisition, topics):
        message = (
            "The echo time is ultra-short: bone has signal and is missed unless the training MRs were ultra-short too."
        )
        yield Finding("ultra-short echo", level, message, "Use a sequence in which compact bone is dark.")


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


def _split(text: str) -> set[str]:
    """Return the words of a text in upper case."""
    return set(re.split(r"[\W_]+", text.upper())) - {""}


def _joined(names: Iterable[str]) -> str:
    return " and ".join(sorted(names))


def _listed(regions: frozenset[str]) -> str:
    return " or ".join(sorted(regions))
