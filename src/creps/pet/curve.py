"""From HU to the attenuation at 511 keV, by a bilinear curve that is stated with its source."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from creps.io.hu_curve import Column, check_columns, curve_of

__all__ = ["DEFAULT_CURVE", "MuCurve", "mu_curve"]

STATED = Path(__file__).with_name("stated")

DEFAULT_CURVE = "carney-2006"

EXPECTED_PER_CM = {
    "air": (-1000.0, 0.0001, (0.0, 0.005)),
    "water": (0.0, 0.096, (0.085, 0.105)),
    "bone": (1000.0, 0.15, (0.12, 0.2)),
}
"""HU, cm⁻¹ at 511 keV, and the range a curve may give; one outside it has another unit or energy, or ends too early."""

FORMAT = (
    "Write hu and mu_per_cm as lists of one length, HU rising, mu_per_cm (cm⁻¹ at 511 keV) never falling; see"
    " docs/how-to/pet-attenuation.md."
)


class MuCurve(BaseModel):
    """Linear attenuation coefficient at 511 keV by HU: linear between the points, constant beyond them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    name: str = Field(min_length=1)
    """Name of the curve."""
    source: str = Field(min_length=1)
    """The publication, or the phantom and scanner that it was measured with."""
    kvp: float | None = Field(default=None, gt=0, le=200)
    """Tube voltage of the CTs that it is for, in kV."""
    hu: tuple[float, ...]
    """HU of the points, strictly rising."""
    mu_per_cm: tuple[float, ...]
    """Attenuation at each point in cm⁻¹, never falling."""

    @model_validator(mode="after")
    def _monotonic(self) -> Self:
        check_columns(self.hu, (Column("mu_per_cm", self.mu_per_cm, "cm⁻¹", 0, 0.6),))
        for tissue, (hu, usual, (low, high)) in EXPECTED_PER_CM.items():
            given = float(np.interp(hu, self.hu, self.mu_per_cm))
            if not low <= given <= high:
                raise ValueError(f"it gives {tissue} ({hu:g} HU) {given:g} cm⁻¹, and {tissue} has {usual:g} at 511 keV")
        return self

    def attenuation(self, hu: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Attenuation in cm⁻¹ of each value in HU, of the same shape.

        >>> print(mu_curve().attenuation([-1000.0, 0.0, 1000.0]).round(4))
        [0.     0.096  0.1491]
        """
        return np.interp(np.asarray(hu, dtype=np.float64), self.hu, self.mu_per_cm).astype(np.float32)


def mu_curve(given: MuCurve | Path | str = DEFAULT_CURVE) -> MuCurve:
    """The curve of a name, or of a site's own JSON file.

    Args:
        given: ``carney-2006``, or the file.

    Raises:
        SettingsError: there is none of that name, the file cannot be read, or the curve is not monotonic or out of
            range.

    Examples:
        >>> mu_curve().kvp
        120.0
    """
    return curve_of(given, MuCurve, STATED, "attenuation curve", FORMAT)
