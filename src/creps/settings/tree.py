"""The settings tree: one place for every knob, its default, its unit and its source.

The attribute docstrings below are the help of the command line and the comments of a written
settings file. "Paper" is Hémon et al. 2023; defaults without a source are ours. Values are layered:
defaults < preset < settings file < command line.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic.fields import FieldInfo

from creps.settings.choices import AdversarialLoss, BackboneName, CtPositions, Fusion, Norm, Padding, Precision

__all__ = [
    "AdversarialSettings",
    "CrepsSettings",
    "DiscriminatorSettings",
    "GeneratorSettings",
    "InferenceSettings",
    "PreparationSettings",
    "PriorSettings",
    "SamplingSettings",
    "Settings",
    "TrainingSettings",
    "leaf_fields",
    "sections",
]

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


def _whole(value: object) -> object:
    """``1e3`` is a whole number, `True` is not."""
    if isinstance(value, bool):
        raise ValueError("a whole number is wanted, not true or false")
    try:
        number = float(value) if isinstance(value, str) else None
    except ValueError:
        return value
    return int(number) if number is not None and number.is_integer() else value


Count = Annotated[int, BeforeValidator(_whole), Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
SpacingMm = tuple[Positive, Positive, Positive]
PatchSize = tuple[Count, Count, Count]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class PreparationSettings(_Section):
    """How volumes become network input; stored with the cohort and with the model."""

    region: str = "brain"
    """Body region: one model per region (paper, section 2.1)."""
    spacing_mm: SpacingMm = (1.0, 1.0, 1.0)
    """Voxel spacing (D, H, W) in mm after cubic B-spline resampling (paper, section 2.2: brain 1x1x1; pelvis 1x1x2.5 with 2.5 along the depth)."""
    mr_scale: Literal["auto"] | Positive = 1000.0
    """MR divisor, then clipped to [0, 2] (paper, section 2.2: 1000); `auto` maps each volume's `mr_percentile` inside the body to 2, for scanners with other units."""
    mr_percentile: Annotated[float, Field(gt=50, le=100)] = 99.5
    """Percentile of the MR inside the body that `mr_scale: auto` maps to 2."""
    remove_outside: bool = False
    """Set everything outside the body mask to background (CT: air, so that couch and mask vanish; MR: 0), in training and in synthesis (paper: not mentioned)."""
    validation_fraction: Fraction = 0.1
    """Share of the patients (of MR and of CT) kept out of training for validation; at least one of each where there are two or more."""
    seed: Seed = 0
    """Seed of the split by patient."""


class GeneratorSettings(_Section):
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


class DiscriminatorSettings(_Section):
    """The 70x70x70 PatchGAN (paper, section 2.2, cGAN)."""

    widths: Annotated[tuple[Count, ...], Field(min_length=2, max_length=6)] = (16, 32, 64, 64)
    """Output channels of the normalised convolutions; four of them make the paper's field of view of 70 voxels, three see 34, two 16."""
    norm: Norm = "batch"
    """Normalisation after each convolution but the last (paper: batch)."""
    conditional: bool = False
    """Show the MR to the discriminator as well (paper, eq. 5: D(sCT), so no); needs co-located sampling, since otherwise MR and CT never match."""
    pooled_logit: bool = False
    """Average a patch's logits into one before the loss."""


class AdversarialSettings(_Section):
    """The adversarial loss of both networks (paper, eq. 5)."""

    loss: AdversarialLoss = "bce"
    """Binary cross entropy on the logits (paper) or least squares."""
    weight: NotNegative = 1.0
    """Weight of the adversarial term in the generator loss (paper, eq. 5: 1)."""
    gradient_penalty: NotNegative = 0.0
    """R1 penalty on real CT for the discriminator: weight / 2 x squared gradient norm of a patch's summed logits / their number; 0 is off (paper: off)."""


class CrepsSettings(_Section):
    """The CREPs loss: Gram matrices of a frozen ImageNet network (paper, eqs. 1-4)."""

    weight: NotNegative = 20.0
    """Weight of the style term (paper, eq. 4: 20); 0 removes the term; where `balance` measures the weight, it is not used."""
    backbone: BackboneName = "convnext_tiny"
    """Feature network (paper: ConvNeXt-Tiny; VGG16 is the classical loss)."""
    weights: str = "imagenet"
    """`imagenet` (torchvision's cache, or its download), a .pth or .safetensors file, or `random`: seeded and untrained, which is not the paper's loss and is said so everywhere."""
    weights_sha256: Annotated[str | None, BeforeValidator(lambda v: str(v) if isinstance(v, int) else v)] = None
    """SHA-256 that the weights file must have (a prefix of at least 8 digits will do)."""
    layers: Annotated[tuple[str, ...] | None, BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)] = None
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
    """Balance the term against the adversarial one over the first steps, then freeze the weight; `auto` does so for everything but real ConvNeXt weights, on which the paper's 20 is exact."""
    balance_steps: Count = 20
    """Steps over which the balance is measured."""
    balance_ratio: Positive = 1.0
    """Weighted style over adversarial magnitude that the balance aims at."""


