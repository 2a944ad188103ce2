"""Digital patients with known truth: procedural anatomy, imaged as MR and as CT."""

from __future__ import annotations

from creps.phantom.cohort import PHANTOM_SCHEMA, REGIONS, TRAINING_MANIFEST, write_cohort
from creps.phantom.painting.tissues import TISSUE_ID, TISSUES, Tissue
from creps.phantom.patient import Phantom, head_patient, pelvis_patient
from creps.phantom.scanners.mr import MR_CENTRES, PELVIS_MR_CENTRES

__all__ = [
    "MR_CENTRES",
    "PELVIS_MR_CENTRES",
    "PHANTOM_SCHEMA",
    "REGIONS",
    "TISSUES",
    "TISSUE_ID",
    "TRAINING_MANIFEST",
    "Phantom",
    "Tissue",
    "head_patient",
    "pelvis_patient",
    "write_cohort",
]
