"""What an attenuation map was made of and how far it reaches, as a document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from creps.pet.curve import MuCurve

__all__ = ["MuMapDocument"]


class MuMapDocument(BaseModel):
    """The attenuation map of one patient."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    """Version of the file format; creps refuses any other."""
    files: tuple[str, ...]
    """The map as NIfTI, and as an Interfile header with its voxels."""
    unit: Literal["cm-1"] = "cm-1"
    """Unit of the voxels: cm⁻¹ at 511 keV."""
    curve: MuCurve
    """What the attenuation comes from."""
    fwhm_mm: float
    """Width at half height of the Gaussian that smooths the map, in mm."""
    pet: dict[str, Any]
    """Grid of the PET: shape and spacing along D, H, W, and the SHA-256 of its file; null in a de-identified export."""
    body_share: float
    """Share of the body in the MR that lies in the PET grid."""
    missing_mm: float
    """How far the PET reaches beyond the MR where the patient is cut off: there is no attenuation in that part."""
    mu_range: tuple[float, float]
    """Lowest and highest value in cm⁻¹."""
    provenance: dict[str, Any]
    """Notice, time, versions, machine and the model's weights."""
