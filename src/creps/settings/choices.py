"""Names that settings choose from, shared with the code that they choose."""

from __future__ import annotations

from typing import Literal

__all__ = [
    "AdversarialLoss",
    "BackboneName",
    "CtPositions",
    "Extent",
    "Fusion",
    "Norm",
    "Precision",
    "RecipeName",
    "Tracker",
]

Norm = Literal["batch", "instance", "none"]
BackboneName = Literal["convnext_tiny", "vgg16"]
RecipeName = Literal["anatomy", "paper", "cyclegan", "cut", "supervised"]
AdversarialLoss = Literal["bce", "least_squares"]
CtPositions = Literal["independent", "matched", "colocated"]
Extent = Literal["body", "volume"]
Fusion = Literal["upper_median", "median", "mean", "gaussian", "single"]
Precision = Literal["auto", "bf16", "fp32"]
Tracker = Literal["tensorboard"]
