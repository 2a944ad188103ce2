"""Build what a run needs from its settings: networks, optimizers, the perceptual loss, the number of steps."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import nn

from creps.errors import SettingsError
from creps.losses.balance import MagnitudeBalance
from creps.losses.creps import CrepsLoss
from creps.networks.backbone import Backbone
from creps.networks.build import build_generator
from creps.networks.discriminator import PatchDiscriminator, smallest_input
from creps.networks.generator import Generator
from creps.networks.projector import Projector
from creps.settings import Settings
from creps.training.distribution import synchronise_batch_norm
from creps.training.muon import Muon
from creps.training.networks import Networks
from creps.training.processes import Processes

__all__ = ["build_modules", "build_networks", "build_style", "total_steps"]

BETA2 = 0.999
"""AdamW's second momentum."""


def build_networks(
    processes: Processes,
    settings: Settings,
    style: CrepsLoss | None,
    weights: dict[str, torch.Tensor] | None = None,
) -> Networks:
    """Networks and optimizers, initialised from the run's seed, on the run's device.

    Args:
        processes: The processes of the run.
        settings: The whole tree.
        style: The CREPs loss, or None.
        weights: State of a generator to start from.

    Raises:
        SettingsError: the patch is too small for the discriminator.
    """
    smallest = smallest_input(len(settings.discriminator.widths))
    if settings.adversarial.weight > 0 and min(settings.sampling.patch_size) < smallest:
        raise SettingsError(
            f"sampling.patch_size {settings.sampling.patch_size} is too small for the discriminator.",
            f"Every side needs at least {smallest} voxels.",
        )
    training = settings.training
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        generators, discriminators = build_modules(settings)
    if weights is not None:
        generators["generator"].load_state_dict(weights)
    for group in (generators, discriminators):
        group.to(processes.device).to(memory_format=torch.channels_last_3d)
    averaged = copy.deepcopy(generators["generator"]).requires_grad_(False) if training.ema_decay > 0 else None
    for group in (generators, discriminators):
        synchronise_batch_norm(processes, group)
    rate = training.discriminator_learning_rate or training.learning_rate
    return Networks(
        generators,
        discriminators,
        _optimizer(generators, training.learning_rate, settings),
        _adamw(discriminators.parameters(), rate, settings) if discriminators else None,
        _balance(settings, style),
        averaged,
    )


def build_modules(settings: Settings) -> tuple[nn.ModuleDict, nn.ModuleDict]:
    """Generators and discriminators that the loss terms need, initialised from torch's random state.

    The networks that every run has come first, so that their initial weights do not depend on the others.

    Returns:
        Both groups as in `Networks`.
    """
    generator = build_generator(settings.generator)
    generator.checkpoint_activations = settings.training.checkpoint_activations
    generators, discriminators = nn.ModuleDict({"generator": generator}), nn.ModuleDict()
    if settings.adversarial.weight > 0:
        discriminators["discriminator"] = PatchDiscriminator(**settings.discriminator.model_dump())
    if settings.cycle.weight > 0:
        generators["inverse_generator"] = inverse = build_generator(settings.generator)
        inverse.checkpoint_activations = settings.training.checkpoint_activations
        discriminators["mr_discriminator"] = PatchDiscriminator(**settings.discriminator.model_dump())
    if settings.nce.weight > 0:
        channels = generator.feature_channels(settings.nce.features)
        generators["projector"] = Projector(channels, settings.nce.width)
    return generators, discriminators


def build_style(settings: Settings) -> CrepsLoss | None:
    """The CREPs loss with its backbone, or None if the weights of its terms are 0.

    Raises:
        ModelError: the backbone's weights are missing or damaged.
        SettingsError: the patch's slices are too small for the chosen features, or `creps.gram: batch` is combined
            with a batch that is split.
    """
    creps, training = settings.creps, settings.training
    if creps.weight == creps.content_weight == 0:
        return None
    if creps.gram == "batch" and (training.accumulate > 1 or training.devices != 1 or training.nodes > 1):
        raise SettingsError(
            "creps.gram: batch needs the whole batch at once.",
            "Set training.accumulate, devices and nodes to 1, or creps.gram: slice.",
        )
    backbone = Backbone(
        creps.backbone, creps.weights, creps.layers, creps.image_size, creps.weights_sha256, training.seed
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
    content = creps.content_weight > 0
    return CrepsLoss(backbone, creps.slice_step, creps.gram, content=content)


def total_steps(settings: Settings, samples_per_epoch: int) -> int:
    """Steps of a run: its epochs, cut off at `training.steps`."""
    steps = -(-settings.training.epochs * samples_per_epoch // settings.training.batch_size)
    return steps if settings.training.steps is None else min(steps, settings.training.steps)


def _optimizer(generators: nn.ModuleDict, rate: float, settings: Settings) -> torch.optim.Optimizer:
    """The optimizer of the generators; Muon's hidden weights are those of MR → sCT and its inverse."""
    if settings.training.optimizer == "adamw":
        return _adamw(generators.parameters(), rate, settings)
    hidden = [
        weight for module in generators.values() if isinstance(module, Generator) for weight in module.hidden_weights()
    ]
    known = {id(weight) for weight in hidden}
    others = [parameter for parameter in generators.parameters() if id(parameter) not in known]
    betas = (settings.training.beta1, BETA2)
    return Muon(hidden, others, lr=rate, betas=betas, weight_decay=settings.training.weight_decay)


def _adamw(parameters: Iterable[nn.Parameter], rate: float, settings: Settings) -> torch.optim.AdamW:
    betas = (settings.training.beta1, BETA2)
    return torch.optim.AdamW(parameters, lr=rate, betas=betas, weight_decay=settings.training.weight_decay)


def _balance(settings: Settings, style: CrepsLoss | None) -> MagnitudeBalance:
    creps = settings.creps
    real = style is None or (style.backbone.weights.backbone == "convnext_tiny" and style.backbone.weights.trained)
    compared = creps.weight > 0 and settings.adversarial.weight > 0
    measured = compared and (creps.balance == "always" or (creps.balance == "auto" and not real))
    return MagnitudeBalance(creps.weight, creps.balance_steps if measured else 0, creps.balance_ratio)
