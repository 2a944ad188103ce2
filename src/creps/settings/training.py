"""Settings of a training run and of the patches it draws."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from creps.settings.choices import CtPositions, Precision, Tracker
from creps.settings.fields import Count, Fraction, NotNegative, OneOrMany, PatchSize, Positive, Section, Seed

__all__ = ["SamplingSettings", "TrainingSettings"]


class SamplingSettings(Section):
    """Which patches of which patients a training step sees; never a pair unless asked for."""

    patch_size: PatchSize = (66, 168, 168)
    """Patch (D, H, W) in voxels (paper, section 2.2, Training: 66x168x168 brain, 32x224x224 pelvis)."""
    mr_positions: Literal["grid", "random"] = "grid"
    """`grid` visits every MR patch of the half-stride grid once per epoch (paper), `random` draws positions in the bounding box of the body."""
    ct_positions: CtPositions = "independent"
    """`independent` of the MR (paper), `matched`: the same normalised body position in another patient, `colocated`: the same case and position, for cohorts of registered pairs only."""


class TrainingSettings(Section):
    """The run (paper, section 2.2, Training)."""

    epochs: Count = 200
    """Epochs (paper: 200)."""
    steps: Count | None = None
    """Stop after this many steps, whatever `epochs` is."""
    batch_size: Count = 8
    """Patches per step (paper: 8)."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """`adamw` (paper), or `muon`: orthogonal updates of the generator's hidden weights, AdamW for all others; fewer steps to the same loss."""
    learning_rate: Positive = 1e-4
    """The optimizer's learning rate (paper: 1e-4)."""
    schedule: Literal["constant", "cosine"] = "constant"
    """How the learning rate moves: `constant` (paper), or `cosine`, up over the first 100 steps (a twentieth of a shorter run) and down to 0 at the last one."""
    clip_norm: NotNegative = 0.0
    """Largest norm of the generator's gradient; a longer one is shortened to it; 0 is off (paper: off)."""
    bone_weight: Annotated[float, Field(ge=1)] = 1.0
    """How much more than the rest bone (above 130 HU) counts at first where the loss knows the CT; falls linearly to 1 over 70 % of the run. The mean is that of each process's part of the batch. 1 is off (paper: off)."""
    discriminator_learning_rate: Positive | None = None
    """Learning rate of the discriminator (default: the same)."""
    beta1: Fraction = 0.9
    """AdamW's first momentum; that of Muon is 0.95."""
    weight_decay: NotNegative = 1e-3
    """Weight decay (paper: 1e-3)."""
    ema_decay: Fraction = 0.0
    """Keep an exponential moving average of the generator with this decay and synthesize with it; 0 is off."""
    precision: Precision = "auto"
    """Arithmetic of the networks; losses and optimizers are float32 either way. `auto` is bf16 where the hardware supports it, fp32 elsewhere."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    devices: Literal["auto"] | Count = 1
    """Processes per node, one per GPU (or this many on the CPU); `auto` uses every GPU. The batch is divided among them; batch norm and losses see all of it."""
    nodes: Count = 1
    """Machines of a cluster; SLURM or torchrun starts their processes."""
    accumulate: Count = 1
    """Split each process's share of the batch into this many parts, one after the other, and sum their gradients: uses less memory, but batch norm sees one part at a time (paper: the whole batch at once)."""
    checkpoint_activations: bool = False
    """Recompute activations in the backward pass instead of storing them: the same gradients with much less memory and about a third more time."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that read patches; affects speed only."""
    seed: Seed = 0
    """Seed of the initialisation and of every random draw."""
    log_every: Count = 10
    """Steps between lines on the console and rows in the curves; the first step is always reported."""
    loggers: Annotated[tuple[Tracker, ...], OneOrMany] = ()
    """Where curves and pictures go besides the run's folder: `tensorboard` (an extra: `pip install 'creps[tensorboard]'`)."""
    validate_every: Count = 250
    """Steps between validations on fixed patches of the validation cases: score, picture (MR | sCT | CT), curves as a picture."""
    validation_cases: Count = 3
    """Maximum number of MRs (and CTs) used for validation; three patches of each."""
    model: Literal["last", "best"] = "last"
    """Which weights become the run's model: the last ones (paper), or those with the lowest validation score; of the moving average if there is one."""
    patience: Count | None = None
    """Stop after this many validations without a better score; the run then finishes normally. Null is off."""
    checkpoint_every: Count = 500
    """Steps between checkpoints; the last step and an interruption always write one as well."""
    keep_checkpoints: Count = 2
    """How many checkpoints are kept on disk."""
