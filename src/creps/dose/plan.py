"""The plan: beams, prescription and grid, from defaults per region or a small YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from creps.errors import SettingsError

__all__ = ["COARSEST_GRID_MM", "DosePlan", "Radiation", "Region", "default_plan", "read_plan"]

Region = Literal["brain", "pelvis"]
Radiation = Literal["photons", "protons"]

COARSEST_GRID_MM = 5.0
"""A coarser dose grid blurs the penumbra and the distal edge, and is refused."""

Angle = Annotated[float, Field(ge=0.0, lt=360.0)]


class DosePlan(BaseModel):
    """What is irradiated, from where, and how finely the dose is computed.

    Attributes are those of the plan file; unknown keys are refused.

    Examples:
        >>> plan = default_plan("pelvis", "protons")
        >>> plan.prescription_gy, plan.gantry_degrees
        (3.0, (90.0, 270.0))
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    radiation: Radiation = "photons"
    """`photons` (6 MV) or `protons`."""
    region: Region = "brain"
    """Region that the defaults come from."""
    prescription_gy: Annotated[float, Field(gt=0.0, le=30.0)] = 2.0
    """Median dose of the target per fraction; for protons weighted with a constant RBE of 1.1."""
    gantry_degrees: Annotated[tuple[Angle, ...], Field(min_length=1, max_length=36)] = (0.0,)
    """Gantry angle of each beam (IEC 61217)."""
    couch_degrees: tuple[Angle, ...] = ()
    """Couch angle of each beam; empty: 0 for all."""
    spot_mm: Annotated[float, Field(ge=2.0, le=20.0)] = 5.0
    """Width of a beamlet, or distance of the spots, at the isocentre."""
    dose_grid_mm: Annotated[float, Field(ge=1.0)] = 3.0
    """Voxel size of the dose; coarser than 5 mm is refused."""
    target: str | None = None
    """Name of the target; by default the first whose name begins with PTV, target, CTV or GTV."""
    organs: tuple[str, ...] | None = None
    """Names of the structures that are reported; by default all."""
    iterations: Annotated[int, Field(ge=1, le=2000)] = 60
    """Most steps of the optimiser on the CT."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.couch_degrees and len(self.couch_degrees) != len(self.gantry_degrees):
            raise ValueError("couch_degrees needs one angle for each of gantry_degrees, or none")
        if self.organs is not None and self.target is None:
            raise ValueError("organs needs target, since other structures are not read then")
        return self

    @property
    def couches(self) -> tuple[float, ...]:
        """Couch angle of each beam in degrees."""
        return self.couch_degrees or tuple(0.0 for _ in self.gantry_degrees)


DEFAULTS: dict[tuple[Region, Radiation], dict[str, Any]] = {
    ("brain", "photons"): {"prescription_gy": 2.0, "gantry_degrees": (0, 72, 144, 216, 288), "spot_mm": 5.0},
    ("brain", "protons"): {"prescription_gy": 2.0, "gantry_degrees": (90, 180, 270), "spot_mm": 5.0},
    ("pelvis", "photons"): {
        "prescription_gy": 3.0,
        "gantry_degrees": (0, 51, 103, 154, 206, 257, 309),
        "spot_mm": 8.0,
        "dose_grid_mm": 4.0,
    },
    ("pelvis", "protons"): {
        "prescription_gy": 3.0,
        "gantry_degrees": (90, 270),
        "spot_mm": 6.0,
        "dose_grid_mm": 4.0,
    },
}
"""Prescription per fraction: SynthRAD2023. Beams: equally spaced coplanar photon beams, few proton beams."""


def default_plan(region: str, radiation: str = "photons") -> DosePlan:
    """The plan of a region.

    Args:
        region: ``brain`` or ``pelvis``.
        radiation: ``photons`` or ``protons``.

    Raises:
        SettingsError: there are no defaults for these.

    Examples:
        >>> len(default_plan("brain").gantry_degrees)
        5
    """
    return _plan({}, region, radiation, "The plan")


def read_plan(path: Path | str, *, region: str | None = None, radiation: str | None = None) -> DosePlan:
    r"""Read a plan file; what it does not say is the default of its region.

    Args:
        path: YAML file with keys of `DosePlan`.
        region: Wins over the file's.
        radiation: Wins over the file's.

    Raises:
        SettingsError: the file cannot be read, a key is unknown, or a value is out of range.

    Examples:
        >>> from pathlib import Path
        >>> _ = Path("plan.yaml").write_text("region: pelvis\nradiation: protons\ndose_grid_mm: 3\n")
        >>> read_plan("plan.yaml").dose_grid_mm
        3.0
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SettingsError(f"The plan file {path} cannot be read as YAML.", "Check the file.") from error
    if not isinstance(content, dict):
        raise SettingsError(f"The plan file {path} has no keys.", "Write lines such as: region: pelvis")
    region = region or content.get("region")
    if region is None:
        raise SettingsError(f"The plan file {path} names no region.", "Add the line region: brain, or region: pelvis.")
    return _plan(content, str(region), str(radiation or content.get("radiation", "photons")), f"The plan file {path}")


def _plan(content: dict[str, Any], region: str, radiation: str, name: str) -> DosePlan:
    known = {"region": (region, get_args(Region)), "radiation": (radiation, get_args(Radiation))}
    for what, (value, allowed) in known.items():
        if value not in allowed:
            raise SettingsError(f"{name} has the {what} '{value}'.", f"Choose {' or '.join(allowed)}.")
    defaults = next(value for key, value in DEFAULTS.items() if key == (region, radiation))
    try:
        plan = DosePlan.model_validate({**defaults, **content, "region": region, "radiation": radiation})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "beams"
        remedy = {
            "extra_forbidden": f"Its keys are {', '.join(DosePlan.model_fields)}.",
            "tuple_type": "Write a list, such as [0, 90].",
        }.get(first["type"], "Correct it.")
        raise SettingsError(f"{name} has a wrong value at '{where}': {first['msg']}.", remedy) from error
    if plan.dose_grid_mm > COARSEST_GRID_MM:
        raise SettingsError(
            f"{name} has a dose grid of {plan.dose_grid_mm:g} mm, too coarse for a dose comparison.",
            f"Set dose_grid_mm to {COARSEST_GRID_MM:g} or less.",
        )
    return plan
