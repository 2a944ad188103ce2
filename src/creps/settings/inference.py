"""Settings of the synthesis."""

from __future__ import annotations

from typing import Literal

from creps.settings.choices import Extent, Fusion, Precision
from creps.settings.fields import Count, Positive, Section

__all__ = ["InferenceSettings"]


class InferenceSettings(Section):
    """From one MR to one sCT (paper, section 2.2, Inference)."""

    extent: Extent = "volume"
    """What is predicted: the whole `volume` (paper), or only the patches that hold some of the `body`: fewer, and what none of them reaches becomes air."""
    patch_overlap: tuple[int, int, int] | None = None
    """Overlap of neighbouring patches (D, H, W) in voxels (default: half the patch, as the paper's stride)."""
    min_coverage: Count = 2
    """Predictions that every voxel gets at least (paper: 2)."""
    fusion: Fusion = "upper_median"
    """How a voxel's predictions become one; the paper's median takes the upper of two middle values. `single` predicts each voxel once, as if the volume were one patch: many times faster, see docs/concepts/speed.md before using it."""
    batch_size: Literal["auto"] | Count = "auto"
    """Patches per forward pass; does not change the result in float32. `auto` goes by device and memory; what does not fit is halved."""
    memory_gb: Positive | None = None
    """Memory that a forward pass may take: batches (`batch_size: auto`) and tiles (`fusion: single`) follow from it; null takes 4, or half of what is free if that is less."""
    precision: Precision = "auto"
    """Arithmetic of the generator; `auto` is bf16 on processors with units for it, fp32 on others."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
