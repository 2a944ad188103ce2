"""Prepare a volume for a network, in the same way for training and for synthesis."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from creps.errors import InputError
from creps.patches import Triple, triple
from creps.preprocessing.bias import correct_bias_field
from creps.preprocessing.crop import Slices, crop_box, cropped
from creps.preprocessing.intensity import AIR_NETWORK, hu_to_network, mr_divisor, mr_to_network
from creps.preprocessing.mask import body_mask_ct, body_mask_mr, left_out_ml
from creps.preprocessing.padding import ct_without_padding, mr_without_padding, mr_without_undershoot
from creps.preprocessing.plausibility import check_below_air, check_ct, check_mr
from creps.preprocessing.resample import lattice_index, resample_imaged, resample_onto
from creps.settings import PreparationSettings
from creps.volume import Array, Mask, Volume

__all__ = ["Prepared", "body_in_mr", "crop_to_imaged", "prepare_ct", "prepare_mr"]

SMALLEST_BODY = 0.01
"""Minimum fraction of the voxels in the body."""

AIR_MM = 12.0
"""Margin of air around the patient in the second search for the body: less than most volumes have."""

PERCENTILES = (1.0, 50.0, 99.0)
"""Percentiles of the values inside the body that are kept to compare scanners."""


@dataclass(frozen=True)
class Prepared:
    """A prepared volume on the grid of the model, in the axial orientation.

    Attributes:
        grid: The resampled (and cropped) volume in its original units.
        array: (D, H, W) in network units.
        body: (D, H, W) body mask.
        intensity: 1st, 50th and 99th percentile inside the body in the original units, before any correction.
        lattice_index: Index (D, H, W) of the first voxel on the lattice of `model_grid`: its patches lie on that too.
        imaged: Box along D, H, W without padding: what is beyond it was never measured.
        mr_divisor: Divisor of an MR.
        left_out_ml: Volume of bright signal outside the body of an MR, before any crop.
        notes: What was changed in the image before it was prepared, as sentences without its name.
    """

    grid: Volume
    array: Array
    body: Mask
    intensity: tuple[float, float, float]
    lattice_index: Triple
    imaged: Slices
    mr_divisor: float | None = None
    left_out_ml: float = 0.0
    notes: tuple[str, ...] = ()


def prepare_mr(mr: Volume, settings: PreparationSettings, name: str, mask: Volume | None = None) -> Prepared:
    """Resample an MR, find the body, correct the bias field, scale and crop (Hémon et al. 2023, section 2.2).

    Bias field and automatic scale always come from the body found in the image, so they do not depend on a given mask.

    Args:
        mr: MR in scanner units, on any grid, in any orientation.
        settings: Spacing, bias field, scale, background and crop.
        name: Name of the image in messages.
        mask: Body mask on the grid of `mr`, to use instead of the one found.

    Raises:
        InputError: the volume is not an MR, contains no body, or the mask is on another grid.
    """
    mr, padding = mr_without_padding(mr)
    check_mr(mr, name)
    upright = mr_without_undershoot(mr).reoriented()
    grid, imaged = resample_imaged(upright, settings.spacing_mm)
    found = body_in_mr(grid, imaged)
    corrected = correct_bias_field(grid.array, found, grid.spacing_mm) if settings.mr_bias_correction else grid.array
    try:
        divisor = mr_divisor(corrected, found, settings.mr_scale)
    except ValueError as error:
        raise InputError(f"{name} has {error}.", "Check the volume: it may be empty or cut off.") from error
    body = _checked_body(found, mr, grid, mask, name)
    array = mr_to_network(corrected, divisor)
    if settings.remove_outside:
        array = np.where(body, array, np.float32(0.0))
    left_out = left_out_ml(grid, body)
    notes = () if padding is None else (padding.note("mr"),)
    start = lattice_index(upright, settings.spacing_mm)
    whole = Prepared(grid, array, body, _percentiles(grid, body), start, imaged, divisor, left_out, notes)
    return _cropped(whole, settings)


def prepare_ct(ct: Volume, settings: PreparationSettings, name: str, mask: Volume | None = None) -> Prepared:
    """Resample a CT in HU, find the body, scale and crop; the counterpart of `prepare_mr`."""
    given = ct
    ct, padding = ct_without_padding(given)
    check_ct(ct, name, padding)
    check_below_air(given, name, padding)
    upright = ct.reoriented()
    grid, imaged = resample_imaged(upright, settings.spacing_mm)
    found = np.zeros(grid.shape, dtype=bool)
    if mask is None:
        found[imaged] = body_mask_ct(cropped(grid, imaged))
    body = _checked_body(found, ct, grid, mask, name)
    array = hu_to_network(grid.array)
    if settings.remove_outside or settings.remove_couch:
        array = np.where(body, array, np.float32(AIR_NETWORK))
    notes = () if padding is None else (padding.note("ct"),)
    start = lattice_index(upright, settings.spacing_mm)
    return _cropped(Prepared(grid, array, body, _percentiles(grid, body), start, imaged, notes=notes), settings)


def body_in_mr(grid: Volume, imaged: Slices) -> Mask:
    """Find the body in an MR as every preparation does.

    The body is searched for twice, the second time with little air around it: thresholds depend on the air, and the
    mask must not depend on where the field of view ends.

    Args:
        grid: The MR, upright.
        imaged: The part of it that was imaged, from `resample_imaged`.

    Returns:
        (D, H, W) body mask, False in padding.
    """
    body = np.zeros(grid.shape, dtype=bool)
    first = body_mask_mr(cropped(grid, imaged))
    if first.any():
        box = crop_box(first, grid.spacing_mm, AIR_MM)
        d, h, w = (slice(i.start + b.start, i.start + b.stop) for i, b in zip(imaged, box, strict=True))
        body[d, h, w] = body_mask_mr(cropped(grid, (d, h, w)))
    return body


def _percentiles(grid: Volume, body: Mask) -> tuple[float, float, float]:
    low, middle, high = np.percentile(grid.array[body], PERCENTILES).tolist()
    return low, middle, high


def crop_to_imaged(whole: Prepared) -> Prepared:
    """The part that was imaged, without padding."""
    return _part(whole, whole.imaged)


def _cropped(whole: Prepared, settings: PreparationSettings) -> Prepared:
    """Crop to the bounding box of the body if the settings ask for it."""
    if settings.crop_margin_mm is None:
        return whole
    return _part(whole, crop_box(whole.body, whole.grid.spacing_mm, settings.crop_margin_mm))


def _part(whole: Prepared, box: Slices) -> Prepared:
    grid = cropped(whole.grid, box)
    d, h, w = (
        slice(max(0, part.start - cut.start), max(0, min(part.stop, cut.stop) - cut.start))
        for part, cut in zip(whole.imaged, box, strict=True)
    )
    index = triple(n + part.start for n, part in zip(whole.lattice_index, box, strict=True))
    return replace(
        whole,
        grid=grid,
        array=whole.array[box].copy(),
        body=whole.body[box].copy(),
        lattice_index=index,
        imaged=(d, h, w),
    )


def _checked_body(found: Mask, image: Volume, grid: Volume, mask: Volume | None, name: str) -> Mask:
    body, source = found, name
    if mask is not None:
        mask = mask.reoriented(image.direction)  # a mask with the same voxels in another order is fine
        if not mask.same_grid_as(image, tolerance_mm=0.5 * min(image.spacing_mm)):
            raise InputError(
                f"The mask of {name} is on a different grid from its image.", "Give it on the image's grid."
            )
        aligned = image.with_array(mask.array > 0)  # ignore rounding of the direction in the header
        body, source = resample_onto(aligned.reoriented(), grid).array > 0.5, f"the mask of {name}"
    if not body.any() or body.mean() < SMALLEST_BODY:
        raise InputError(
            f"No body was found in {source} ({100 * body.mean():.1f} % of its voxels).",
            "Check the volume; in a cohort a mask.nii.gz beside it is used instead.",
        )
    return body
