"""Settings of the loss terms."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from creps.settings.choices import AdversarialLoss, BackboneName
from creps.settings.fields import Count, NotNegative, OneOrMany, Positive, Section

__all__ = [
    "AdversarialSettings",
    "CrepsSettings",
    "CycleSettings",
    "NceSettings",
    "SimulationSettings",
    "SupervisedSettings",
]


class AdversarialSettings(Section):
    """The adversarial loss of generator and discriminator (paper, eq. 5)."""

    loss: AdversarialLoss = "bce"
    """Binary cross entropy on the logits (paper) or least squares."""
    weight: NotNegative = 1.0
    """Weight of the adversarial term in the generator loss (paper, eq. 5: 1); 0 removes the term and the discriminator."""
    gradient_penalty: NotNegative = 0.0
    """R1 penalty on real images for the discriminator: weight / 2 x squared gradient norm of a patch's summed logits / their number; 0 is off (paper: off)."""


class CrepsSettings(Section):
    """The CREPs loss: Gram matrices of a frozen ImageNet network (paper, eqs. 1-4)."""

    weight: NotNegative = 20.0
    """Weight of the style term (paper, eq. 4: 20); 0 removes the term; where `balance` measures the weight, it is not used."""
    backbone: BackboneName = "convnext_tiny"
    """Feature network (paper: ConvNeXt-Tiny; VGG16 is the classical loss)."""
    weights: str = "imagenet"
    """`imagenet` (torchvision's cache, or its download), a .pth or .safetensors file, or `random`: seeded and untrained, which is not the paper's loss and is said so everywhere."""
    weights_sha256: Annotated[str | None, BeforeValidator(lambda v: str(v) if isinstance(v, int) else v)] = None
    """SHA-256 that the weights file must have (a prefix of at least 8 digits will do)."""
    layers: Annotated[tuple[str, ...] | None, OneOrMany] = None
    """Feature nodes by torchvision's names; default: the first block of stages 3 and 4 after the second point-wise layer for ConvNeXt, relu1_2, 2_2, 3_3 and 4_3 for VGG16."""
    image_size: Annotated[int, Field(ge=32)] | None = 224
    """Slices are resized to this many pixels a side, bilinear (paper, section 2.2: 224); null keeps their own size."""
    slice_step: Count = 1
    """Use every n-th axial slice of the patch (1: all)."""
    reduction: Literal["mean", "sum"] = "mean"
    """Over slices and batch: `mean`, or the literal `sum` over the batch (slices still averaged)."""
    gram: Literal["slice", "batch"] = "slice"
    """Compare the Gram matrix of each slice with that of the CT slice facing it, or the averages over the batch."""
    content_weight: NotNegative = 0.0
    """Weight of the content term, mean L1 of the features (paper, Fig. 1: drawn but not used)."""
    balance: Literal["auto", "always", "never"] = "auto"
    """Balance the term against the adversarial one over the first steps, then freeze the weight; `auto` does so for everything but real ConvNeXt weights, on which the paper's 20 is exact, and for nothing without an adversarial term."""
    balance_steps: Count = 20
    """Steps over which the balance is measured."""
    balance_ratio: Positive = 1.0
    """Weighted style over adversarial magnitude that the balance aims at."""


class CycleSettings(Section):
    """Cycle consistency: a second generator leads back from CT to MR, judged by a second discriminator (Zhu et al. 2017)."""

    weight: NotNegative = 0.0
    """Weight of the mean L1 distance after going there and back, MR and CT alike, in network units (Zhu: 10, grey values in [-1, 1]); 0 removes it and both networks."""
    identity_weight: NotNegative = 0.0
    """Weight of the mean L1 distance of each generator's output to an input that is of its output's kind already (Zhu, section 5.2, for paintings: half the cycle's weight)."""


class NceSettings(Section):
    """PatchNCE: a place of the sCT must be recognised among others by its features as the same place of the MR (Park et al. 2020)."""

    weight: NotNegative = 0.0
    """Weight of the term between sCT and MR (Park: 1); 0 removes it and the heads."""
    identity_weight: NotNegative = 0.0
    """Weight of the same term between a CT and what the generator makes of it (Park: 1 for CUT, 0 for FastCUT)."""
    temperature: Positive = 0.07
    """Temperature of the softmax (Park: 0.07)."""
    patches: Annotated[int, Field(ge=2)] = 256
    """Places of each patch that are compared, drawn anew for every step and stage (Park: 256); a stage with fewer is compared everywhere."""
    features: Annotated[tuple[str, ...], OneOrMany, Field(min_length=1)] = ("input", "stem", "down", "block1", "block4")
    """Stages of the generator whose features are compared: input, stem, down, block1, block2, … (Park: input, both down-samplings, first and fifth of nine blocks)."""
    width: Count = 256
    """Channels of the heads of two layers that the features go through (Park: 256)."""


class SupervisedSettings(Section):
    """Supervision by registered pairs: what unpaired training is held against."""

    weight: NotNegative = 0.0
    """Weight of the mean L1 distance between the sCT and the CT facing it, in network units; needs `sampling.ct_positions: colocated`; 0 is off."""


class SimulationSettings(Section):
    """MR simulated from CT (not in the paper): an MR of random contrast is painted over the CT patch, which is the truth for it."""

    weight: NotNegative = 0.0
    """Weight of the mean L1 distance between that CT and the sCT of the simulated MR, in network units; 0 is off."""
