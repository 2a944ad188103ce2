"""The attenuation map of a patient at 511 keV, on the grid of a PET and as sharp as one."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from creps.errors import InputError
from creps.pet.curve import MuCurve
from creps.preprocessing.crop import outside_extent
from creps.preprocessing.target_grid import bring_onto
from creps.volume import Mask, Volume

__all__ = ["PET_FWHM_MM", "attenuation_map", "body_share", "check_overlap", "missing_mm"]

PET_FWHM_MM = 4.3
"""Resolution of the Siemens Biograph mMR near its axis (Delso et al. 2011, J Nucl Med 52:1914-1922)."""

FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))

LEAST_PER_CM = 1e-6
"""Less than this is nothing: air has 1e-4, and what a spline undershoots is negative."""

LEAST_SHARE = 0.5
"""At least this share of the body in the MR lies in the PET grid; with less they show different things."""

CUT_CM2 = 5.0
"""The patient is cut off at a side of the MR that he meets on more than this area."""

REPORTED_MM = 5.0
"""Smallest part of the PET beyond the MR that is reported."""


def attenuation_map(sct: Volume, patient: Mask, pet: Volume, curve: MuCurve, fwhm_mm: float = PET_FWHM_MM) -> Volume:
    """Linear attenuation coefficients at 511 keV in cm⁻¹.

    The curve comes first and the smoothing after it: what a PET averages is attenuation.

    Args:
        sct: In HU.
        patient: (D, H, W) of `sct`: what is not background. The rest is 0, so neither bed nor coil is in the map.
        pet: The grid; its array is not read.
        curve: HU to attenuation.
        fwhm_mm: Resolution of the PET: width of a Gaussian at half its height; 0 smooths nothing.

    Returns:
        The map on `pet`'s grid; 0 outside the MR.

    Examples:
        >>> from creps.pet.curve import mu_curve
        >>> water = Volume(np.zeros((20, 20, 20)), (2.0, 2.0, 2.0))
        >>> mu = attenuation_map(water, np.ones(water.shape, bool), water, mu_curve())
        >>> round(float(mu.array[10, 10, 10]), 4)
        0.096
    """
    mu = np.where(patient, curve.attenuation(sct.array), np.float32(0))
    sigma = [fwhm_mm / FWHM_PER_SIGMA / spacing for spacing in sct.spacing_mm]
    smooth = ndimage.gaussian_filter(mu, sigma, mode="nearest") if fwhm_mm > 0 else mu
    sampled = bring_onto(sct.with_array(smooth), pet, 0.0)
    return sampled.with_array(np.where(sampled.array < LEAST_PER_CM, np.float32(0), sampled.array))


def body_share(body: Volume, pet: Volume) -> float:
    """Share of the body that lies in the grid of a PET.

    Args:
        body: The patient, above 0 inside.
        pet: The grid; its array is not read.
    """
    inside = body.array > 0.5
    count = np.count_nonzero(inside)
    return float(np.count_nonzero(inside & ~outside_extent(body, pet)) / count) if count else 0.0


def check_overlap(body: Volume, pet: Volume, name: str, pet_name: str) -> float:
    """Refuse a PET grid that lies apart from the MR.

    Args:
        body: The patient as found in the MR, above 0 inside.
        pet: The grid; its array is not read.
        name: Of the MR.
        pet_name: Of the PET.

    Returns:
        The share of the body in it.

    Raises:
        InputError: less than `LEAST_SHARE` of the body lies in it.
    """
    share = body_share(body, pet)
    if share < LEAST_SHARE:
        raise InputError(
            f"The PET grid {pet_name} lies apart from the MR {name}: it holds {100 * share:.0f} % of the MR's body.",
            "Give the PET of this patient in the coordinates of the MR; register them first if they differ.",
        )
    return share


def missing_mm(sct: Volume, patient: Mask, pet: Volume) -> float:
    """How far a PET reaches beyond the sides of the MR at which the patient is cut off; 0 if it does not.

    There is no attenuation in that part of the map, although there is patient.

    Args:
        sct: The sCT; its array is not read.
        patient: (D, H, W) of it: what is not background.
        pet: The grid of the PET; its array is not read.
    """
    index = sct.to_index(pet.corners_mm(edges=True))
    found = 0.0
    for axis, (n, spacing) in enumerate(zip(sct.shape, sct.spacing_mm, strict=True)):
        area = math.prod(s for other, s in enumerate(sct.spacing_mm) if other != axis) / 100
        first, last = (np.count_nonzero(patient.take(end, axis=axis)) * area > CUT_CM2 for end in (0, n - 1))
        found = max(found, first * (-0.5 - index[:, axis].min()) * spacing)
        found = max(found, last * (index[:, axis].max() - n + 0.5) * spacing)
    return round(float(found), 1) if found >= REPORTED_MM else 0.0
