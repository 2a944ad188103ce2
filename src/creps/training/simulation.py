"""MR simulated from CT: pairs for the generator where there are none (not in the paper).

A CT says where air, fat, soft tissue and bone lie; physics says which of them give signal. So an MR with a random contrast can be painted over a CT,
and the CT is its truth. The contrast is drawn anew for each patch, wide enough to hold the scanners' own (Billot et al. 2023
train segmentation that way), so the generator learns anatomy, not grey values.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from creps.volume import Array

__all__ = ["simulate_mr"]


MATCH = __import__("os").environ.get("SIM_MATCH", "")


def simulate_mr(ct: Array, rng: np.random.Generator, mr: Array | None = None) -> Array:
    """Paint an MR over a CT patch.

    Args:
        ct: (D, H, W) in network units.
        rng: Source of the contrast, textures, bias field and noise.

    Returns:
        (D, H, W) MR in network units, [0, 2].
    """
    blurred = ndimage.gaussian_filter(ct, rng.uniform(0.3, 0.7))
    scale = rng.uniform(0.7, 1.6)  # brightest tissue
    fat = rng.uniform(0.45, 1.0) * scale
    soft = rng.uniform(0.25, 0.8) * scale
    marrow = rng.uniform(0.3, 1.0) * fat
    cortical = rng.uniform(0.0, 0.2) * scale
    dense = rng.uniform(0.0, 0.1) * scale
    hu = np.array([-1.0, -0.55, -0.2, -0.11, -0.06, 0.0, 0.08, 0.2, 0.35, 0.6 + rng.uniform(-0.1, 0.2), 1.1])
    at_edge = rng.uniform(0.2, 0.6)
    level = np.array([0.0, at_edge * fat, fat, fat, fat, soft, soft, 0.5 * (soft + marrow), marrow, cortical, dense])
    image = np.interp(blurred, hu, level)
    # compartments of soft tissue that CT does not tell apart: cerebrospinal fluid, grey and white matter, muscle, glands
    fuzzy = np.clip(1 - np.abs(blurred - 0.03) / 0.06, 0, 1)
    tissue = np.zeros(ct.shape)
    for length in (2.0, 4.0, 8.0):
        field = _field(ct.shape, length, rng)
        sharp = np.tanh(field * rng.uniform(0.5, 6.0) - rng.normal())
        tissue += rng.normal() * 0.28 * sharp
    image = image * np.exp(fuzzy * tissue)
    solid = np.clip((blurred + 0.3) / 0.2, 0, 1)
    image = image * np.exp(solid * rng.uniform(0, 0.12) * _field(ct.shape, 1.0, rng))
    image = image * np.exp(rng.uniform(0, 0.25) * _field(ct.shape, 24.0, rng))
    noise = rng.uniform(0.01, 0.07) * scale
    real, imaginary = rng.standard_normal((2, *ct.shape)) * noise
    noisy = np.sqrt((image + real) ** 2 + imaginary**2)
    outside = ct <= -0.97
    keep = rng.random() < 0.3
    made = np.clip(np.where(outside & (not keep), image * 0.3, noisy), 0, 2).astype(np.float32)
    if MATCH and mr is not None:
        theirs = mr[mr > 0]
        ours = ct > -0.9
        if theirs.size > 500 and ours.sum() > 500:
            q = np.linspace(0, 100, 65)
            xs = np.percentile(made[ours], q) + np.linspace(0, 1e-6, 65)
            matched = np.interp(made, xs, np.percentile(theirs, q)) * (made > 0)
            share = rng.random() ** 0.5 if MATCH == "mix" else 1.0
            made = np.where(ours, share * matched + (1 - share) * made, np.minimum(made, matched)).astype(np.float32)
    return made


def _field(shape: tuple[int, ...], length: float, rng: np.random.Generator) -> Array:
    """Unit-variance smooth noise with a correlation length in voxels."""
    coarse = [max(2, round(n / length) + 2) for n in shape]
    small = rng.standard_normal(coarse)
    zoomed = ndimage.zoom(small, [(n + 1e-6) / c for n, c in zip(shape, coarse, strict=True)], order=1, mode="nearest", grid_mode=False)
    zoomed = zoomed[: shape[0], : shape[1], : shape[2]]
    return np.asarray(zoomed / (zoomed.std() + 1e-6))
