"""Soft masses in phantoms: those who are irradiated have tumours, which no atlas of normal anatomy shows.

Without them a network takes a large even region of a muscle's signal for gas or a full bladder.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from creps.phantom import TISSUES
from creps.phantom.tissue_map import TissueMap, Window
from creps.training.simulation.fields import smooth_field
from creps.training.simulation.people import BONE
from creps.volume import Array

__all__ = ["MASS_SHARE", "add_mass"]

MASS_SHARE = 0.3
"""Share of the images that get one, unless no soft tissue is met; it may lie at the rim."""

RADIUS_MM = (5.0, 60.0)
"""Drawn evenly on a scale of logarithms; each axis is up to 1.35 times longer or shorter."""

LIKE = ("muscle", "gland", "grey matter", "white matter", "prostate", "uterus", "bowel content")
"""A mass has about the signal of one of these."""

LEVEL_SD = 0.25
"""Standard deviation of the log of its signal around that."""

ENHANCED_SHARE, ENHANCED = 0.2, (1.3, 2.2)
"""Share of masses that are brighter by such a factor, as after a contrast agent."""

MASS_HU = (10.0, 65.0)

SOFT = {tissue.name: float(tissue.name not in {"air", "tooth", *BONE}) for tissue in TISSUES}
"""What a mass replaces: bone, teeth and gas stay."""


def add_mass(
    signal: Array, ct: Array, tissues: TissueMap, window: Window, levels: Mapping[str, float], rng: np.random.Generator
) -> None:
    """Put a mass into the soft tissue of an image, in place; none where no soft tissue is met.

    Args:
        signal: (D, H, W) MR of the window, in the unit of `levels`.
        ct: (D, H, W) in HU.
        tissues: Of the person.
        window: The part of the person that the image shows.
        levels: Signal of each tissue.
        rng: Source of place, size, shape and contrast.
    """
    soft = tissues.mix(SOFT, window)
    centre = _centre(soft, rng)
    if centre is None:
        return
    radius = float(np.exp(rng.uniform(*np.log(RADIUS_MM))))
    radii = radius * np.exp(rng.uniform(-0.3, 0.3, 3))
    distance = np.zeros((1, 1, 1), dtype=np.float32)
    for axis, (n, at, step, r) in enumerate(zip(soft.shape, centre, tissues.spacing_mm, radii, strict=True)):
        along = (((np.arange(n, dtype=np.float32) - at) * step / r) ** 2).astype(np.float32)
        distance = distance + np.expand_dims(along, [a for a in range(3) if a != axis])
    distance = np.sqrt(distance) + np.float32(0.15) * smooth_field(soft.shape, tissues.spacing_mm, 1.2 * radius, rng)
    voxel = float(np.mean(tissues.spacing_mm))
    weight = soft * np.clip((1 - distance) * np.float32(radius / voxel) + np.float32(0.5), 0, 1)
    level = levels[str(rng.choice(LIKE))] * np.exp(LEVEL_SD * rng.standard_normal())
    if rng.random() < ENHANCED_SHARE:
        level *= rng.uniform(*ENHANCED)
    signal += weight * (np.float32(level) - signal)
    ct += weight * (np.float32(rng.uniform(*MASS_HU)) - ct)


def _centre(soft: Array, rng: np.random.Generator) -> tuple[int, ...] | None:
    """A voxel of soft tissue, if one is met soon."""
    for _ in range(20):
        place = tuple(int(rng.integers(n)) for n in soft.shape)
        if soft[place] > 0.5:
            return place
    return None
