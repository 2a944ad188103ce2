"""Levels and ranges in Hounsfield units: one name and one value each, for every room.

>>> from creps import hu
>>> hu.AIR < hu.AIR_BELOW < hu.BONE_ABOVE
True
"""

from __future__ import annotations

__all__ = [
    "AIR",
    "AIR_BELOW",
    "BONE_ABOVE",
    "BONE_SHARE_ABOVE",
    "CT_RANGE",
    "LARGEST",
    "LOWEST_AIR",
    "OUTSIDE_SCAN",
    "PER_NETWORK_UNIT",
    "SCT_RANGE",
    "SKIN",
    "STORED_RANGE",
]

AIR = -1000.0
"""Air in a CT."""

AIR_BELOW = -300.0
"""A voxel below this is air, in metrics and checks."""

BONE_ABOVE = 250.0
"""A voxel above this is bone, in metrics and structure sets."""

BONE_SHARE_ABOVE = 200.0
"""The share of bone in the label-free score counts voxels above this: a soft sCT's bone falls short of `BONE_ABOVE`."""

SKIN = -400.0
"""The surface of a patient in a CT: half-way between air and fat, on the safe side of noise."""

LOWEST_AIR = -1100.0
"""Noise takes air no lower than this; lower values are padding."""

LARGEST = 1e6
"""No CT's values are further from 0, its padding included."""

OUTSIDE_SCAN = -1024.0
"""Value of a CT's padding: what lies outside the reconstructed circle."""

CT_RANGE = (-1000.0, 3000.0)
"""Training CTs are clipped to this range (Hémon et al. 2023, section 2.2, Pre-processing)."""

SCT_RANGE = (-1024.0, 3000.0)
"""Synthetic CTs are clipped to this range (section 2.2, Inference)."""

STORED_RANGE = (-1024, 3071)
"""What 12 unsigned bits hold with a rescale intercept of -1024.

CT scanners have always stored their images like this, so every reader copes with it, including readers that take
stored values for unsigned, expect 12 bits, or ignore the sign.
"""

PER_NETWORK_UNIT = 1000.0
"""One network unit is 1000 HU (section 2.2, Pre-processing): CT lies in [-1, 3], water is 0."""
