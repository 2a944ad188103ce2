"""What a scanner adds to the signal: slices, texture, bias field, contrast curve, ghosts, noise, scale."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from creps.preprocessing.intensity import MR_RANGE_NETWORK
from creps.training.simulation.fields import smooth_field
from creps.volume import Array, Mask

__all__ = ["scanned"]

BLUR_VOXELS, SLICE_VOXELS, THICK_SHARE = 0.5, (0.5, 1.2), 0.35
"""Largest blur along each axis (standard deviation); along the slices' axis in this share of the patches."""

TEXTURE, TEXTURE_VOXELS = 0.1, 1.5
"""Largest standard deviation of the log of the fine texture, and its length."""

FIELD, FIELD_MM = 0.4, (60.0, 140.0)
"""Largest standard deviation of the log of the bias field, and its length."""

GAMMA_SD, GAMMA_SHARE = 0.25, 0.4
"""Standard deviation of the log of the contrast curve's exponent, in this share of the patches."""

SCALE_SD = 0.18
"""Standard deviation of the log of the scale: what the brightest part of a patient is differs."""

NOISE = (0.005, 0.12)
"""Standard deviation of the noise in network units; small ones are drawn as often as large ones."""

NOISE_BLUR_VOXELS, SMOOTH_NOISE_SHARE = (0.4, 1.2), 0.5
"""Correlation of the noise along each axis (standard deviation), in this share of the patches.

An MR that was interpolated, by its scanner or onto the model's grid, has no white noise."""

GHOST, GHOST_SHARE = (0.01, 0.08), 0.2
"""Signal of a ghost, relative to the patient's, in this share of the patches; small ones as often as large ones."""


def scanned(
    signal: Array, body: Mask, spacing_mm: tuple[float, float, float], rng: np.random.Generator, *, outside: bool
) -> Array:
    """Add the effects of a scanner to a signal.

    Args:
        signal: (D, H, W) signal in network units of MR, [0, 2].
        body: (D, H, W) body mask.
        spacing_mm: Voxel spacing (D, H, W).
        rng: Source of everything that is drawn.
        outside: Whether there is noise outside the body, as in MRs whose background is not removed.

    Returns:
        (D, H, W) float32 in [0, 2].
    """
    top = np.float32(MR_RANGE_NETWORK[1])
    blur = rng.uniform(0, BLUR_VOXELS, 3)
    if rng.random() < THICK_SHARE:
        blur[int(rng.integers(3))] = rng.uniform(*SLICE_VOXELS)
    image: Array = ndimage.gaussian_filter(signal, blur, truncate=2.5)
    logs = rng.uniform(0, TEXTURE) * smooth_field(signal.shape, (1.0, 1.0, 1.0), TEXTURE_VOXELS, rng)
    logs += rng.uniform(0, FIELD) * smooth_field(signal.shape, spacing_mm, rng.uniform(*FIELD_MM), rng)
    image *= np.exp(logs + rng.normal(0, SCALE_SD), dtype=np.float32)
    if rng.random() < GAMMA_SHARE:
        image = top * np.power(np.clip(image, 0, None) / top, np.float32(np.exp(rng.normal(0, GAMMA_SD))))
    if rng.random() < GHOST_SHARE:
        image += _ghost(image, rng)
    real, imaginary = _noise(image.shape, rng)
    noisy = np.hypot(image + real, imaginary)
    return np.asarray(np.clip(noisy if outside else np.where(body, noisy, 0), *MR_RANGE_NETWORK), dtype=np.float32)


def _noise(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """(2, D, H, W) real and imaginary part of the receiver's noise."""
    noise: Array = rng.standard_normal((2, *shape), dtype=np.float32)
    if rng.random() < SMOOTH_NOISE_SHARE:
        noise = ndimage.gaussian_filter(noise, (0, *rng.uniform(*NOISE_BLUR_VOXELS, 3)), truncate=2.5)
        noise /= noise.std()
    return noise * np.float32(np.exp(rng.uniform(*np.log(NOISE))))


def _ghost(image: Array, rng: np.random.Generator) -> Array:
    """(D, H, W) faint copy of the patient, shifted along the phase-encoding axis, as motion and flow cause it."""
    axis = int(rng.integers(3))
    share = np.float32(np.exp(rng.uniform(*np.log(GHOST))))
    return share * np.roll(image, int(rng.integers(image.shape[axis])), axis)
