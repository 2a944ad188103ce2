"""What MR contrast alone says about HU: a crude start, not a synthesis.

In every MR sequence in clinical use cortical bone gives next to no signal and fat a strong one; in CT
it is the other way round. Unpaired training that starts from random weights tends to map bright to
bright instead (the scalp becomes a skull), which matches CT texture as well, and stays there.
"""

from __future__ import annotations

import torch

__all__ = ["contrast_prior"]

BONE, SOFT, FAT, AIR = 0.7, 0.03, -0.1, -1.0
"""Network units (HU / 1000)."""

DARK, BRIGHT = 0.35, 1.5
"""MR in network units [0, 2]: up to DARK bone fades into soft tissue, from there to BRIGHT soft tissue into fat."""


def contrast_prior(mr: torch.Tensor, body: torch.Tensor) -> torch.Tensor:
    """A CT guess from MR intensity: dark is bone, bright is fat, outside the body is air.

    Args:
        mr: MR in network units [0, 2], any shape.
        body: Body mask of the same shape.

    Returns:
        CT in network units, the same shape.
    """
    bone = (1 - mr / DARK).clamp(0, 1)
    fat = ((mr - DARK) / (BRIGHT - DARK)).clamp(0, 1)
    guess = SOFT + bone * (BONE - SOFT) + fat * (FAT - SOFT)
    return torch.where(body, guess, torch.full_like(guess, AIR))
