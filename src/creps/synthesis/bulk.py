"""Bulk densities: a second CT of the same MR in which body, bone, fat and air have one HU each.

A dose computed on it does not depend on the HU that the network predicted, only on where it put bone, fat and air.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from numbers import Real

import numpy as np

from creps import hu
from creps.errors import SettingsError
from creps.metrics.tissues import TISSUE_WINDOWS_HU
from creps.volume import Array, Mask

__all__ = ["BulkDensities", "bulk_density"]


@dataclass(frozen=True)
class BulkDensities:
    """HU of each class. Round values: use those that your planning system is commissioned with.

    Attributes:
        body: Of everything in the body that is not of the other classes.
        bone: Of bone, more than 250 HU in the sCT.
        fat: Of fat, -200 to -20 HU in the sCT.
        air: Of air inside the body (less than -300 HU in the sCT), and of all that is outside.

    Raises:
        SettingsError: a value is no number, or outside what DICOM stores.
    """

    body: float = 0.0
    bone: float = 300.0
    fat: float = -100.0
    air: float = -1000.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            check_hu(value, f"bulk density of {name}")

    @classmethod
    def of(cls, given: bool | Mapping[str, float]) -> BulkDensities | None:
        """As a user writes them: False for none, True for the round values, or class → HU.

        Raises:
            SettingsError: a class is unknown, or a value cannot be used.
        """
        if isinstance(given, bool):
            return cls() if given else None
        if not isinstance(given, Mapping):
            raise SettingsError(f"The bulk densities are {given!r}.", "Give True, False, or {class: HU}.")
        known = [one.name for one in fields(cls)]
        unknown = next((name for name in given if name not in known), None)
        if unknown is not None:
            raise SettingsError(f"Unknown class '{unknown}' of bulk densities.", f"Choose of: {', '.join(known)}.")
        return cls(**given)

    def record(self) -> dict[str, float]:
        """As plain JSON values."""
        return {name: float(value) for name, value in asdict(self).items()}


def check_hu(value: object, what: str) -> None:
    """Refuse a value that is no number of HU which an sCT can hold.

    Raises:
        SettingsError: it is none.
    """
    low, high = hu.STORED_RANGE
    number = math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)
    if not low <= number <= high:
        raise SettingsError(f"The HU of {what} is {value}.", f"Give a number from {low} to {high}.")


def bulk_density(sct_hu: Array, body: Mask, densities: BulkDensities) -> Array:
    """(D, H, W) HU of each voxel's class.

    Args:
        sct_hu: (D, H, W) in HU.
        body: (D, H, W) the body as found in the MR.
        densities: HU of each class.

    >>> sct_hu = np.array([[[-1000.0, -100.0, 40.0, 900.0, 40.0]]])
    >>> body = np.array([[[True, True, True, True, False]]])
    >>> bulk_density(sct_hu, body, BulkDensities()).tolist()
    [[[-1000.0, -100.0, 0.0, 300.0, -1000.0]]]
    """
    low, high = TISSUE_WINDOWS_HU["fat"]
    classes = [~body | (sct_hu < hu.AIR_BELOW), (sct_hu >= low) & (sct_hu < high), sct_hu > hu.BONE_ABOVE]
    return np.select(classes, [densities.air, densities.fat, densities.bone], densities.body).astype(np.float32)
