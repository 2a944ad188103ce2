"""The comparison as a JSON document: plan, differences, ranges, provenance."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from creps.dose.plan import DosePlan
from creps.errors import InputError
from creps.io.versioned import read_versioned

__all__ = [
    "FILE",
    "PICTURES",
    "SCOPE",
    "BeamRange",
    "DoseDocument",
    "StructureDose",
    "TargetDose",
    "read_dose_document",
]

FILE = "dose.json"
"""Name of the document in the folder of a comparison."""

PICTURES = {
    "wash_ct": "dose on the CT in three planes",
    "wash_sct": "dose on the sCT in three planes",
    "difference": "difference of the doses in three planes",
    "dvh": "dose-volume histograms on CT and sCT",
    "gamma": "gamma map in three planes",
}
"""Names of the pictures beside it, each a PNG → what they show."""

SCOPE = (
    "A plan of a research engine with generic machine data, recalculated on the sCT. The differences describe this sCT"
    " and this plan. They do not show that the sCT is fit for clinical use."
)


class TargetDose(BaseModel):
    """Dose error of the target."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """Name of the structure."""
    prescription_gy: float
    """Prescription per fraction."""
    error_percent: float
    """Mean of \\|D_ct - D_sct\\| in percent of the prescription, over voxels with at least 90 % of it on the CT (SynthRAD2023)."""  # noqa: E501
    voxels: int
    """Number of these voxels."""
    mean_difference_percent: float
    """Mean dose on the sCT minus that on the CT, in percent of the prescription."""
    isocentre_difference_percent: float
    """Dose at the isocentre on the sCT minus that on the CT, in percent of the latter."""
    conformity_ct: float
    """Paddick's conformity index of the 95 % isodose on the CT."""
    conformity_sct: float
    """The same on the sCT."""


class StructureDose(BaseModel):
    """DVH values of one structure in Gy per fraction."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    volume_ml: float
    """Volume on the dose grid."""
    ct: dict[str, float]
    """D98, D95, D5, D2 and mean on the CT."""
    sct: dict[str, float]
    """The same on the sCT."""
    difference: dict[str, float]
    """sCT minus CT."""


class BeamRange(BaseModel):
    """Proton range error of one beam: R80 of the deepest spot of each ray, sCT minus CT."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gantry_degrees: float
    """Gantry angle of the beam."""
    rays: int
    """Rays with a range on both images."""
    rays_without_range: int
    """Rays without one on either image; they are left out."""
    mean_mm: float | None = None
    """Mean error; positive: protons reach further on the sCT."""
    sd_mm: float | None = None
    """Standard deviation."""
    p95_absolute_mm: float | None = None
    """95th percentile of the error's size."""
    share_over_3_mm: float | None = None
    """Share of rays whose error is larger than 3 mm."""
    share_over_5_mm: float | None = None
    """Share of rays whose error is larger than 5 mm."""


class DoseDocument(BaseModel):
    """A plan on a CT and on its sCT, and how far the doses are apart."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    """Version of the file format; creps refuses any other."""
    scope: str = SCOPE
    """What the figures mean, and what they do not."""
    reference: Literal["ct", "bulk"]
    """Whether the plan was made on a CT, or on the bulk-density CT of the same MR."""
    plan: DosePlan
    """The plan, with its defaults."""
    beams: tuple[dict[str, float], ...]
    """Gantry and couch angle of each beam, with its number of rays and beamlets."""
    density_table: dict[str, Any]
    """From HU to density relative to water."""
    outside: Literal["air", "image"]
    """What surrounds the body: air, or the couch and mask of the image."""
    grid: dict[str, Any]
    """Shape (D, H, W), spacing and origin of the dose grid."""
    target: TargetDose
    """Dose error of the target."""
    structures: dict[str, StructureDose]
    """DVH values by structure."""
    synthrad_dvh: float
    """DVH metric of SynthRAD2023: a sum of relative differences, 0 is best."""
    gamma: dict[str, float | None]
    """Share of voxels within gamma 1, by criterion; global, above 10 % of the maximum."""
    ranges: tuple[BeamRange, ...]
    """Proton range error of each beam; empty for photons."""
    flags: tuple[str, ...]
    """Sentences about what exceeds 2 % against the bulk-density CT; empty against a CT."""
    notes: tuple[str, ...]
    """What a reader must know of the inputs."""
    published: tuple[dict[str, str], ...]
    """Published figures of other patients, plans and engines; no limits."""
    inputs: dict[str, Any]
    """File name and SHA-256 of each image and of the structures."""
    seconds: float
    """How long it took."""
    provenance: dict[str, Any]
    """Notice, time, versions and machine."""

    @property
    def reference_name(self) -> str:
        """What texts call the image that the plan was made on."""
        return "bulk-density CT" if self.reference == "bulk" else "CT"


def read_dose_document(path: Path | str) -> DoseDocument:
    """Read a ``dose.json`` again.

    Raises:
        InputError: it cannot be read, or another schema version wrote it.
    """
    return read_versioned(
        Path(path),
        DoseDocument,
        InputError,
        other_version="Run creps dose again.",
        damaged="Give a dose.json that creps dose wrote.",
    )
