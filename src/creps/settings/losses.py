"""Settings of the loss terms."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from creps.settings.choices import AdversarialLoss, BackboneName
from creps.settings.fields import Count, NotNegative, OneOrMany, Positive, Section, Share

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
    """Weight of the style term (paper, eq. 4: 20); 0 removes the term. Not used where `balance` sets the weight."""
    backbone: BackboneName = "convnext_tiny"
    """Feature network (paper: ConvNeXt-Tiny; VGG16 is the classical loss)."""
    weights: str = "imagenet"
    """`imagenet` (torchvision's cache, or its download), a .pth or .safetensors file, or `random`: seeded and untrained, which is not the paper's loss; every log and record says so."""
    weights_sha256: Annotated[str | None, BeforeValidator(lambda v: str(v) if isinstance(v, int) else v)] = None
    """SHA-256 that the weights file must have (a prefix of at least 8 digits is enough)."""
    layers: Annotated[tuple[str, ...] | None, OneOrMany] = None
    """Feature nodes by torchvision's names; default: the first block of stages 3 and 4 after the second point-wise layer for ConvNeXt, relu1_2, 2_2, 3_3 and 4_3 for VGG16."""
    image_size: Annotated[int, Field(ge=32)] | None = 224
    """Slices are resized to this many pixels a side, bilinear (paper, section 2.2: 224); null keeps their own size."""
    slice_step: Count = 1
    """Use every n-th axial slice of the patch (1: all)."""
    gram: Literal["slice", "batch"] = "slice"
    """Compare the Gram matrix of each slice with that of the corresponding CT slice, or the averages over the batch."""
    content_weight: NotNegative = 0.0
    """Weight of the content term, mean L1 of the features (paper, Fig. 1: drawn but not used)."""
    balance: Literal["auto", "always", "never"] = "auto"
    """Balance the term against the adversarial one over the first steps, then freeze the weight. `auto` does so except with ImageNet weights of ConvNeXt, for which the paper's 20 holds, and except without an adversarial term."""
    balance_steps: Count = 20
    """Steps over which the balance is measured."""
    balance_ratio: Positive = 1.0
    """Ratio of weighted style to adversarial magnitude that the balance aims at."""

    @field_validator("weights_sha256")
    @classmethod
    def _sha256_is_hex(cls, value: str | None) -> str | None:
        if value is not None and (len(value) < 8 or set(value.lower()) - set("0123456789abcdef")):
            raise ValueError("at least 8 hexadecimal digits are needed")
        return value


class CycleSettings(Section):
    """Cycle consistency: a second generator maps CT back to MR, with a second discriminator (Zhu et al. 2017)."""

    weight: NotNegative = 0.0
    """Weight of the mean L1 distance between an image and its reconstruction after the round trip, for MR and CT, in network units (Zhu: 10, grey values in [-1, 1]); 0 removes it and both networks."""
    identity_weight: NotNegative = 0.0
    """Weight of the mean L1 distance between input and output of each generator for an input that is already of the output's modality (Zhu, section 5.2, for paintings: half the cycle's weight)."""


class NceSettings(Section):
    """PatchNCE: the features of a location in the sCT must identify the same location in the MR among others (Park et al. 2020)."""

    weight: NotNegative = 0.0
    """Weight of the term between sCT and MR (Park: 1); 0 removes it and the heads."""
    identity_weight: NotNegative = 0.0
    """Weight of the same term between a CT and the output of the generator for it (Park: 1 for CUT, 0 for FastCUT)."""
    temperature: Positive = 0.07
    """Temperature of the softmax (Park: 0.07)."""
    patches: Annotated[int, Field(ge=2)] = 256
    """Locations of each patch that are compared, drawn anew for every step and stage (Park: 256); a stage with fewer locations uses all."""
    features: Annotated[tuple[str, ...], OneOrMany, Field(min_length=1)] = ("input", "stem", "down", "block1", "block4")
    """Stages of the generator whose features are compared: input, stem, down, block1, block2, … (Park: input, both down-samplings, first and fifth of nine blocks)."""
    width: Count = 256
    """Channels of the two-layer heads that project the features (Park: 256)."""


class SupervisedSettings(Section):
    """Supervision by registered pairs: the reference for unpaired training."""

    weight: NotNegative = 0.0
    """Weight of the mean L1 distance between the sCT and the registered CT, in network units; needs `sampling.ct_positions: colocated`; 0 is off."""


class SimulationSettings(Section):
    """Simulated pairs (not in the paper): MR patches of random contrast, simulated from the cohort's CT patches or from phantoms, whose CT is the ground truth."""

    weight: NotNegative = 0.0
    """Weight of the mean L1 distance between that CT and the sCT of the simulated MR, in network units; 0 is off."""
    phantom_share: Share = 0.0
    """Share of the pairs that come from phantoms of `preparation.region` (brain, head, pelvis); 0 uses the cohort's CTs alone."""
    phantoms: Count = 24
    """Number of phantom people."""
