"""Write the attenuation map of a patient as NIfTI and as Interfile."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar

from creps.errors import InputError, SettingsError
from creps.io.atomic import write_json
from creps.io.itk import read_volume, write_volume
from creps.pet.curve import DEFAULT_CURVE, MuCurve, mu_curve
from creps.pet.document import MuMapDocument
from creps.pet.interfile import check_storable, write_interfile
from creps.pet.mu_map import PET_FWHM_MM, attenuation_map, body_share, check_overlap, missing_mm
from creps.provenance import sha256_file
from creps.volume import Mask, Volume

__all__ = ["DOCUMENT", "FOLDER", "MuMap", "mu_map_of"]

log = logging.getLogger(__name__)

FOLDER, DOCUMENT = "mumap", "mumap.json"
"""Name of the folder, and of the document in it."""

FILES = ("mumap.nii.gz", "mumap.hv", "mumap.v")
"""What else is in it."""

QUANTITY = "linear attenuation coefficient at 511 keV in cm-1; no bed, no coil"

WIDEST_MM = 20.0
"""No PET is less sharp."""


@dataclass(frozen=True)
class MuMap:
    """The attenuation map on the grid of a PET, to be made of an sCT.

    Attributes:
        pet: The grid; its array is not read.
        curve: HU to attenuation.
        fwhm_mm: Resolution of the PET.
        name: Of the PET, for messages.
        sha256: SHA-256 of its file; None for a volume in memory.

    Raises:
        SettingsError: the resolution is no number from 0 to 20 mm.
        InputError: the grid is oblique, which Interfile cannot store.
    """

    pet: Volume
    curve: MuCurve = field(default_factory=mu_curve)
    fwhm_mm: float = PET_FWHM_MM
    name: str = "in memory"
    sha256: str | None = None
    folder: ClassVar[str] = FOLDER
    on_mr: ClassVar[bool] = False

    def __post_init__(self) -> None:
        value: object = self.fwhm_mm
        number = math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)
        if not 0 <= number <= WIDEST_MM:
            raise SettingsError(f"The resolution of the PET is {value}.", f"Give mm from 0 to {WIDEST_MM:g}.")
        check_storable(self.pet, self.name)

    def check(self, mr: Volume, body: Volume, target: Volume, region: str, name: str) -> None:
        """Refuse a PET grid that lies apart from the MR, see `check_overlap`."""
        del mr, target, region
        check_overlap(body, self.pet, name, self.name)

    def unlinked(self) -> MuMap:
        """The same without the checksum of the PET's file."""
        return replace(self, sha256=None)

    def write(self, folder: Path, sct: Volume, patient: Mask, name: str, provenance: dict[str, Any]) -> dict[str, Any]:
        """Make the map and write it into a folder that is there; return what the sCT's record says of it.

        Raises:
            InputError: the PET grid lies apart from the sCT, or a file cannot be written.
        """
        body = sct.with_array(patient)
        check_overlap(body, self.pet, name, self.name)
        mu = attenuation_map(sct, patient, self.pet, self.curve, self.fwhm_mm)
        missing = missing_mm(sct, patient, self.pet)
        if missing:
            log.warning(
                "%s: the PET reaches %.0f mm beyond the MR where the patient is cut off; that part of the attenuation"
                " map is empty.",
                name,
                missing,
            )
        write_volume(mu, folder / "mumap.nii.gz")
        write_interfile(mu, folder / "mumap.hv", QUANTITY)
        document = MuMapDocument(
            files=FILES,
            curve=self.curve,
            fwhm_mm=self.fwhm_mm,
            pet={"shape": list(self.pet.shape), "spacing_mm": list(self.pet.spacing_mm), "sha256": self.sha256},
            body_share=round(body_share(body, self.pet), 4),
            missing_mm=missing,
            mu_range=(float(mu.array.min()), float(mu.array.max())),
            provenance=provenance,
        )
        write_json(folder / DOCUMENT, document.model_dump(mode="json"))
        return {"curve": self.curve.name, "fwhm_mm": self.fwhm_mm, "missing_mm": missing}


def mu_map_of(
    pet: Volume | Path | str, curve: MuCurve | Path | str = DEFAULT_CURVE, fwhm_mm: float = PET_FWHM_MM
) -> MuMap:
    """The map that a user asks for, by the file of a PET (or any image on its grid).

    Args:
        pet: The PET, or its file.
        curve: ``carney-2006``, or a site's own JSON file.
        fwhm_mm: Resolution of the PET.

    Raises:
        InputError: the PET cannot be read, or is oblique.
        SettingsError: the curve or the resolution cannot be used.
    """
    if isinstance(pet, Volume):
        return MuMap(pet, mu_curve(curve), fwhm_mm)
    if not isinstance(pet, (Path, str)):
        raise InputError(f"The PET is of the type {type(pet).__name__}.", "Give a creps.Volume, or the path of a file.")
    path = Path(pet)
    if path.is_dir():
        raise InputError(f"The PET {path} is a folder.", "Give a volume file: convert a DICOM series first (dcm2niix).")
    return MuMap(read_volume(path), mu_curve(curve), fwhm_mm, path.name, sha256_file(path))
