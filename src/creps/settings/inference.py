"""Settings of the synthesis."""

from __future__ import annotations

from creps.settings.choices import Fusion, Precision
from creps.settings.fields import Count, Section

__all__ = ["InferenceSettings"]


class InferenceSettings(Section):
    """From one MR to one sCT (paper, section 2.2, Inference)."""

    patch_overlap: tuple[int, int, int] | None = None
    """Overlap of neighbouring patches (D, H, W) in voxels (default: half the patch, as the paper's stride)."""
    min_coverage: Count = 2
    """Predictions that every voxel gets at least (paper: 2)."""
    fusion: Fusion = "upper_median"
    """How a voxel's predictions become one; the paper's median takes the upper of two middle values."""
    batch_size: Count = 1
    """Patches per forward pass; does not change the result in float32."""
    precision: Precision = "bf16"
    """Arithmetic of the generator."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
