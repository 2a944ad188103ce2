"""Three scanners that no shipped model has seen, to adapt to: fixed, so that results can be compared."""

from __future__ import annotations

from dataclasses import dataclass

from creps.errors import SettingsError
from creps.phantom.scanners.mr import MrCentre

__all__ = ["UNSEEN_SCANNERS", "UnseenScanner", "unseen_scanner"]

SPACING_MM = 2.5
"""Nominal voxel size; each scanner stretches it (D, H, W)."""


@dataclass(frozen=True)
class UnseenScanner:
    """A hospital's MR scanner and its patients.

    Attributes:
        centre: Field, sequence, TR, TE, TI, flip angle, raw range, stretch of the voxels, bias field, noise.
        seed: Of its patients, who differ from those of the other scanners, of cohorts and of every benchmark.
    """

    centre: MrCentre
    seed: int

    @property
    def name(self) -> str:
        """Short name."""
        return self.centre.name

    @property
    def voxel_mm(self) -> tuple[float, float, float]:
        """Voxel size (D, H, W)."""
        d, h, w = (round(SPACING_MM * factor, 4) for factor in self.centre.stretch)
        return d, h, w


# name, tesla, sequence, TR, TE, TI (ms), flip (degrees), raw range, stretch (D, H, W), bias field, SNR of white matter
UNSEEN_SCANNERS: tuple[UnseenScanner, ...] = (
    UnseenScanner(MrCentre("north", 3.0, "spin echo", 640, 14, 0, 90, 3100, (1.2, 1.0, 1.0), 0.24, 13), 777011),
    UnseenScanner(MrCentre("east", 1.5, "mprage", 1800, 4.4, 900, 9, 410, (1.0, 0.9, 0.9), 0.06, 9), 777012),
    UnseenScanner(
        MrCentre("south", 3.0, "turbo spin echo", 4200, 92, 0, 90, 820, (1.6, 0.9, 0.9), 0.16, 16, flow_void=True),
        777013,
    ),
)
"""T1 spin echo at 3 T with a strong bias field and little signal; a noisy MPRAGE at 1.5 T with another inversion time;
a T2 turbo spin echo at 3 T in thick slices. The centres of `creps phantom` have other fields, timings and noise."""


def unseen_scanner(name: str) -> UnseenScanner:
    """The scanner of a name.

    Raises:
        SettingsError: there is none.

    Examples:
        >>> unseen_scanner("north").voxel_mm
        (3.0, 2.5, 2.5)
    """
    for scanner in UNSEEN_SCANNERS:
        if scanner.name == name:
            return scanner
    names = ", ".join(scanner.name for scanner in UNSEEN_SCANNERS)
    raise SettingsError(f"Unknown scanner {name!r}.", f"Choose one of: {names}.")
