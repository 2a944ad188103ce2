"""Body parts that the standard names (PS3.16, annex L), and whether they have a side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from creps.io.dicom.read.elements import value
from creps.io.dicom.write.values import single

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["copy_body_part", "ensure_body_part"]

UNPAIRED = frozenset([
    "ABDOMEN", "ABDOMENPELVIS", "BLADDER", "BRAIN", "CERVIX", "CHEST", "CHESTABDOMEN", "CHESTABDPELVIS", "COLON",
    "CSPINE", "ESOPHAGUS", "FACE", "HEAD", "HEADNECK", "HEART", "JAW", "LARYNX", "LIVER", "LSPINE", "MAXILLA",
    "MEDIASTINUM", "NECK", "NECKCHEST", "NECKCHESTABDPELV", "PANCREAS", "PELVIS", "PHARYNX", "PROSTATE", "RECTUM",
    "SKULL", "SPINE", "SSPINE", "STOMACH", "THYROID", "TONGUE", "TSPINE", "UTERUS", "WHOLEBODY",
])  # fmt: skip

PAIRED = frozenset([
    "ANKLE", "ARM", "BREAST", "CALF", "EAR", "ELBOW", "EXTREMITY", "EYE", "FEMUR", "FOOT", "HAND", "HIP", "HUMERUS",
    "KIDNEY", "KNEE", "LEG", "LUNG", "ORBIT", "PAROTID", "SHOULDER", "THIGH", "WRIST",
])  # fmt: skip


def copy_body_part(header: Dataset, kept: Dataset) -> None:
    """Take over the body part where it is one of the standard's, and its side where it has one."""
    part = single(value(header, "BodyPartExamined"))
    if part in UNPAIRED | PAIRED:
        kept.BodyPartExamined = part
    if part in PAIRED:
        sides = [single(value(header, name)) for name in ("Laterality", "ImageLaterality")]
        kept.Laterality = next((side for side in sides if side in ("L", "R")), "")


def ensure_body_part(dataset: Dataset, region: str) -> None:
    """Where the MR names none: the region of the model if it is one of the standard's, or an unknown side."""
    if "BodyPartExamined" in dataset:
        return
    part = region.upper().replace(" ", "").replace("-", "").replace("_", "")
    if part in UNPAIRED:
        dataset.BodyPartExamined = part
    else:
        dataset.Laterality = ""
