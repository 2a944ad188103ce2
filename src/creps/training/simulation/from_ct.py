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

from creps.patches import Triple
from creps.preprocessing.intensity import AIR_NETWORK
from creps.training.simulation.fields import smooth_field
from creps.training.simulation.lookup import looked_up
from creps.training.simulation.postures import draw_places
from creps.training.simulation.scanner import scanned
from creps.volume import Array, Mask

__all__ = ["Contrast", "signal_of_ct", "simulate_mr", "simulate_pair"]

COMPARTMENTS_MM = (6.0, 12.0, 24.0, 36.0)
"""Sizes of compartments and distances between sheets in soft tissue."""


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


def simulate_pair(
    ct: Array,
    body: Mask,
    size: Triple,
    spacing_mm: tuple[float, float, float],
    rng: np.random.Generator,
    *,
    outside: bool,
) -> tuple[Array, Array]:
    """Simulate an MR of a CT in another posture: turned, scaled, mirrored and bent.

    Args:
        ct: (d, h, w) window of a CT in network units, larger than the patch so that the patch can turn within it.
        body: (d, h, w) its body mask; everything else, such as a couch, is air.
        size: Patch size (D, H, W).
        spacing_mm: Voxel spacing (D, H, W).
        rng: Source of everything that is drawn.
        outside: Whether MRs have noise outside the body.

    Returns:
        MR and CT, each (D, H, W) float32 in network units.
    """
    places = draw_places(size, (np.array(ct.shape) - 1) / 2, spacing_mm, rng)
    turned, share = looked_up([ct, body], places, (AIR_NETWORK, 0.0))
    inside = share >= 0.5
    moved = np.where(inside, turned, np.float32(AIR_NETWORK))
    return simulate_mr(moved, inside, spacing_mm, rng, outside=outside), moved


def simulate_mr(
    ct: Array, body: Mask, spacing_mm: tuple[float, float, float], rng: np.random.Generator, *, outside: bool
) -> Array:
    """Simulate an MR of a CT patch.

    Args:
        ct: (D, H, W) CT in network units.
        body: (D, H, W) body mask; everything else, such as a couch, gives no signal.
        spacing_mm: Voxel spacing (D, H, W).
        rng: Source of contrast, compartments and scanner effects.
        outside: Whether to add noise outside the body, as in MRs whose background is not removed.

    Returns:
        (D, H, W) float32 in network units of MR, [0, 2].
    """
    return scanned(signal_of_ct(ct, body, spacing_mm, rng), body, spacing_mm, rng, outside=outside)


def signal_of_ct(ct: Array, body: Mask, spacing_mm: tuple[float, float, float], rng: np.random.Generator) -> Array:
    """The signal of a CT patch without scanner effects, (D, H, W) in network units of MR; for `simulate_mr`."""
    contrast = Contrast.draw(rng)
    smooth = ndimage.gaussian_filter(ct, rng.uniform(0.3, 0.7))  # hides the CT's noise
    soft = np.clip((0.09 - np.abs(smooth - 0.03)) / 0.03, 0, 1)
    image: Array = contrast.signal(smooth) * np.exp(soft * _compartments(ct.shape, spacing_mm, rng))
    image[~body] = 0
    return image


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
