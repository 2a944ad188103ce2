"""From HU to density and speed of sound in the skull, by curves that are stated with their source."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from creps.io.hu_curve import Column, check_columns, curve_of, stated_in

__all__ = ["DEFAULT_CURVES", "AcousticCurves", "Medium", "acoustic_curves", "stated_curves"]

STATED = Path(__file__).with_name("stated")
"""Folder of the curves that come with creps."""

DEFAULT_CURVES = "k-plan"
"""The default of two of the three programs that creps writes for."""

FORMAT = (
    "Write hu, density_kg_m3 and speed_m_s as lists of one length, HU rising, the others never falling; see"
    " docs/how-to/transcranial-ultrasound.md."
)


class Medium(BaseModel):
    """A material with one density and one speed of sound."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    density_kg_m3: float = Field(gt=0, le=4000, allow_inf_nan=False)
    """Density in kg/m³."""
    speed_m_s: float = Field(ge=100, le=5000, allow_inf_nan=False)
    """Speed of sound in m/s."""


class AcousticCurves(BaseModel):
    """Density and speed of sound of the skull by HU, and of what is not skull.

    Linear between the points; beyond them the outermost values hold. In the skull no value is below that of water.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    name: str = Field(min_length=1)
    """Name of the curves."""
    source: str = Field(min_length=1)
    """The publication, or the phantom and scanner that they were measured with."""
    hu: tuple[float, ...]
    """HU of the points, strictly rising."""
    density_kg_m3: tuple[float, ...]
    """Density at each point in kg/m³, never falling."""
    speed_m_s: tuple[float, ...]
    """Speed of sound at each point in m/s, never falling."""
    skull_above_hu: float = Field(default=300.0, ge=100, le=1000)
    """A voxel above this is bone: 300 HU as in BabelBrain 0.8.1."""
    soft_tissue: Medium
    """Everything in the head that is neither bone nor air."""
    water: Medium
    """What couples the transducer: everything outside the head."""
    air: Medium
    """Air in the head."""

    @model_validator(mode="after")
    def _monotonic(self) -> Self:
        columns = (
            Column("density_kg_m3", self.density_kg_m3, "kg/m³", 900, 4000),
            Column("speed_m_s", self.speed_m_s, "m/s", 1000, 5000),
        )
        check_columns(self.hu, columns)
        return self

    def density(self, hu: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Density of bone in kg/m³, of the shape of `hu`.

        >>> print(acoustic_curves("k-plan").density([60.0, 1000.0, 2500.0]))
        [1060. 1530. 2150.]
        """
        return np.maximum(
            np.interp(np.asarray(hu, float), self.hu, self.density_kg_m3), self.water.density_kg_m3
        ).astype(np.float32)

    def speed(self, hu: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Speed of sound in bone in m/s, of the shape of `hu`.

        >>> print(acoustic_curves("aubry-2003").speed([0.0, 500.0, 1000.0]))
        [1500. 2200. 2900.]
        """
        return np.maximum(np.interp(np.asarray(hu, float), self.hu, self.speed_m_s), self.water.speed_m_s).astype(
            np.float32
        )


def stated_curves() -> tuple[str, ...]:
    """Names of the curves that come with creps."""
    return stated_in(STATED)


def acoustic_curves(given: AcousticCurves | Path | str = DEFAULT_CURVES) -> AcousticCurves:
    """The curves of a name, or of a site's own JSON file.

    Args:
        given: A name of `stated_curves`, or the file.

    Raises:
        SettingsError: there are none of that name, the file cannot be read, or the curves are not monotonic or out of
            range.

    Examples:
        >>> acoustic_curves().name
        'k-plan'
    """
    return curve_of(given, AcousticCurves, STATED, "acoustic curves", FORMAT)
