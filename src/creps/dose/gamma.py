"""Gamma index by pymedphys, global, above 10 % of the maximum."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from creps.errors import SettingsError
from creps.volume import Array, Volume

__all__ = ["CRITERIA", "Gamma", "gamma_index"]

CRITERIA = ((2.0, 2.0), (3.0, 3.0))
"""(percent of the maximum, mm)."""

CUTOFF_PERCENT = 10.0
"""Doses below this share of the maximum do not count."""

LARGEST = 1.25
"""The search ends here: a larger gamma is reported as this. Up to 2 it takes four times as long."""


@dataclass(frozen=True)
class Gamma:
    """Gamma of one criterion.

    Attributes:
        percent: Dose criterion, in percent of the maximum on the CT.
        distance_mm: Distance criterion.
        map: (D, H, W) gamma; NaN where the dose is too low to count.
    """

    percent: float
    distance_mm: float
    map: Array = field(repr=False)

    @property
    def name(self) -> str:
        """Such as ``2%/2mm``."""
        return f"{self.percent:g}%/{self.distance_mm:g}mm"

    @property
    def share_within_one(self) -> float:
        """Share of the voxels that count whose gamma is at most 1."""
        counted = self.map[np.isfinite(self.map)]
        return float((counted <= 1).mean()) if counted.size else float("nan")


def gamma_index(ct_gy: Array, sct_gy: Array, grid: Volume, percent: float, distance_mm: float) -> Gamma:
    """Compare two doses on one grid.

    Args:
        ct_gy: (D, H, W) the reference.
        sct_gy: (D, H, W) the dose that is evaluated.
        grid: Their grid.
        percent: Dose criterion, in percent of the reference's maximum.
        distance_mm: Distance criterion in mm.

    Raises:
        SettingsError: pymedphys is not installed.
    """
    try:
        import pymedphys
    except ImportError as error:
        raise SettingsError(
            "pymedphys, which computes gamma, is not installed.", "Install it with: pip install 'creps[dose]'"
        ) from error
    axes = tuple(np.arange(n) * s for n, s in zip(grid.shape, grid.spacing_mm, strict=True))
    with warnings.catch_warnings(), np.errstate(all="ignore"), _root_logger_kept():
        warnings.simplefilter("ignore")
        found = pymedphys.gamma(
            axes,
            ct_gy.astype(np.float64),
            axes,
            sct_gy.astype(np.float64),
            percent,
            distance_mm,
            lower_percent_dose_cutoff=CUTOFF_PERCENT,
            interp_fraction=10,
            max_gamma=LARGEST,
            quiet=True,
            interp_algo=_interpolator(),
        )
    return Gamma(percent, distance_mm, np.asarray(found, dtype=np.float32))


@contextmanager
def _root_logger_kept() -> Iterator[None]:
    """Keep the root logger: pymedphys logs by it, which installs a handler for the whole program."""
    root = logging.getLogger()
    handlers, disabled = list(root.handlers), root.disabled
    root.handlers[:], root.disabled = [logging.NullHandler()], True
    try:
        yield
    finally:
        root.handlers[:], root.disabled = handlers, disabled


def _interpolator() -> str:
    """Name pymedphys' way to interpolate. Its own needs numba and is four times as fast; both are linear and agree."""
    return "pymedphys" if importlib.util.find_spec("numba") is not None else "scipy"
