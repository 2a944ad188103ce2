"""Beams of a plan and their doses, whatever engine computes them."""

from __future__ import annotations

from dataclasses import dataclass, field

from creps.volume import Array

__all__ = ["Beam", "PlannedDose", "Ray"]


@dataclass(frozen=True)
class Ray:
    """A line from the source through the target.

    Attributes:
        source_mm: Patient (x, y, z) of the source.
        through_mm: Patient (x, y, z) of its point in the isocentre's plane.
    """

    source_mm: tuple[float, float, float]
    through_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Beam:
    """A beam of the plan.

    Attributes:
        gantry_degrees: Its gantry angle.
        couch_degrees: Its couch angle.
        rays: Its rays.
        beamlets: Number of beamlets or spots.
    """

    gantry_degrees: float
    couch_degrees: float
    rays: tuple[Ray, ...] = field(repr=False)
    beamlets: int


@dataclass(frozen=True)
class PlannedDose:
    """A dose per fraction.

    Attributes:
        total_gy: (D, H, W); for protons weighted with a constant RBE.
        beams_gy: The same of each beam.
    """

    total_gy: Array = field(repr=False)
    beams_gy: tuple[Array, ...] = field(repr=False)
