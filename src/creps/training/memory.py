"""Estimate the memory of a training step before it runs.

What autograd keeps for the backward pass grows in proportion to the voxels of a patch (generators, discriminators) or
to the number of slices (perceptual network). It is counted exactly on two small probes and extrapolated to the run's
patches. Temporary buffers of the backward pass are added as a share, see `BUFFERS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch

from creps.losses.contrastive import patch_nce
from creps.losses.creps import CrepsLoss
from creps.machine import resolve_device, resolve_precision
from creps.networks.discriminator import PatchDiscriminator, smallest_input
from creps.networks.generator import Generator
from creps.networks.projector import Projector
from creps.settings import Settings
from creps.training.build import build_modules
from creps.training.terms import active_terms, own_passes

__all__ = ["MemoryEstimate", "estimate_memory", "settings_that_fit"]

BUFFERS = 0.25
"""Gradients of activations and workspace during a backward pass, as a share of what is kept for it."""

FLOAT_BYTES = 4


@dataclass(frozen=True)
class MemoryEstimate:
    """Peak bytes of a training step beyond the loaded program, in one process.

    Attributes:
        generator: Activations of the generators on their own inputs.
        discriminator: Activations of a discriminator's own update.
        style: Activations of the perceptual network.
        weights: Weights, gradients, optimizers, moving average, perceptual network.
        adversarial: Activations of the discriminators in the generators' update.
        further: Activations of further passes in the generators' update: cycle, identity, PatchNCE, simulation.
    """

    generator: float
    discriminator: float
    style: float
    weights: float
    adversarial: float = 0.0
    further: float = 0.0

    @property
    def total(self) -> float:
        """The larger of both updates: the activations of the generators' own passes exist during each."""
        update = self.adversarial + self.style + self.further
        return self.weights + (1 + BUFFERS) * (self.generator + max(self.discriminator, update))

    def describe(self) -> str:
        """One phrase for the log."""
        parts = {
            "generator": self.generator,
            "perceptual network": self.style,
            "discriminator": self.discriminator,
            "further passes": self.further,
        }
        listed = ", ".join(f"{name} {_gigabytes(size)}" for name, size in parts.items() if size)
        return f"about {_gigabytes(self.total)} ({listed})"


