"""Error by tissue of the true CT. Arrays are (D, H, W)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from creps.metrics.image import check_comparable
from creps.volume import Mask

__all__ = ["TISSUE_WINDOWS_HU", "TissueError", "error_by_class", "tissue_classes"]

HU = npt.NDArray[np.floating]
Classes = npt.NDArray[np.integer]

TISSUE_WINDOWS_HU: dict[str, tuple[float, float]] = {
    "air": (-np.inf, -200.0),
    "fat": (-200.0, -20.0),
    "soft": (-20.0, 100.0),
    "spongy_bone": (100.0, 600.0),
    "cortical_bone": (600.0, np.inf),
}
"""Class → HU of the true CT, from (included) to (not included). Together they hold every voxel."""


@dataclass(frozen=True)
class TissueError:
    """Error in one class.

    Attributes:
        voxels: How many the true CT has of it inside the mask.
        mae_hu: Mean |sct - ct|; None if there are none.
        bias_hu: Mean of sct - ct; None if there are none.
    """

    voxels: int
    mae_hu: float | None
    bias_hu: float | None


def tissue_classes(ct_hu: HU) -> tuple[Classes, dict[int, str]]:
    """The class of every voxel of a true CT by `TISSUE_WINDOWS_HU`.

    Returns:
        (D, H, W) class numbers, and the name of each number.
    """
    upper = [high for _, high in TISSUE_WINDOWS_HU.values()][:-1]
    return np.digitize(ct_hu, upper).astype(np.int16), dict(enumerate(TISSUE_WINDOWS_HU))


def error_by_class(
    ct_hu: HU, sct_hu: HU, mask: Mask, classes: Classes, names: Mapping[int, str]
) -> dict[str, TissueError]:
    """Mean absolute error and bias in every class.

    Args:
        ct_hu: (D, H, W), the truth.
        sct_hu: (D, H, W).
        mask: (D, H, W), which voxels count.
        classes: (D, H, W), the number of each voxel's class.
        names: Name of each number; numbers with one name are one class, numbers without a name count nowhere.

    Returns:
        Name → error, for every name, whether the CT has the class or not.

    Raises:
        ValueError: they cannot be compared (`check_comparable`), or a class number is negative.
    """
    check_comparable(ct_hu, sct_hu, mask)
    if classes.shape != mask.shape:
        raise ValueError(f"shapes differ: classes {classes.shape}, mask {mask.shape}")
    numbers = classes[mask].astype(np.int64)
    if numbers.min() < 0:
        raise ValueError(f"a class number is {numbers.min()}: they must not be negative")
    difference = sct_hu[mask].astype(np.float64) - ct_hu[mask].astype(np.float64)
    known = np.array(sorted(names), dtype=np.int64)
    places = np.searchsorted(known, numbers)  # not the numbers themselves: a large one would need as much memory
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
