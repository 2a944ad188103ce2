"""What MR contrast alone says about HU: a crude start, not a synthesis.

In every MR sequence in clinical use cortical bone gives next to no signal and fat a strong one; in CT
it is the other way round. Unpaired training that starts from random weights tends to map bright to
bright instead (the scalp becomes a skull), which matches CT texture as well, and stays there.
"""

from __future__ import annotations

import torch

__all__ = ["bone_in_fat", "contrast_prior", "edge_aware_smoothness"]

BONE, SOFT, FAT, AIR = 0.7, 0.03, -0.1, -1.0
"""Network units (HU / 1000)."""

DARK, BRIGHT = 0.35, 1.5
"""MR in network units [0, 2]: up to DARK bone fades into soft tissue, from there to BRIGHT soft tissue into fat."""

FAT_FROM, CEILING = 1.1, 0.2
"""From this MR intensity on (network units) tissue starts to be fat; there an sCT above CEILING is suspect."""

EDGE = 0.1
"""Step between neighbouring MR voxels (network units) that counts as an edge."""


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


def bone_in_fat(sct: torch.Tensor, mr: torch.Tensor) -> torch.Tensor:
    """How far the sCT rises above soft tissue where the MR is as bright as fat, in float32.

    Args:
        sct: sCT in network units, any shape.
        mr: MR in network units [0, 2], the same shape.

    Returns:
        A scalar: mean over all voxels of the excess over `CEILING`, fading in up to `BRIGHT`.
    """
    fatness = ((mr - FAT_FROM) / (BRIGHT - FAT_FROM)).clamp(0, 1)
    return (fatness * (sct.float() - CEILING).clamp_min(0)).mean()


def edge_aware_smoothness(sct: torch.Tensor, mr: torch.Tensor) -> torch.Tensor:
    """Mean step between neighbouring sCT voxels, counted less the larger the MR's own step is.

    Args:
        sct: (B, 1, D, H, W) sCT in network units.
        mr: (B, 1, D, H, W) MR in network units.

    Returns:
        A scalar: over the three axes the mean of |Δ sCT| · exp(-|Δ MR| / `EDGE`), in float32.
    """
    terms = []
    for axis in (2, 3, 4):
        step = sct.float().diff(dim=axis).abs()
        terms.append((step * torch.exp(-mr.float().diff(dim=axis).abs() / EDGE)).mean())
    return torch.stack(terms).mean()
