"""The training loop: batches in, updates, curves, pictures, checkpoints."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from lightning.fabric import Fabric
from torch import nn
from torch.utils.data import DataLoader

from creps.checkpoint import Plan, build_generator
from creps.errors import SettingsError, TrainingError
from creps.losses.balance import MagnitudeBalance
from creps.losses.creps import CrepsLoss
from creps.networks.backbone import Backbone
from creps.networks.discriminator import PatchDiscriminator, smallest_input
from creps.settings import Settings
from creps.training.monitor import Monitor
from creps.training.sampling import UnpairedPatches
from creps.training.state import save_checkpoint
from creps.training.step import Networks, StepReport, TrainingStep, average_into

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Validation", "build_networks", "build_style", "run_training", "total_steps"]

log = logging.getLogger(__name__)

Validation = Callable[[nn.Module, nn.Module], "tuple[dict[str, float], npt.NDArray[np.uint8]]"]
"""(generator in training, generator to synthesize with) → values for the curves, picture (H, W, 3)."""


def build_networks(fabric: Fabric, settings: Settings, style: CrepsLoss | None) -> Networks:
    """Networks and optimizers, initialised from the run's seed and set up for its device.

    Raises:
        SettingsError: the patch is too small for the discriminator.
    """
    smallest = smallest_input(len(settings.discriminator.widths))
    if min(settings.sampling.patch_size) < smallest:
        raise SettingsError(
            f"sampling.patch_size {settings.sampling.patch_size} is too small for the discriminator.",
            f"Every side needs at least {smallest} voxels.",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.training.seed)
        generator = build_generator(settings.generator)
        discriminator = PatchDiscriminator(**settings.discriminator.model_dump())
    generator.to(memory_format=torch.channels_last_3d)
    discriminator.to(memory_format=torch.channels_last_3d)
    averaged = copy.deepcopy(generator).requires_grad_(False) if settings.training.ema_decay > 0 else None
    rate = settings.training.learning_rate
    generator, generator_optimizer = fabric.setup(generator, _adamw(generator, rate, settings))
    discriminator, discriminator_optimizer = fabric.setup(
        discriminator, _adamw(discriminator, settings.training.discriminator_learning_rate or rate, settings)
    )
    return Networks(
        generator,
        discriminator,
        generator_optimizer,
        discriminator_optimizer,
        _balance(settings, style),
        averaged.to(fabric.device) if averaged is not None else None,
    )


def build_style(settings: Settings) -> CrepsLoss | None:
    """The CREPs loss with its backbone, or None if the weights of its terms are 0.

    Raises:
        ModelError: the backbone's weights cannot be had.
        SettingsError: the patch's slices are too small for the chosen features.
    """
    creps = settings.creps
    if creps.weight == creps.content_weight == 0:
        return None
    backbone = Backbone(
        creps.backbone, creps.weights, creps.layers, creps.image_size, creps.weights_sha256, settings.training.seed
    )
    _, height, width = settings.sampling.patch_size
    try:
        with torch.no_grad():
            backbone(torch.zeros(1, 1, height, width))
    except RuntimeError as error:
        raise SettingsError(
            f"Slices of {height} x {width} voxels are too small for the features {', '.join(backbone.layers)}.",
            "Set creps.image_size (paper: 224), use larger patches, or earlier layers.",
        ) from error
    return CrepsLoss(backbone, creps.slice_step, creps.reduction, creps.gram)


def total_steps(settings: Settings, samples_per_epoch: int) -> int:
    """Steps of a run: its epochs, cut off at `training.steps`."""
    steps = -(-settings.training.epochs * samples_per_epoch // settings.training.batch_size)
    return steps if settings.training.steps is None else min(steps, settings.training.steps)


def run_training(
    fabric: Fabric,
    networks: Networks,
    step: TrainingStep,
    patches: UnpairedPatches,
    *,
    start: int,
    folder: Path,
    plan: Callable[[int], Plan],
    validate: Validation | None,
) -> None:
    """Train from step `start` to the end of `patches`.

    Args:
        fabric: The engine.
        networks: What is trained; `start` steps of it are done.
        step: The update.
        patches: The samples of the whole run.
        start: Steps done before.
        folder: The run's folder.
        plan: Makes the model's plan after a number of steps.
        validate: Looks at the networks now and then.

    Raises:
        TrainingError: a loss is no longer finite.
    """
    training, steps = step.settings.training, patches.steps
    loader = fabric.setup_dataloaders(_loader(patches, start, training.workers), use_distributed_sampler=False)
    monitor = Monitor(folder, start, steps, training.log_every)
    try:
        for done, batch in enumerate(loader, start + 1):
            mr, ct = (batch[name].contiguous(memory_format=torch.channels_last_3d) for name in ("mr", "ct"))
            guess = batch.get("guess")
            warming_up = guess is not None and done <= step.settings.prior.warm_up_steps
            report = step.warm_up(mr, guess) if warming_up else step(mr, ct, guess)
            if networks.averaged is not None:
                average_into(networks.averaged, networks.generator, training.ema_decay, done)
            looks = validate is not None and (done % training.picture_every == 0 or done == steps)
            saves = done % training.checkpoint_every == 0 or done == steps
            if monitor.due(done) or looks or saves:
                terms, validation = _finite(report, done, folder), None
                if validate is not None and looks:
                    validation, picture = validate(networks.generator, networks.averaged or networks.generator)
                    monitor.picture(done, picture)
                monitor.show(done, terms, report.weights, validation)
            if networks.balance.steps and done == step.settings.prior.warm_up_steps + networks.balance.steps:
                log.info("style weight balanced and frozen at %.6g", float(networks.balance.weight))
            if saves:
                save_checkpoint(folder / "checkpoints", networks, done, plan(done), training.keep_checkpoints)
    finally:
        monitor.close()


def _adamw(module: nn.Module, rate: float, settings: Settings) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        module.parameters(),
        lr=rate,
        betas=(settings.training.beta1, 0.999),
        weight_decay=settings.training.weight_decay,
    )


def _balance(settings: Settings, style: CrepsLoss | None) -> MagnitudeBalance:
    creps = settings.creps
    real = style is None or (style.backbone.weights.backbone == "convnext_tiny" and style.backbone.weights.trained)
    measured = creps.weight > 0 and (creps.balance == "always" or (creps.balance == "auto" and not real))
    return MagnitudeBalance(creps.weight, creps.balance_steps if measured else 0, creps.balance_ratio)


def _loader(patches: UnpairedPatches, start: int, workers: int) -> DataLoader[dict[str, torch.Tensor]]:
    batch_size = patches.sampler.batch_size
    rest = range(start * batch_size, len(patches))
    return DataLoader(patches, batch_size, sampler=rest, num_workers=workers, persistent_workers=workers > 0)


def _finite(report: StepReport, step: int, folder: Path) -> dict[str, float]:
    values = {name: float(value) for name, value in report.terms.items()}
    broken = [name for name, value in values.items() if not abs(value) < float("inf")]
    if broken:
        raise TrainingError(
            f"At step {step} the loss term '{broken[0]}' is {values[broken[0]]}.",
            f"Go on from the last checkpoint in {folder / 'checkpoints'} with --resume auto and a lower "
            "training.learning_rate.",
        )
    return values
