"""Estimate how long a training step takes before it runs, from small timed passes of each network."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from creps.losses.creps import CrepsLoss
from creps.networks.discriminator import smallest_input
from creps.settings import Settings
from creps.training.networks import Networks
from creps.training.passes import Passes
from creps.training.terms import active_terms, own_passes

__all__ = ["LONG_HOURS", "StepTime", "advice", "estimate_time", "in_words"]

LONG_HOURS = 24.0
"""A longer run causes a warning, with the setting that shortens it."""

PROBE = 32
"""Side in voxels of the cube that goes through the networks."""

BACKWARD = 2.0
"""Time of a backward pass, relative to a forward pass."""

SLICE_STEPS = (2, 4, 8)
IMAGE_SIZES = (160, 128, 96, 64)


@dataclass(frozen=True)
class StepTime:
    """Seconds of a step, by what takes them.

    Attributes:
        generator: Forward and backward passes of the generators.
        style: The perceptual network on the slices of the patches.
        discriminator: Forward and backward passes of the discriminators.
    """

    generator: float
    style: float
    discriminator: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.generator + self.style + self.discriminator

    @property
    def largest(self) -> str:
        """Name of the part that takes most of the time."""
        parts = {
            "the perceptual network": self.style,
            "the generators": self.generator,
            "the discriminators": self.discriminator,
        }
        return max(parts, key=lambda name: parts[name])


def estimate_time(settings: Settings, networks: Networks, style: CrepsLoss | None, device: torch.device) -> StepTime:
    """Time a pass of each network over a small cube and extrapolate to a step.

    Args:
        settings: The whole tree.
        networks: Of the run; nothing in them is changed.
        style: The CREPs loss with its backbone on `device`, or None.
        device: Where it is trained.
    """
    training, terms = settings.training, active_terms(settings)
    voxels = training.batch_size * math.prod(settings.sampling.patch_size)
    passes = Passes(device, networks, settings, style)
    cube = _ramp(PROBE, PROBE, PROBE, device).contiguous(memory_format=torch.channels_last_3d)
    generator = copy.deepcopy(networks.generator).eval()  # in training, batch norm waits for the other processes
    own = own_passes(settings) * (1 + (training.accumulate > 1))  # parts are synthesized twice
    further = sum(term.generator_passes + term.encoder_passes for term in terms)
    with torch.no_grad():
        forward = _seconds(lambda: passes.generate(generator, cube, track=False), device) / cube.numel()
    discriminated = 0.0
    if networks.discriminators:
        side = max(PROBE, smallest_input(len(settings.discriminator.widths)))
        images = [_ramp(side, side, side, device)] * (1 + settings.discriminator.conditional)
        with torch.no_grad():
            discriminator = copy.deepcopy(next(iter(networks.discriminators.values()))).eval()
            discriminated = _seconds(lambda: discriminator(*images), device) / images[0].numel()
    styled = 0.0
    if style is not None and max(settings.creps.weight, settings.creps.content_weight) > 0:
        styled = _style_seconds(settings, passes, style, device)
    return StepTime(
        generator=(1 + BACKWARD) * forward * voxels * (own + further),
        style=styled,
        discriminator=(1 + BACKWARD) * discriminated * voxels * 3 * len(networks.discriminators),
    )


def _style_seconds(settings: Settings, passes: Passes, style: CrepsLoss, device: torch.device) -> float:
    """Seconds for the slices of a batch, from two of them."""
    depth, height, width = settings.sampling.patch_size
    slices = settings.training.batch_size * len(range(style.slice_step // 2, depth, style.slice_step))
    sct = _ramp(2 * style.slice_step, height, width, device).requires_grad_()
    ct = sct.detach().clone()

    def compare() -> None:
        with passes.autocast():
            style(sct, ct)

    return _seconds(compare, device) * slices / 2


def _ramp(depth: int, height: int, width: int, device: torch.device) -> torch.Tensor:
    """An image (1, 1, D, H, W), without random numbers: drawing some would change those of the run."""
    return torch.linspace(0, 1, depth * height * width, device=device).reshape(1, 1, depth, height, width)


def _seconds(run: Callable[[], object], device: torch.device) -> float:
    """Time a call: the second one, or the first if that takes more than 2 s."""
    for _ in range(2):
        started = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elapsed = time.perf_counter() - started
        if elapsed > 2.0:
            break
    return elapsed


def advice(settings: Settings, step: StepTime, steps: int) -> str:
    """The smallest change of the settings with which `steps` steps take less than `LONG_HOURS`, as a sentence."""
    creps, limit = settings.creps, LONG_HOURS * 3600 / max(1, steps)
    changes: list[tuple[str, float]] = []
    if step.style > 0.5 * step.total:
        wider = [n for n in SLICE_STEPS if n > creps.slice_step]
        changes += [(f"creps.slice_step to {n}", creps.slice_step / n) for n in wider]
        if creps.image_size is not None:
            smaller = [n for n in IMAGE_SIZES if n < creps.image_size]
            changes += [(f"creps.image_size to {n}", (n / creps.image_size) ** 2) for n in smaller]
            for n, m in ((n, m) for n in wider[-1:] for m in smaller):
                share = creps.slice_step / n * (m / creps.image_size) ** 2
                changes.append((f"creps.slice_step to {n} and creps.image_size to {m}", share))
    for change, share in changes:
        shorter = replace(step, style=share * step.style).total
        if shorter <= limit:
            return f"Set {change}: about {in_words(shorter * steps)}."
    if changes:
        change, share = changes[-1]
        return (
            f"Set {change} (about {in_words(replace(step, style=share * step.style).total * steps)}), lower"
            " training.steps, or train on a GPU."
        )
    return "Lower training.steps, sampling.patch_size or generator.width, or train on a GPU."


def in_words(seconds: float) -> str:
    """A duration with one unit.

    >>> in_words(90), in_words(7200), in_words(3 * 86400), in_words(0.25)
    ('90 s', '2.0 h', '3.0 days', '0.25 s')
    """
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 2 * 3600 - 1:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
