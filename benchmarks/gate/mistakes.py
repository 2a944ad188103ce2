"""What can be wrong with an MR, done to one on purpose."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from creps.preprocessing.mask import body_mask_mr
from creps.preprocessing.morphology import body_box
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


def limb(gap_mm: float = 12.0, radii_mm: tuple[float, float, float] = (60, 25, 25)) -> Change:
    """An arm or a hand beside the body, not connected with it, as bright as the body's median."""

    def change(mr: Volume) -> Volume:
        body = body_mask_mr(mr)
        d, h, w = mr.spacing_mm
        end = int(np.flatnonzero(body.any(axis=(0, 1)))[-1])
        place = end + (gap_mm + radii_mm[2]) / w
        wide = max(0, int(np.ceil(place + radii_mm[2] / w)) + 3 - mr.shape[2])
        array = np.pad(mr.array, ((0, 0), (0, 0), (0, wide)), mode="reflect" if wide < mr.shape[2] // 4 else "edge")
        array[:, :, mr.shape[2] :] = _air(mr, array[:, :, mr.shape[2] :].shape)
        inside = _ellipsoid(array.shape, (d, h, w), (mr.shape[0] * 0.45, mr.shape[1] / 2, place), radii_mm)
        return Volume(np.where(inside, np.median(mr.array[body]), array).astype(np.float32), mr.spacing_mm)

    return change


def coil(mr: Volume) -> Volume:
    """Two thin bright shells, 12 mm from the body on either side, 40 % as bright as it."""
    body = body_mask_mr(mr)
    columns = np.flatnonzero(body.any(axis=(0, 1)))
    away = round(12 / mr.spacing_mm[2]) + 1
    wide = max(0, away + 2 - columns[0], columns[-1] + away + 2 - mr.shape[2])
    array = np.pad(mr.array, ((0, 0), (0, 0), (wide, wide)))
    if wide:
        array[:, :, :wide] = array[:, :, -wide:] = _air(mr, (*mr.shape[:2], wide))
    bright = 0.4 * np.median(mr.array[body])
    height, depth = mr.shape[0] // 4, mr.shape[1] // 4
    for place in (columns[0] + wide - away, columns[-1] + wide + away):
        array[height:-height, depth:-depth, place] = bright
    return Volume(array, mr.spacing_mm)


def padded(voxels: int, value: float, sides: tuple[int, ...] = (0, 1, 2)) -> Change:
    """So many voxels of a constant on both ends of these axes."""

    def change(mr: Volume) -> Volume:
        widths = [(voxels, voxels) if axis in sides else (0, 0) for axis in range(3)]
        return Volume(np.pad(mr.array, widths, constant_values=value), mr.spacing_mm)

    return change


def one_slice_more(mr: Volume) -> Volume:
    return Volume(np.pad(mr.array, ((0, 1), (0, 0), (0, 0))), mr.spacing_mm)


def dark_edges(lowest: float, cut: float = 0.0) -> Change:
    """Signal that falls to that share at the left and right side of what is left of the field of view."""

    def change(mr: Volume) -> Volume:
        if cut:
            mr = without(2, cut, both=True)(mr)
        across = np.abs(np.linspace(-1, 1, mr.shape[2]))
        return mr.with_array((mr.array * (1 - (1 - lowest) * across**3)).astype(np.float32))

    return change


def z_scored(mr: Volume) -> Volume:
    body = mr.array[body_mask_mr(mr)]
    return mr.with_array((mr.array - body.mean()) / body.std())


def inverted_with_air(mr: Volume) -> Volume:
    return mr.with_array(mr.array.max() - mr.array)


def to_range(top: float) -> Change:
    """Values scaled to [0, top], as integers if top is large."""

    def change(mr: Volume) -> Volume:
        scaled = top * (mr.array - mr.array.min()) / (mr.array.max() - mr.array.min())
        return mr.with_array(np.rint(scaled) if top > 100 else scaled)

    return change


def _air(mr: Volume, shape: tuple[int, ...]) -> Array:
    """Noise as in a corner of the MR."""
    corner = mr.array[:3, :3, :3]
    noise = np.abs(np.random.default_rng(0).normal(float(corner.mean()), float(corner.std()), shape))
    return np.asarray(noise, dtype=np.float32)


def _ellipsoid(
    shape: tuple[int, ...],
    spacing: tuple[float, float, float],
    centre: tuple[float, float, float],
    radii: tuple[float, float, float],
) -> Array:
    axes = [(np.arange(n) - c) * s / r for n, c, s, r in zip(shape, centre, spacing, radii, strict=True)]
    d, h, w = np.ix_(*axes)
    return np.asarray(d**2 + h**2 + w**2 < 1)


def _to_the(array: Array, power: float) -> Array:
    return np.asarray(np.clip(array, 0, None) ** power, dtype=np.float32)


HARMLESS: dict[str, Change] = {
    "left and right exchanged (cannot be seen)": flipped(2),
    "other units (7 times the values)": of_units(7),
    "slices of up to 8 mm, averaged": thick_slices(8),
    "noise, 5 %": noisy(0.05),
    "receive field, 2 times": receive_field(2, 1),
    "void, ball of 10 mm radius": void(10),
    "a limb beside the body": limb(),
    "coil shells beside the body": coil,
    "one empty slice more": one_slice_more,
    "40 mm of 0 on all sides": padded(10, 0),
    "12 mm of -1000 on the sides": padded(3, -1000, (1, 2)),
    "values in [0, 1]": to_range(1),
    "values from 0 to 65,000": to_range(65000),
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
    "spacing 0.85 times as long (a child's size)": wrong_spacing(0.85),
    "spacing 0.75 times as long": wrong_spacing(0.75),
    "spacing in cm": wrong_spacing(0.1),
    "z-score": z_scored,
    "inverted contrast, air too": inverted_with_air,
    "dark left and right edges, a quarter of the signal": dark_edges(0.25),
    "cut on both sides by a tenth, edges dark": dark_edges(0.3, 0.1),
    "cut on both sides by a fifth, edges dark": dark_edges(0.3, 0.2),
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
