"""What can be wrong with an MR, done to one on purpose."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from creps.preprocessing.mask import body_box, body_mask_mr
from creps.volume import Array, Volume

__all__ = ["HARMLESS", "MISTAKES", "Change", "of_units"]

Change = Callable[[Volume], Volume]


def inverted(mr: Volume) -> Volume:
    """Bright and dark exchanged inside the body."""
    body = body_mask_mr(mr)
    top = np.percentile(mr.array[body], 99.5)
    return mr.with_array(np.where(body, np.clip(top - mr.array, 0, None), mr.array))


def flipped(axis: int) -> Change:
    return lambda mr: mr.with_array(np.flip(mr.array, axis).copy())


def turned(mr: Volume) -> Volume:
    """Height and depth exchanged, as by a header that calls a coronal stack axial."""
    d, h, w = mr.spacing_mm
    return Volume(np.ascontiguousarray(mr.array.transpose(1, 0, 2)), (h, d, w))


def without(axis: int, share: float, *, both: bool = False) -> Change:
    """That share of the field of view cut off at the first side (of each, with `both`)."""

    def change(mr: Volume) -> Volume:
        gone = round(mr.shape[axis] * share)
        kept = [slice(None)] * 3
        kept[axis] = slice(gone, mr.shape[axis] - gone if both else None)
        return Volume(mr.array[tuple(kept)].copy(), mr.spacing_mm)

    return change


def noisy(share: float) -> Change:
    """Rician noise of that share of the 98th percentile."""

    def change(mr: Volume) -> Volume:
        rng = np.random.default_rng(0)
        sigma = share * np.percentile(mr.array, 98)
        real, imaginary = (sigma * rng.standard_normal(mr.shape) for _ in range(2))
        return mr.with_array(np.hypot(mr.array + real, imaginary))

    return change


def receive_field(times: float, axis: int) -> Change:
    """As many times the signal at one end of the volume as at the other."""

    def change(mr: Volume) -> Volume:
        shape = [1, 1, 1]
        shape[axis] = -1
        along = np.linspace(-0.5, 0.5, mr.shape[axis]).reshape(shape)
        return mr.with_array(mr.array * np.exp(np.log(times) * along))

    return change


def void(radius_mm: float) -> Change:
    """A ball almost without signal, a little above the middle of the body."""

    def change(mr: Volume) -> Volume:
        box = body_box(body_mask_mr(mr))
        centre = [first + (end - first) * place for (first, end), place in zip(box, (0.6, 0.5, 0.5), strict=True)]
        away = np.zeros(mr.shape)
        for axis, (middle, spacing) in enumerate(zip(centre, mr.spacing_mm, strict=True)):
            shape = [1, 1, 1]
            shape[axis] = -1
            away = away + (((np.arange(mr.shape[axis]) - middle) * spacing) ** 2).reshape(shape)
        return mr.with_array(np.where(away < radius_mm**2, 0.02 * mr.array, mr.array))

    return change


def smoothed(mm: float) -> Change:
    return lambda mr: mr.with_array(ndimage.gaussian_filter(mr.array, [mm / s for s in mr.spacing_mm]))


def gamma(power: float) -> Change:
    return lambda mr: mr.with_array(_to_the(mr.array / mr.array.max(), power) * mr.array.max())


def saturated(mr: Volume) -> Volume:
    """Everything above the 80th percentile at that value."""
    return mr.with_array(np.minimum(mr.array, np.percentile(mr.array, 80)))


def wrong_spacing(times: float) -> Change:
    def change(mr: Volume) -> Volume:
        d, h, w = (times * s for s in mr.spacing_mm)
        return Volume(mr.array, (d, h, w))

    return change


def thick_slices(mm: float) -> Change:
    """Slices averaged to at most that thickness."""

    def change(mr: Volume) -> Volume:
        d, h, w = mr.spacing_mm
        several = max(1, int(mm / d))
        whole = mr.array[: mr.shape[0] // several * several]
        return Volume(whole.reshape(-1, several, *whole.shape[1:]).mean(axis=1), (d * several, h, w))

    return change


def of_units(times: float) -> Change:
    return lambda mr: mr.with_array(mr.array * times)


def _to_the(array: Array, power: float) -> Array:
    return np.asarray(np.clip(array, 0, None) ** power, dtype=np.float32)


HARMLESS: dict[str, Change] = {
    "left and right exchanged (cannot be seen)": flipped(2),
    "other units (7 times the values)": of_units(7),
    "slices of up to 8 mm, averaged": thick_slices(8),
    "noise, 5 %": noisy(0.05),
    "receive field, 2 times": receive_field(2, 1),
    "void, ball of 10 mm radius": void(10),
}

MISTAKES: dict[str, Change] = {
    "inverted contrast": inverted,
    "saturated above the 80th percentile": saturated,
    "contrast to the power of 2": gamma(2),
    "contrast to the power of 0.5": gamma(0.5),
    "head and feet exchanged": flipped(0),
    "front and back exchanged": flipped(1),
    "coronal called axial": turned,
    "lower half missing": without(0, 0.5),
    "lower third missing": without(0, 1 / 3),
    "left half missing": without(2, 0.5),
    "left quarter missing": without(2, 0.25),
    "cut on both sides, a fifth of the width each": without(2, 0.2, both=True),
    "cut in front, 30 %": without(1, 0.3),
    "spacing 1.15 times as long": wrong_spacing(1.15),
    "spacing 1.3 times as long": wrong_spacing(1.3),
    "spacing in cm": wrong_spacing(0.1),
    "slices of 10 to 13 mm, averaged": thick_slices(13),
    "noise, 10 %": noisy(0.1),
    "noise, 20 %": noisy(0.2),
    "smoothed, 4 mm": smoothed(4),
    "receive field along the body, 4 times": receive_field(4, 0),
    "receive field front to back, 9 times": receive_field(9, 1),
    "void, ball of 15 mm radius": void(15),
    "void, ball of 20 mm radius": void(20),
    "void, ball of 30 mm radius": void(30),
}
