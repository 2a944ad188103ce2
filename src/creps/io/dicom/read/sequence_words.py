"""What words in a header say of a series: its weighting, and what makes it no picture of the anatomy.

A series description speaks of the series. A protocol name often speaks of the whole examination ("BRAIN STROKE T1 T2
DWI"), so it counts only where it agrees with the description. Negations ("no FS", "ohne KM") take a word back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from creps.io.dicom.read.wording import is_negated, split_words

if TYPE_CHECKING:
    from creps.io.dicom.read.acquisition import Acquisition

__all__ = ["WEIGHTINGS", "Topics", "topics_of", "topics_of_series"]

Topics = frozenset[str]
"""What words speak of: keys of `TERMS`."""

TERMS: dict[str, str] = {
    "T1": (
        "T1 T1W T1W1 T1WI T1TSE T1SE T1FFE T1TFE ST1W MPRAGE MP-RAGE MPR RAGE BRAVO FSPGR SPGR VIBE THRIVE"
        " LAVA MP2RAGE 3DT1"
    ),
    "T2": "T2 T2W T2W1 T2WI T2TSE ST2W CISS FIESTA 3DT2",
    "PD": "PD PDW SPDW DP RHO",
    "FLAIR": "FLAIR DARKFLUID DARK-FLUID TIRM-DARK-FLUID",
    "diffusion": (
        "DWI DW DTI DIFF DIFFUSION DIFFUSIE DIFUSION DIFFUSIONE DIFUSAO DYFUZJA ADC EADC TRACEW TRACE FA DKI DSI HARDI"
        " DWIBS ZOOMIT-DIFF ISODWI EPI-DIFF RESOLVE IVIM DADC"
    ),
    "perfusion": "PERF PERFUSION DSC ASL PCASL PASL CBF CBV MTT TTP TMAX",
    "functional": "BOLD FMRI RSFMRI REST RESTING",
    "projection": "MIP MINIP MIPS",
    "localizer": (
        "LOCALIZER LOCALISER LOC LOKALISATOR LOKALIZER LOKI SCOUT AAHEAD-SCOUT SURVEY PLANSCAN REPERAGE"
        " LOCALIZADOR TOPOGRAM"
        " 3PL 3PLANE"
    ),
    "field map": "FIELDMAP FIELD-MAP FIELD-MAPPING FMAP B0MAP B0-MAP B1MAP B1-MAP",
    "phase": "VENC PHASE-CONTRAST PCA PHASE-MAP",
    "subtraction": "SUBTRACTION SUBTRACTED SUBTRAKTION SOUSTRACTION",
    "vessels, iron or speed": (
        "TOF MRA MRV CEMRA ANGIO ANGIOGRAPHY VENOGRAM VENO TRICKS TWIST SWI SWAN SWIP VENBOLD MRCP QSM HEMO"
        " EPI T2STAR T2*"
    ),
    "fat suppression": (
        "FS FSAT FATSAT FAT-SAT FATSUP FAT-SUP FAT-SUPP FAT-SUPPR FAT-SUPPRESSED FAT-SUPPRESSION FAT-SATURATED"
        " FAT-SATURATION FATSUPP SPAIR ASPIR SPIR STIR TIRM SFS SPECIAL CHESS PROSET DIXONW DIXON-W WATER-EXC"
        " WATER-ONLY WE"
        " FETTSUPPRIMIERT FETTGESATTIGT FETTSATTIGUNG FETTUNTERDRUCKUNG FETTSAT SATGRASA SUPRESION-GRASA SAT-GRASA"
        " SATURATION-GRAISSE SAT-GRAISSE SATFAT SAT-FAT VETSUPPRESSIE VETSAT VET-SUPPRESSIE"
        " SOPPRESSIONE-GRASSO SOPPR-GRASSO FATSEP"
    ),
    "ultra-short echo": "UTE ZTE PETRA ZTE4 SILENZ",
    "contrast agent": (
        "GD GADO GADOLINIUM GADOLINIO GADOVIST GADAVIST DOTAREM PROHANCE CLARISCAN ELUCIREM VUEWAY MAGNEVIST MULTIHANCE"
        " OMNISCAN DCE PRIMOVIST EOVIST GADOTERATE POSTGD POSTKM POSTGADO POSTCONTRAST POSTC T1GD T1C T1KM"
        " T1CE CE KM MDC CIV"
        " KONTRAST KONTRASTMITTEL KONTRASTVERSTARKT CONTRAST CONTRASTE CONTRASTO CONTRASTED ENHANCED POST PLUS-C W-C"
    ),
}  # fmt: skip
"""Topic → words and, with hyphens, phrases that stand for it."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PLACES = {tuple(term.split("-")): topic for topic, terms in TERMS.items() for term in terms.split()}
_LONGEST = max(map(len, _PLACES))

