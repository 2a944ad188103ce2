"""Agreement of HU values. Arrays are (D, H, W)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["mean_absolute_error_hu", "mean_error_hu"]


def mean_absolute_error_hu(
    ct_hu: npt.NDArray[np.floating], sct_hu: npt.NDArray[np.floating], mask: npt.NDArray[np.bool_]
) -> float:
    """Mean |ct - sct| over the mask, without clipping (SynthRAD2023).

    Raises:
        ValueError: shapes differ or the mask is empty.
    """
    return float(np.abs(_difference(ct_hu, sct_hu, mask)).mean())


def mean_error_hu(
    ct_hu: npt.NDArray[np.floating], sct_hu: npt.NDArray[np.floating], mask: npt.NDArray[np.bool_]
) -> float:
    """Mean of sct - ct over the mask: the signed bias.

    Raises:
        ValueError: shapes differ or the mask is empty.
    """
    return float(_difference(ct_hu, sct_hu, mask).mean())


def _difference(
    ct_hu: npt.NDArray[np.floating], sct_hu: npt.NDArray[np.floating], mask: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    if not ct_hu.shape == sct_hu.shape == mask.shape:
        raise ValueError(f"shapes differ: ct {ct_hu.shape}, sct {sct_hu.shape}, mask {mask.shape}")
    if not mask.any():
        raise ValueError("the mask is empty")
    return sct_hu[mask].astype(np.float64) - ct_hu[mask].astype(np.float64)
