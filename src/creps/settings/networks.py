"""Settings of generators and discriminators."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from creps.settings.choices import Norm, Padding
from creps.settings.fields import Count, Section

__all__ = ["DiscriminatorSettings", "GeneratorSettings"]


class GeneratorSettings(Section):
    """The 3-D residual generator (paper, section 2.2, cGAN)."""

    width: Count = 32
    """Channels at full resolution; twice as many at half resolution."""
    residual_blocks: Count = 6
    """Residual blocks between down- and up-sampling (paper: 6)."""
    norm: Norm = "batch"
    """Normalisation after each convolution but the last (paper: batch)."""
    norm_in_blocks: bool = True
    """Whether the residual blocks normalise too (paper: yes)."""
    padding: Padding = "zeros"
    """Padding of the convolutions."""


class DiscriminatorSettings(Section):
    """The 70x70x70 PatchGAN (paper, section 2.2, cGAN)."""

    widths: Annotated[tuple[Count, ...], Field(min_length=2, max_length=6)] = (16, 32, 64, 64)
    """Output channels of the normalised convolutions; four of them make the paper's field of view of 70 voxels, three see 34, two 16."""
    norm: Norm = "batch"
    """Normalisation after each convolution but the last (paper: batch)."""
    conditional: bool = False
    """Show the MR to the discriminator as well (paper, eq. 5: D(sCT), so no); needs co-located sampling, since otherwise MR and CT never match, and no cycle."""
    pooled_logit: bool = False
    """Average a patch's logits into one before the loss."""
