"""Seeded failures of the MR, done before synthesis: `failures.yaml` says what each does and how large it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

from creps.preprocessing.mask import body_mask_mr, depth_mm
from creps.preprocessing.morphology import body_box
from creps.volume import Array, Mask, Volume

__all__ = ["MR_FAILURES", "noise_level"]

Failure = Callable[[Volume, float, np.random.Generator, int], Volume]
"""(MR, size, random generator, number of the case) → the corrupted MR; MRs are upright."""

FAT_DEPTH_MM = (3.0, 8.0)
RIM_MM, RIM_TIMES = 3.0, 1.5
PERIODS, JUMP_FROM = 7.0, 2 / 3
USUAL_FIELD, FIELD_MM = 0.11, 110.0
CUT_SIDES = ((2, 0), (2, 1), (1, 0), (1, 1))
"""(axis, end): left, right, anterior, posterior in array order."""


def misoriented(mr: Volume, _: float, __: np.random.Generator, case: int) -> Volume:
    if case % 3 == 2:
        d, h, w = mr.spacing_mm
        return Volume(np.ascontiguousarray(mr.array.transpose(1, 0, 2)), (h, d, w))
    return mr.with_array(np.flip(mr.array, case % 3).copy())


def cut(mr: Volume, share: float, _: np.random.Generator, case: int) -> Volume:
    axis, end = CUT_SIDES[case % len(CUT_SIDES)]
    first, last = body_box(body_mask_mr(mr))[axis]
    gone = round((last - first) * share / 100)
    kept = [slice(None)] * 3
    kept[axis] = slice(first + gone, None) if end == 0 else slice(None, last - gone)
    return Volume(mr.array[tuple(kept)].copy(), mr.spacing_mm)


def fat_suppressed(mr: Volume, share: float, _: np.random.Generator, __: int) -> Volume:
    depth = depth_mm(body_mask_mr(mr), mr.spacing_mm)
    rim = mr.array[(depth > FAT_DEPTH_MM[0]) & (depth <= FAT_DEPTH_MM[1])]
    fat = float(np.percentile(rim, 75))
    fatty = 1 / (1 + np.exp(-(mr.array - 2 / 3 * fat) / (0.05 * fat)))
    return mr.with_array(mr.array * (1 - share / 100 * fatty))


def inverted(mr: Volume, share: float, _: np.random.Generator, __: int) -> Volume:
    body, part = body_mask_mr(mr), share / 100
    top = np.percentile(mr.array[body], 99.5)
    other = np.clip(top - mr.array, 0, None)
    return mr.with_array(np.where(body, part * other + (1 - part) * mr.array, mr.array))


def metal_void(mr: Volume, radius_mm: float, rng: np.random.Generator, _: int) -> Volume:
    inside = np.argwhere(depth_mm(body_mask_mr(mr), mr.spacing_mm) > RIM_MM)
    away = _distance(mr, inside[rng.integers(len(inside))])
    rim = np.where(away < radius_mm + RIM_MM, RIM_TIMES * mr.array, mr.array)
    return mr.with_array(np.where(away < radius_mm, 0.02 * mr.array, rim))


def moved(mr: Volume, amplitude_mm: float, _: np.random.Generator, __: int) -> Volume:
    lines = np.fft.fft(mr.array, axis=1)
    count = mr.shape[1]
    order = np.fft.fftshift(np.arange(count))  # acquired from one end of k-space to the other
    time = np.empty(count)
    time[order] = np.arange(count) / count
    shift = amplitude_mm * (np.sin(2 * np.pi * PERIODS * time) + (time > JUMP_FROM)) / mr.spacing_mm[1]
    phase = np.exp(-2j * np.pi * np.fft.fftfreq(count) * shift)
    return mr.with_array(np.abs(np.fft.ifft(lines * phase[None, :, None], axis=1)))


def noise_level(mr: Volume, body: Mask) -> float:
    """Standard deviation of the noise inside the body, from a Laplacian that cancels edges (Immerkær 1996)."""
    kernel = np.array([[1.0, -2, 1], [-2, 4, -2], [1, -2, 1]])[None]
    inner = ndimage.binary_erosion(body, iterations=2)
    return float(np.median(np.abs(ndimage.convolve(mr.array, kernel)[inner])) / 0.6745 / 6)


def noisy(mr: Volume, times: float, rng: np.random.Generator, _: int) -> Volume:
    sigma = noise_level(mr, body_mask_mr(mr)) * np.sqrt(times**2 - 1)
    real, imaginary = (sigma * rng.standard_normal(mr.shape) for _ in range(2))
    return mr.with_array(np.hypot(mr.array + real, imaginary))


def shaded(mr: Volume, times: float, rng: np.random.Generator, _: int) -> Volume:
    sigma = [FIELD_MM / 2 / s for s in mr.spacing_mm]
    field = ndimage.gaussian_filter(rng.standard_normal(mr.shape).astype(np.float32), sigma, mode="wrap")
    body = body_mask_mr(mr)
    field = (field - field[body].mean()) / field[body].std()
    return mr.with_array(mr.array * np.exp(USUAL_FIELD * times * field))


def _distance(mr: Volume, centre: Sequence[int]) -> Array:
    """(D, H, W) mm from a voxel."""
    d, h, w = np.ix_(*((np.arange(n) - c) * s for n, c, s in zip(mr.shape, centre, mr.spacing_mm, strict=True)))
    return np.asarray(np.sqrt(d**2 + h**2 + w**2), dtype=np.float32)


MR_FAILURES: dict[str, Failure] = {
    "wrong orientation": misoriented,
    "field of view cut by a third": cut,
    "wrong sequence": fat_suppressed,
    "inverted contrast": inverted,
    "metal void": metal_void,
    "motion": moved,
    "noise x5": noisy,
    "bias field x5": shaded,
}
