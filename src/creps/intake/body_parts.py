"""Words for parts of the body, as DICOM headers and settings use them (DICOM PS3.16 Annex L, and usual local ones)."""

from __future__ import annotations

import re

__all__ = ["regions_of"]

_WORDS = {
    "head": (
        "HEAD BRAIN SKULL CRANIUM CEREBRUM CEREBELLUM FACE ORBIT ORBITS EYE EAR IAC SINUS SELLA PITUITARY HYPOPHYSIS"
        " MAXILLA MANDIBLE JAW TMJ ZYGOMA NOSE KOPF SCHAEDEL SCHÄDEL GEHIRN TETE CRANE CERVEAU HEADNECK HN"
    ),
    "neck": "NECK CSPINE LARYNX PHARYNX THYROID CAROTID HALS COU HEADNECK HN NECKCHEST CTSPINE",
    "chest": (
        "CHEST THORAX BREAST HEART LUNG LUNGS STERNUM RIB RIBS MEDIASTINUM TSPINE ESOPHAGUS TH NECKCHEST CTSPINE"
        " TLSPINE CHESTABDOMEN CHESTABDPELVIS"
    ),
    "abdomen": (
        "ABDOMEN LIVER KIDNEY PANCREAS SPLEEN STOMACH ADRENAL GALLBLADDER LSPINE TLSPINE AB COLON BAUCH"
        " ABDOMENPELVIS CHESTABDOMEN CHESTABDPELVIS LSSPINE"
    ),
    "pelvis": (
        "PELVIS PROSTATE HIP HIPS BLADDER RECTUM ANUS UTERUS CERVIX OVARY VAGINA PENIS SACRUM COCCYX SIJOINT SSPINE"
        " BUTTOCK GROIN TESTIS SCROTUM FEMUR THIGH EXTREMITY LOWEREXTREMITY BECKEN HUEFTE HÜFTE PROSTATA BASSIN HANCHE"
        " ABDOMENPELVIS CHESTABDPELVIS LSSPINE PELVISLOWEXTREMT COLON"
    ),
    "leg": (
        "LEG KNEE ANKLE FOOT CALF TOE TIBIA FIBULA PATELLA CALCANEUS FEMUR THIGH EXTREMITY LOWEREXTREMITY"
        " PELVISLOWEXTREMT"
    ),
    "arm": "ARM SHOULDER ELBOW WRIST HAND FINGER HUMERUS FOREARM CLAVICLE SCAPULA EXTREMITY UPPEREXTREMITY",
}

_EVERYWHERE = ("WHOLEBODY", "BODY", "SPINE", "TOTALBODY")

_REGIONS = {
    word: frozenset(region for region, words in _WORDS.items() if word in words.split())
    for word in " ".join(_WORDS.values()).split()
} | dict.fromkeys(_EVERYWHERE, frozenset(_WORDS))


def regions_of(words: str) -> frozenset[str]:
    """What some words may mean: of head, neck, chest, abdomen, pelvis, leg and arm; empty if they are unknown."""
    joined = re.sub(r"[\W\d_]+", "", words.upper())
    if joined in _REGIONS:
        return _REGIONS[joined]
    parts = [_REGIONS.get(part, frozenset()) for part in re.split(r"[\W\d_]+", words.upper())]
    return frozenset().union(*parts)
