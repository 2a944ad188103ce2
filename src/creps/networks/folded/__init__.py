"""Generators in the form that runs fastest: the same functions, for inference only."""

from __future__ import annotations

from creps.networks.folded.residual import FoldedResidual
from creps.networks.folded.unet import FoldedUNet

__all__ = ["FoldedResidual", "FoldedUNet"]
