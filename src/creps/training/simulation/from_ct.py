"""MR simulated from CT: pairs to learn from where there are none (not in the paper).

A CT shows where air, fat, soft tissue and bone are, and physics tells which of them give a signal. So an MR can be
simulated from any CT, and that CT is its ground truth. Cortical bone and air stay dark, as in every clinical sequence;
all other contrast is drawn at random for every patch, over a wider range than that of real scanners, and soft tissue
gets compartments and sheets that CT does not show. What remains to be learned is anatomy. (Learning from images of
random contrast: Billot et al. 2023, Medical Image Analysis 86:102789, for the segmentation of MR.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from creps.training.simulation.fields import smooth_field
from creps.volume import Array, Mask

__all__ = ["Contrast", "simulate_mr"]

COMPARTMENTS_MM = (6.0, 12.0, 24.0, 36.0)
"""Sizes of compartments and distances between sheets in soft tissue."""

BIAS_FIELD_MM = 72.0
"""Length over which the simulated bias field varies."""


@dataclass(frozen=True)
class Contrast:
    """Signal of each tissue in network units of MR, [0, 2].

    Attributes:
        fat: Signal of fat, the brightest tissue or nearly.
        soft: Mean signal of soft tissue: water, muscle, brain.
        marrow: Signal of spongy bone.
        cortical: Signal of compact bone, close to 0.
        cortical_hu: Where compact bone begins, in network units of CT.
        partial: Signal of the border between air and fat, as a share of `fat`.
    """

    fat: float
    soft: float
    marrow: float
    cortical: float
    cortical_hu: float
    partial: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Contrast:
        """A random contrast."""
        brightest = rng.uniform(0.7, 1.6)
        fat = rng.uniform(0.45, 1.0) * brightest
        return cls(
            fat,
            soft=rng.uniform(0.25, 0.8) * brightest,
            marrow=rng.uniform(0.3, 1.0) * fat,
            cortical=rng.uniform(0.0, 0.2) * brightest * (rng.random() < 0.6),
            cortical_hu=rng.uniform(0.9, 1.6),
            partial=rng.uniform(0.2, 0.6),
        )

    def signal(self, ct: Array) -> Array:
        """Signal of a CT (D, H, W) in network units: piecewise linear, constant within fat and within soft tissue."""
        between = (self.soft + self.marrow) / 2
        hu = [-1.0, -0.55, -0.2, -0.06, 0.0, 0.08, 0.2, 0.35, self.cortical_hu, 2.0]
        levels = [0.0, self.partial * self.fat, self.fat, self.fat, self.soft, self.soft, between, self.marrow]
        return np.interp(ct, hu, [*levels, self.cortical, self.cortical / 2]).astype(np.float32)


def simulate_mr(
    ct: Array, body: Mask, spacing_mm: tuple[float, float, float], rng: np.random.Generator, *, outside: bool
) -> Array:
    """Simulate an MR of a CT patch.

    Args:
        ct: (D, H, W) CT in network units.
        body: (D, H, W) body mask; everything else, such as a couch, gives no signal.
        spacing_mm: Voxel spacing (D, H, W).
        rng: Source of contrast, compartments, bias field and noise.
        outside: Whether to add noise outside the body, as in MRs whose background is not removed.

    Returns:
        (D, H, W) float32 in network units of MR, [0, 2].
    """
    contrast = Contrast.draw(rng)
    smooth = ndimage.gaussian_filter(ct, rng.uniform(0.3, 0.7))  # hides the CT's noise
    soft = np.clip((0.09 - np.abs(smooth - 0.03)) / 0.03, 0, 1)
    tissue = np.clip((smooth + 0.3) / 0.2, 0, 1)
    image = contrast.signal(smooth) * np.exp(soft * _compartments(ct.shape, spacing_mm, rng))
    voxels = (1.0, 1.0, 1.0)
    image *= np.exp(tissue * rng.uniform(0, 0.12) * smooth_field(ct.shape, voxels, 1.0, rng))
    image *= np.exp(rng.uniform(0, 0.25) * smooth_field(ct.shape, spacing_mm, BIAS_FIELD_MM, rng))
    image[~body] = 0
    real, imaginary = rng.standard_normal((2, *ct.shape), dtype=np.float32) * np.float32(
        rng.uniform(0.01, 0.07) * contrast.fat
    )
    noisy = np.hypot(image + real, imaginary)
    return np.asarray(np.clip(noisy if outside else np.where(body, noisy, 0), 0, 2), dtype=np.float32)


def _compartments(shape: tuple[int, ...], spacing_mm: tuple[float, float, float], rng: np.random.Generator) -> Array:
    """Logarithm of the relative signal within soft tissue: compartments and sheets (fissures, fasciae, vessels)."""
    total = np.zeros(shape, dtype=np.float32)
    for length in COMPARTMENTS_MM:
        field = smooth_field(shape, spacing_mm, length, rng)
        if rng.random() < 0.5:
            total += 0.35 * rng.normal() * np.tanh(field * rng.uniform(0.5, 6.0) - rng.normal())
        else:
            sheets = np.exp(-np.square((field - rng.normal()) / rng.uniform(0.1, 0.5)))
            total += min(rng.normal(-0.5, 0.8), 0.6) * sheets
    return total
