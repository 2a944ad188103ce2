"""The air around a patient: what a network took noise, ghosts or equipment for is cleared."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from creps import hu
from creps.inference.prediction import MARGIN_MM
from creps.preprocessing.morphology import grow, opened, voxel_ml
from creps.volume import Array, Mask

__all__ = ["cleared_background"]

DENSE_HU = -500.0
"""What is denser is no air."""

JOINT_MM = 4.0
"""A ball of this radius fits into what joins a part to the body: a shoulder that the mask left out, but no haze."""


def cleared_background(sct_hu: Array, body: Mask, spacing_mm: tuple[float, float, float]) -> tuple[Array, float]:
    """An sCT with air beyond the body, but for what is joined to it.

    The body mask may miss part of the patient, so it is not simply cut out: within `MARGIN_MM` of the mask, and of
    what is joined to it by more than a neck of `JOINT_MM`, everything stays.

    Args:
        sct_hu: (D, H, W) in HU.
        body: (D, H, W) body mask.
        spacing_mm: Voxel spacing (D, H, W).

    Returns:
        The sCT, and the volume in ml that was denser than `DENSE_HU` and became air.

    >>> body = np.zeros((1, 40, 60), bool); body[:, 10:30, 10:30] = True
    >>> sct_hu = np.where(body, np.float32(40), np.float32(-1000)); sct_hu[0, 5, 50] = 300
    >>> cleared, ml = cleared_background(sct_hu, body, (1.0, 1.0, 1.0))
    >>> float(cleared[0, 5, 50]), ml
    (-1000.0, 0.001)
    """
    dense = sct_hu > DENSE_HU
    labels, count = ndimage.label(opened(dense, spacing_mm, JOINT_MM) | body)
    joined = np.zeros(count + 1, dtype=bool)
    joined[labels[body]] = True
    beyond = ~grow(joined[labels], spacing_mm, MARGIN_MM)
    cleared_ml = float(np.count_nonzero(dense & beyond)) * voxel_ml(spacing_mm)
    return np.where(beyond, np.float32(hu.AIR), sct_hu), round(cleared_ml, 3)