class PriorSettings(_Section):
    """Ties of the sCT to its MR (not in the paper): a crude guess from unpaired grey-value statistics, and edges."""

    warm_up_steps: Annotated[int, Field(ge=0)] = 0
    """First steps in which the generator alone learns the guess: grey values matched in reversed order by depth under the skin; 0 is off."""
    weight: NotNegative = 0.0
    """Weight of the distance to the guess after that; 0 is off."""
    smoothness: NotNegative = 0.0
    """Weight of the term that keeps the sCT smooth where the MR is; edges of the MR are free; 0 is off."""

    @property
    def needs_guess(self) -> bool:
        """Whether a guess is used at all."""
        return self.warm_up_steps > 0 or self.weight > 0


class SamplingSettings(_Section):
    """Which patches of which patients meet in a training step; never a pair unless asked for."""

    patch_size: PatchSize = (66, 168, 168)
    """Patch (D, H, W) in voxels (paper, section 2.2, Training: 66x168x168 brain, 32x224x224 pelvis)."""
    mr_positions: Literal["grid", "random"] = "grid"
    """`grid` visits every MR patch of the half-stride grid once an epoch (paper), `random` draws positions in the body's box."""
    ct_positions: CtPositions = "independent"
    """`independent` of the MR (paper), `matched`: the same normalised body position in another patient, `colocated`: the same case and position, for cohorts of registered pairs only."""
    steps_per_epoch: Count | None = None
    """Steps of an epoch when `mr_positions` is random (default: as many as the grid would take)."""


class TrainingSettings(_Section):
    """The run (paper, section 2.2, Training)."""

    epochs: Count = 200
    """Epochs (paper: 200)."""
    steps: Count | None = None
    """Stop after this many steps, whatever `epochs` says."""
    batch_size: Count = 8
    """Patches per step (paper: 8)."""
    learning_rate: Positive = 1e-4
    """AdamW's learning rate, constant (paper: 1e-4)."""
    discriminator_learning_rate: Positive | None = None
    """Another rate for the discriminator (default: the same)."""
    beta1: Fraction = 0.9
    """AdamW's first momentum."""
    weight_decay: NotNegative = 1e-3
    """AdamW's weight decay (paper: 1e-3)."""
    ema_decay: Fraction = 0.0
    """Keep an exponential moving average of the generator with this decay and synthesize with it; 0 is off."""
    precision: Precision = "bf16"
    """Arithmetic of the networks; losses and optimizers are float32 either way."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that read patches; changes nothing but speed."""
    seed: Seed = 0
    """Seed of initialisation and of every draw."""
    log_every: Count = 10
    """Steps between lines on the console and rows in the curves; the first step is always shown."""
    picture_every: Count = 250
    """Steps between pictures of the validation cases (MR | sCT | CT)."""
    checkpoint_every: Count = 500
    """Steps between checkpoints; the last step always writes one."""
    keep_checkpoints: Count = 2
    """How many checkpoints stay on disk."""


class InferenceSettings(_Section):
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


class Settings(_Section):
    """Every setting of creps; the defaults are the paper's for the brain."""

    preset: str = "brain"
    """The preset that these settings started from."""
    preparation: PreparationSettings = PreparationSettings()
    generator: GeneratorSettings = GeneratorSettings()
    discriminator: DiscriminatorSettings = DiscriminatorSettings()
    adversarial: AdversarialSettings = AdversarialSettings()
    creps: CrepsSettings = CrepsSettings()
    prior: PriorSettings = PriorSettings()
    sampling: SamplingSettings = SamplingSettings()
    training: TrainingSettings = TrainingSettings()
    inference: InferenceSettings = InferenceSettings()

    @field_validator("creps")
    @classmethod
    def _sha256_is_hex(cls, value: CrepsSettings) -> CrepsSettings:
        digest = value.weights_sha256
        if digest is not None and (len(digest) < 8 or set(digest.lower()) - set("0123456789abcdef")):
            raise ValueError("creps.weights_sha256 must be at least 8 hexadecimal digits")
        return value

    @model_validator(mode="after")
    def _settings_agree(self) -> Settings:
        if self.discriminator.conditional and self.sampling.ct_positions != "colocated":
            raise ValueError("discriminator.conditional needs sampling.ct_positions: colocated (MR and CT must match)")
        if self.adversarial.weight == self.creps.weight == self.creps.content_weight == 0:
            raise ValueError("adversarial.weight, creps.weight and creps.content_weight are 0: nothing would be learnt")
        if self.creps.slice_step > self.sampling.patch_size[0]:
            raise ValueError("creps.slice_step is larger than the depth of sampling.patch_size: no slice would be left")
        overlap = self.inference.patch_overlap
        if overlap and any(not 0 <= o < p for o, p in zip(overlap, self.sampling.patch_size, strict=True)):
            raise ValueError("inference.patch_overlap must lie in [0, sampling.patch_size)")
        return self


def leaf_fields() -> Iterator[tuple[str, str, FieldInfo]]:
    """Yield (section, name, field) of every setting, in order."""
    for section, kind in sections():
        for name, field in kind.model_fields.items():
            yield section, name, field


def sections() -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield (name, model class) of every section of the tree, in order."""
    for name, field in Settings.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield name, kind
