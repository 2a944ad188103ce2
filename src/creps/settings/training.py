"""Settings of the run and of the patches it sees."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from creps.settings.choices import CtPositions, Precision, Tracker
from creps.settings.fields import Count, Fraction, NotNegative, OneOrMany, PatchSize, Positive, Section, Seed

__all__ = ["SamplingSettings", "TrainingSettings"]


class SamplingSettings(Section):
    """Which patches of which patients meet in a training step; never a pair unless asked for."""

    patch_size: PatchSize = (66, 168, 168)
    """Patch (D, H, W) in voxels (paper, section 2.2, Training: 66x168x168 brain, 32x224x224 pelvis)."""
    mr_positions: Literal["grid", "random"] = "grid"
    """`grid` visits every MR patch of the half-stride grid once an epoch (paper), `random` draws positions in the body's box."""
    ct_positions: CtPositions = "independent"
    """`independent` of the MR (paper), `matched`: the same normalised body position in another patient, `colocated`: the same case and position, for cohorts of registered pairs only."""
    balance_centres: bool = False
    """Draw from each centre equally often, however many cases it has; cases without a centre count as one centre (paper: not mentioned)."""
    steps_per_epoch: Count | None = None
    """Steps of an epoch when `mr_positions` is random (default: as many as the grid would take)."""


class TrainingSettings(Section):
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
    precision: Precision = "auto"
    """Arithmetic of the networks; losses and optimizers are float32 either way. `auto` is bf16 on processors with units for it, fp32 on others."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    devices: Literal["auto"] | Count = 1
    """Processes of a node, one per GPU (or so many on the CPU); `auto` takes every GPU. The batch is shared out, batch norm and losses see all of it."""
    nodes: Count = 1
    """Machines of a cluster; SLURM or torchrun starts their processes."""
    accumulate: Count = 1
    """Split each process's share of the batch into this many parts, one after the other, and add up their gradients: less memory; batch norm sees a part at a time (paper: the whole batch at once)."""
    checkpoint_activations: bool = False
    """Compute activations again in the backward pass instead of keeping them: the same gradients, much less memory, about a third more time."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that read patches; changes nothing but speed."""
    seed: Seed = 0
    """Seed of initialisation and of every draw."""
    log_every: Count = 10
    """Steps between lines on the console and rows in the curves; the first step is always shown."""
    loggers: Annotated[tuple[Tracker, ...], OneOrMany] = ()
    """Where curves and pictures go besides the run's folder: `tensorboard` (an extra: `pip install 'creps[tensorboard]'`)."""
    validate_every: Count = 250
    """Steps between validations on fixed patches of the validation cases: score, picture (MR | sCT | CT), curves as a picture."""
    validation_cases: Count = 3
    """MRs (and CTs) that are validated on at most; three places of each."""
    model: Literal["last", "best"] = "last"
    """Which weights become the run's model: the last ones (paper), or those with the lowest validation score; of the moving average if there is one."""
    patience: Count | None = None
    """Stop after this many validations without a better score; the run is finished as ever. Null is off."""
    checkpoint_every: Count = 500
    """Steps between checkpoints; the last step and an interruption always write one."""
    keep_checkpoints: Count = 2
    """How many checkpoints stay on disk."""
