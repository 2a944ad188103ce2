"""The air around a patient, where a network may have made tissue of noise, ghosts or equipment."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from creps.inference.prediction import MARGIN_MM
from creps.preprocessing.morphology import grow, opened, voxel_ml
from creps.volume import Array, Mask

__all__ = ["background", "dense_ml"]

DENSE_HU = -500.0
"""What is denser is no air."""

JOINT_MM = 4.0
"""A ball of this radius fits into what joins a part to the body: a shoulder that the mask left out, but no haze."""


def background(sct_hu: Array, body: Mask, spacing_mm: tuple[float, float, float]) -> Mask:
    """(D, H, W) where an sCT is to be air: beyond the body and what is joined to it.

    The body mask may miss part of the patient, so it is not simply cut out: within `MARGIN_MM` of the mask, and of
    what is joined to it by more than a neck of `JOINT_MM`, everything stays.

    Args:
        sct_hu: (D, H, W) in HU.
        body: (D, H, W) body mask.
        spacing_mm: Voxel spacing (D, H, W).

    >>> body = np.zeros((1, 40, 60), bool); body[:, 10:30, 10:30] = True
    >>> sct_hu = np.where(body, np.float32(40), np.float32(-1000)); sct_hu[0, 5, 50] = 300
    >>> air = background(sct_hu, body, (1.0, 1.0, 1.0))
    >>> bool(air[0, 5, 50]), bool(air[body].any())
    (True, False)
    """
    labels, count = ndimage.label(opened(sct_hu > DENSE_HU, spacing_mm, JOINT_MM) | body)
    joined = np.zeros(count + 1, dtype=bool)
    joined[labels[body]] = True
    return ~grow(joined[labels], spacing_mm, MARGIN_MM)


def dense_ml(sct_hu: Array, where: Mask, spacing_mm: tuple[float, float, float]) -> float:
    """Volume in ml of what is no air in a part of an sCT.

    Args:
        sct_hu: (D, H, W) in HU.
        where: (D, H, W) the part.
        spacing_mm: Voxel spacing (D, H, W).

    >>> dense_ml(np.full((2, 5, 5), 40.0), np.ones((2, 5, 5), bool), (1.0, 2.0, 2.0))
    0.2
    """
    return round(float(np.count_nonzero((sct_hu > DENSE_HU) & where)) * voxel_ml(spacing_mm), 3)
