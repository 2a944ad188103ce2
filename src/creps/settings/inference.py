"""Settings of synthesis."""

from __future__ import annotations

from typing import Literal

from creps.settings.choices import Extent, Fusion, Precision
from creps.settings.fields import Count, Positive, Section

__all__ = ["InferenceSettings"]


class InferenceSettings(Section):
    """From one MR to one sCT (paper, section 2.2, Inference)."""

    extent: Extent = "volume"
    """What is predicted: the whole `volume` (paper), or only the patches that contain part of the `body`, which is faster. With `body`, everything beyond 10 mm of the body, or of tissue joined to it, becomes air."""
    patch_overlap: tuple[int, int, int] | None = None
    """Overlap of neighbouring patches (D, H, W) in voxels (default: half the patch, as the paper's stride)."""
    min_coverage: Count = 2
    """Minimum number of predictions per voxel (paper: 2)."""
    fusion: Fusion = "upper_median"
    """How overlapping predictions of a voxel are combined; the paper's median takes the upper of two middle values. `single` predicts each voxel once, as if the volume were one patch: many times faster, but try it on patients whose result you know (docs/concepts/speed.md)."""
    flips: bool = False
    """Also predict the mirror image, left to right, and average both: up to twice the time. docs/concepts/uncertainty.md says what it gains."""
    batch_size: Literal["auto"] | Count = "auto"
    """Patches per forward pass; does not change the result in float32. `auto` depends on device and memory; a batch that does not fit is halved."""
    memory_gb: Positive | None = None
    """Memory in GB that a forward pass may use; sets the size of batches (`batch_size: auto`) and tiles (`fusion: single`). Null uses 4, or half of the free memory if that is less."""
    precision: Precision = "auto"
    """Arithmetic of the generator; `auto` is bf16 where the hardware supports it, fp32 elsewhere."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps; a model does not keep it."""
