"""Error by tissue of the true CT. Arrays are (D, H, W)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from creps.metrics.image import HU, check_comparable
from creps.volume import Mask

__all__ = ["TISSUE_WINDOWS_HU", "TissueError", "error_by_class", "tissue_classes"]

Classes = npt.NDArray[np.integer]

TISSUE_WINDOWS_HU: dict[str, tuple[float, float]] = {
    "air": (-np.inf, -200.0),
    "fat": (-200.0, -20.0),
    "soft": (-20.0, 100.0),
    "spongy_bone": (100.0, 600.0),
    "cortical_bone": (600.0, np.inf),
}
"""Class → HU range of the true CT, lower end included, upper end excluded. The ranges cover every value."""


@dataclass(frozen=True)
class TissueError:
    """Error in one class.

    Attributes:
        voxels: Number of voxels of the class inside the mask.
        mae_hu: Mean |sct - ct| in HU; None without voxels.
        bias_hu: Mean of sct - ct in HU; None without voxels.
    """

    voxels: int
    mae_hu: float | None
    bias_hu: float | None


def tissue_classes(ct_hu: HU) -> tuple[Classes, dict[int, str]]:
    """Classify every voxel of a true CT by `TISSUE_WINDOWS_HU`.

    Args:
        ct_hu: The true CT in HU, (D, H, W).

    Returns:
        (D, H, W) class numbers, and the name of each number.

    Examples:
        >>> classes, names = tissue_classes(np.array([[[-1000.0, 40.0, 900.0]]]))
        >>> [names[number] for number in classes.ravel().tolist()]
        ['air', 'soft', 'cortical_bone']
    """
    upper = [high for _, high in TISSUE_WINDOWS_HU.values()][:-1]
    return np.digitize(ct_hu, upper).astype(np.int16), dict(enumerate(TISSUE_WINDOWS_HU))


def error_by_class(
    ct_hu: HU, sct_hu: HU, mask: Mask, classes: Classes, names: Mapping[int, str]
) -> dict[str, TissueError]:
    """Return the mean absolute error and the bias of every class.

    Args:
        ct_hu: The true CT in HU, (D, H, W).
        sct_hu: The synthetic CT in HU, (D, H, W).
        mask: The voxels to score, boolean, (D, H, W).
        classes: The class number of every voxel, (D, H, W).
        names: Name of each number; numbers that share a name form one class, unnamed numbers are ignored.

    Returns:
        Name → error, for every name, even without voxels.

    Raises:
        ValueError: they cannot be compared (see `check_comparable`), or a class number is negative.

    Examples:
        >>> ct = np.array([[[-1000.0, 40.0, 900.0]]])
        >>> classes, names = tissue_classes(ct)
        >>> error_by_class(ct, ct - 10, ct > -2000, classes, names)["soft"]
        TissueError(voxels=1, mae_hu=10.0, bias_hu=-10.0)
    """
    check_comparable(ct_hu, sct_hu, mask)
    if classes.shape != mask.shape:
        raise ValueError(f"shapes differ: classes {classes.shape}, mask {mask.shape}")
    numbers = classes[mask].astype(np.int64)
    if numbers.min() < 0:
        raise ValueError(f"a class number is {numbers.min()}: they must not be negative")
    difference = sct_hu[mask].astype(np.float64) - ct_hu[mask].astype(np.float64)
    known = np.array(sorted(names), dtype=np.int64)
    places = np.searchsorted(known, numbers)  # counting by the numbers themselves would need memory for the largest
    places[np.append(known, -1)[places] != numbers] = len(known)
    voxels, signed, absolute = (
        np.bincount(places, weights, minlength=len(known)) for weights in (None, difference, np.abs(difference))
    )
    errors = {}
    for name in dict.fromkeys(names.values()):
        own = [place for place, number in enumerate(known.tolist()) if names[number] == name]
        count = int(voxels[own].sum())
        mae, bias = (float(sums[own].sum() / count) if count else None for sums in (absolute, signed))
        errors[name] = TissueError(count, mae, bias)
    return errors
