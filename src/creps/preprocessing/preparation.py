"""What is done to a volume before a network sees it: the same for training and for synthesis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from creps.errors import InputError
from creps.preprocessing.intensity import AIR_NETWORK, hu_to_network, mr_divisor, mr_to_network
from creps.preprocessing.mask import Mask, body_mask_ct, body_mask_mr
from creps.preprocessing.plausibility import check_ct, check_mr
from creps.preprocessing.resample import resample, resample_onto
from creps.settings import PreparationSettings
from creps.volume import Array, Volume

__all__ = ["Prepared", "prepare_ct", "prepare_mr"]

SMALLEST_BODY = 0.01
"""Share of the voxels that must belong to the body."""


@dataclass(frozen=True)
class Prepared:
    """A volume on the model's grid, upright.

    Attributes:
        grid: The resampled volume in its own units.
        array: (D, H, W) in network units.
        body: (D, H, W) body mask.
        mr_divisor: What an MR was divided by.
    """

    grid: Volume
    array: Array
    body: Mask
    mr_divisor: float | None = None


def prepare_mr(mr: Volume, settings: PreparationSettings, name: str, mask: Volume | None = None) -> Prepared:
    """Resample, find the body and scale an MR (Hémon et al. 2023, section 2.2, Pre-processing).

    The automatic scale always comes from the body found in the image, so that it is the same with and
    without a given mask.

    Args:
        mr: MR in scanner units, on any grid, in any orientation.
        settings: Spacing, scale, background.
        name: What messages call it.
        mask: A body mask on the grid of `mr`, to be used instead of the one found.

    Raises:
        InputError: not an MR, no body in it, or a mask on another grid.
    """
    check_mr(mr, name)
    grid = resample(mr.reoriented(), settings.spacing_mm)
    found = body_mask_mr(grid)
    try:
        divisor = mr_divisor(grid.array, found, settings.mr_scale, settings.mr_percentile)
    except ValueError as error:
        raise InputError(f"{name} has {error}.", "Check the volume: it may be empty or cut off.") from error
    body = _checked_body(found, mr, grid, mask, name)
    array = mr_to_network(grid.array, divisor)
    return Prepared(grid, _background(array, body, 0.0, settings), body, divisor)


def prepare_ct(ct: Volume, settings: PreparationSettings, name: str, mask: Volume | None = None) -> Prepared:
    """Resample, find the body and scale a CT in HU; the CT's counterpart of `prepare_mr`."""
    check_ct(ct, name)
    grid = resample(ct.reoriented(), settings.spacing_mm)
    found = body_mask_ct(grid) if mask is None else np.zeros(grid.shape, dtype=bool)
    body = _checked_body(found, ct, grid, mask, name)
    return Prepared(grid, _background(hu_to_network(grid.array), body, AIR_NETWORK, settings), body)


def _checked_body(found: Mask, image: Volume, grid: Volume, mask: Volume | None, name: str) -> Mask:
    body, source = found, name
    if mask is not None:
        if not mask.same_grid_as(image, tolerance_mm=0.5 * min(image.spacing_mm)):
            raise InputError(f"The mask of {name} lies on another grid than its image.", "Give it on the image's grid.")
        aligned = image.with_array(mask.array > 0)  # header rounding must not turn the axes apart
        body, source = resample_onto(aligned.reoriented(), grid).array > 0.5, f"the mask of {name}"
    if body.mean() < SMALLEST_BODY:
        raise InputError(
            f"No body was found in {source} ({100 * body.mean():.1f} % of its voxels).",
            "Check the volume; in a cohort a mask.nii.gz beside it is used instead.",
        )
    return body


def _background(array: Array, body: Mask, value: float, settings: PreparationSettings) -> Array:
    return np.where(body, array, np.float32(value)) if settings.remove_outside else array