def estimate_memory(settings: Settings, style: CrepsLoss | None, processes: int = 1) -> MemoryEstimate:
    """Estimate the peak of a step.

    Args:
        settings: The whole tree.
        style: The CREPs loss with its backbone, or None.
        processes: Processes that share the batch.
    """
    training = settings.training
    batch = training.batch_size // (processes * training.accumulate)
    voxels = math.prod(settings.sampling.patch_size)
    saving = training.checkpoint_activations
    generators, discriminators = build_modules(settings)
    generator, autocast = cast(Generator, generators["generator"]).train(), _autocast(settings)
    generator.checkpoint_activations = False  # counted stage by stage
    discriminated = 0.0
    if discriminators:
        discriminated = batch * voxels * _per_voxel(settings, discriminators["discriminator"], _exact)
    generated = batch * voxels * _generator_per_voxel(settings, generator, autocast, saving=saving)
    terms = active_terms(settings)
    further = sum(term.generator_passes for term in terms) * generated
    encoded = sum(term.encoder_passes for term in terms)
    if encoded:
        encoder = partial(generator.features, names=settings.nce.features)
        further += encoded * (generated if saving else batch * voxels * _per_voxel(settings, encoder, autocast))
        projector, channels = generators["projector"], generator.feature_channels(settings.nce.features)
        further += encoded * batch * _patch_nce(settings, cast(Projector, projector), channels, autocast)
    styled = 0.0
    if style is not None:
        depth, height, width = settings.sampling.patch_size
        slices = batch * len(range(style.slice_step // 2, depth, style.slice_step))
        at_once = style.slices_at_once(height, width, resolve_device(training.device)) or slices
        styled = min(slices, at_once) * _per_slice(settings, style, autocast)
    parameters = sum(p.numel() for group in (generators, discriminators) for p in group.parameters())
    frozen = sum(p.numel() for p in style.backbone.parameters()) if style is not None else 0
    return MemoryEstimate(
        generator=own_passes(settings) * generated,
        discriminator=2 * discriminated,
        style=styled,
        weights=FLOAT_BYTES * (5 * parameters + frozen),
        adversarial=len(discriminators) * discriminated,
        further=further,
    )


def _patch_nce(
    settings: Settings,
    projector: Projector,
    channels: dict[str, int],
    autocast: Callable[[], AbstractContextManager[object]],
) -> float:
    """Bytes of PatchNCE for one patch: heads grow with the number of positions, similarities with its square.

    They do not grow with the patch, so the probes of the passes do not contain them.
    """

    def kept(positions: int) -> int:
        samples = {stage: torch.rand(1, positions, count) for stage, count in channels.items()}
        with autocast():
            return _kept(lambda: [patch_nce(query, query.detach()) for query in projector(samples).values()])

    few, more, most = (kept(positions) for positions in (32, 64, 96))  # weights, which do not grow, drop out
    square = (most - 2 * more + few) / (2 * 32**2)
    return square * settings.nce.patches**2 + ((more - few) / 32 - 96 * square) * settings.nce.patches


def settings_that_fit(settings: Settings, style: CrepsLoss | None, free: float, processes: int = 1) -> str:
    """The smallest change of settings with which a step fits into `free` bytes, as a sentence."""
    share = settings.training.batch_size // processes
    for checkpointing in dict.fromkeys((settings.training.checkpoint_activations, True)):
        for parts in (n for n in range(settings.training.accumulate, share + 1) if share % n == 0):
            changes = {"accumulate": parts, "checkpoint_activations": checkpointing}
            training = settings.training.model_copy(update=changes)
            changed = settings.model_copy(update={"training": training})
            if estimate_memory(changed, style, processes).total <= free:
                needed = {k: v for k, v in changes.items() if v != getattr(settings.training, k)}
                if needed:
                    listed = " and ".join(f"training.{k}: {str(v).lower()}" for k, v in needed.items())
                    return f"Set {listed}."
    fewer = "nce.patches, " if settings.nce.weight > 0 else ""
    return f"Use a smaller {fewer}sampling.patch_size or generator.width, or a device with more memory."


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.2g} GB" if size < 1e10 else f"{size / 1e9:.0f} GB"


def _autocast(settings: Settings) -> Callable[[], AbstractContextManager[object]]:
    enabled = resolve_precision(settings.training.precision, resolve_device(settings.training.device)) == "bf16"
    return lambda: torch.autocast("cpu", torch.bfloat16, enabled=enabled)


def _exact() -> AbstractContextManager[object]:
    return torch.autocast("cpu", enabled=False)


def _kept(run: Callable[[], object]) -> int:
    """Bytes that autograd keeps for the backward pass of `run`, each storage once."""
    sizes: dict[int, int] = {}
    alive: list[torch.Tensor] = []  # or a freed address could be used twice

    def note(tensor: torch.Tensor) -> torch.Tensor:
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = run()
    del result
    return sum(sizes.values())


def _slope(counted: Callable[[int], int], small: int, large: int, size: Callable[[int], int]) -> float:
    """Bytes per unit of size, from two probes: constant parts cancel."""
    return (counted(large) - counted(small)) / (size(large) - size(small))


def _cube(n: int) -> int:
    return n**3


def _image(side: int) -> torch.Tensor:
    return torch.rand(1, 1, side, side, side).contiguous(memory_format=torch.channels_last_3d)


def _per_voxel(
    settings: Settings, network: Callable[..., object], autocast: Callable[[], AbstractContextManager[object]]
) -> float:
    side = max(24, smallest_input(len(settings.discriminator.widths)))
    channels = 2 if settings.discriminator.conditional and isinstance(network, PatchDiscriminator) else 1

    def counted(n: int) -> int:
        images = [_image(n).requires_grad_() for _ in range(channels)]
        with autocast():
            return _kept(lambda: network(*images))

    return _slope(counted, side, 2 * side, _cube)


def _generator_per_voxel(
    settings: Settings,
    generator: Generator,
    autocast: Callable[[], AbstractContextManager[object]],
    *,
    saving: bool,
) -> float:
    if not saving:
        return _per_voxel(settings, generator, autocast)

    def counted(side: int) -> int:
        x, between, within = _image(side), 0, 0
        with autocast():
            for stage in generator.stages(x.shape[2:]):
                x = x.detach().requires_grad_()
                between += x.untyped_storage().nbytes()
                within = max(within, _kept(partial(stage, x)))
                with torch.no_grad():
                    x = stage(x)
        return between + within

    return _slope(counted, 16, 32, _cube)


def _per_slice(settings: Settings, style: CrepsLoss, autocast: Callable[[], AbstractContextManager[object]]) -> float:
    _, height, width = settings.sampling.patch_size

    def counted(slices: int) -> int:
        image = torch.rand(1, 1, slices * style.slice_step, height, width)
        sct = image.clone().requires_grad_()
        with autocast():
            return _kept(lambda: style(sct, image))

    return _slope(counted, 1, 2, lambda n: n)