_DIXON = frozenset({"DIXON", "MDIXON", "IDEAL"})
"""A name with one of them that ends in W is the water image's."""

_BEFORE_AGENT = _words("PRE PRAE VOR AVANT BEFORE ANTES PRIMA NATIV NATIVE NATIF VOOR PRZED UNENHANCED")
"""Words after which an agent has not been given yet: PRE GD."""

_AGENT_NEEDS_MORE = {
    "CONTRAST": "WITH W MIT AVEC CON COM MET MED POST PLUS NACH APRES DOPO DESPUES IV",
    "KONTRAST": "WITH W MIT MED MET PLUS NACH MIT POST Z PO",
    "CONTRASTE": "CON AVEC POST APRES COM TRAS PLUS DESPUES",
    "CONTRASTO": "CON POST DOPO PLUS",
}
"""Words for contrast itself, and those that make them mean an agent: PHASE CONTRAST, CONTRAST 2 do not."""

_AFTER_OTHERS = _words(
    "FOSSA OP OPERATIVE OPERATION SURGERY RT RADIATION CHEMO TREATMENT BIOPSY STROKE PROCESSING PROC RECON"
    " TRAUMA FUSION"
)
"""POST before them does not mean an agent."""

WEIGHTINGS = frozenset({"T1", "T2", "PD", "FLAIR"})
KINDS = frozenset({"diffusion", "perfusion", "functional", "vessels, iron or speed", "field map", "phase", "localizer"})
"""Topics that are sequences of their own; two of them, or one beside a T1, are an examination."""


def topics_of_series(acquisition: Acquisition) -> Topics:
    """The topics that the words of a header give for the series itself."""
    names = f"{acquisition.sequence_name} {acquisition.pulse_sequence_name}"
    own = topics_of(acquisition.description) | topics_of(names)
    protocol = topics_of(acquisition.protocol)
    return own | protocol if _speaks_of_series(protocol, own, acquisition.manufacturer) else own


def topics_of(text: str) -> Topics:
    """The topics that a text names and does not take back."""
    return frozenset(_found(split_words(text)))


def lists_several(topics: Topics) -> bool:
    """Whether a text names several sequences, and so an examination."""
    weighted = len(topics & {"T1", "T2", "PD"})
    kinds = len(topics & KINDS)
    return weighted + kinds > 1


def _speaks_of_series(protocol: Topics, own: Topics, manufacturer: str) -> bool:
    """Whether a protocol name is about this series: it lists no sequences, and does not contradict the description."""
    if lists_several(protocol):
        return False
    sequences = WEIGHTINGS | KINDS
    if not own & sequences:
        return True
    return not manufacturer.startswith("GE") and protocol & sequences <= own & sequences


def _found(words: list[str]) -> Iterator[str]:
    place, since = 0, 0
    if words[-1:] in (["W"], ["WATER"]) and not _DIXON.isdisjoint(words):
        yield "fat suppression"
    while place < len(words):
        length = next((n for n in range(_LONGEST, 0, -1) if tuple(words[place : place + n]) in _PLACES), 0)
        if length:
            topic = _PLACES[tuple(words[place : place + length])]
            if not is_negated(words, place, length, since) and (
                topic != "contrast agent" or _is_given(words, place, length)
            ):
                yield topic
            since = place + length
        place += max(1, length)


def _is_given(words: list[str], place: int, length: int) -> bool:
    """Whether a word for a contrast agent means that it has been given."""
    word, before = words[place], words[max(0, place - 2) : place]
    if _BEFORE_AGENT & set(before):
        return False
    if length == 1 and word in _AGENT_NEEDS_MORE:
        return bool(set(_AGENT_NEEDS_MORE[word].split()) & set(before)) and "WO" not in before
    following = words[place + length] if place + length < len(words) else ""
    return word != "POST" or following not in _AFTER_OTHERS
