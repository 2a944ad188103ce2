"""The generator's loss as a list of terms, of which a recipe is a choice.

A term takes a part of a batch, what the generators made of it and the step's number, and yields what it adds
to the loss: name, value, weight. Terms whose weight is 0 are not in the list. A term with forward passes of its own
is counted in `creps.training.memory` too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch

from creps.losses.contrastive import at_places, patch_nce
from creps.losses.creps import CrepsLoss
from creps.losses.distance import absolute_distance
from creps.networks.blocks import frozen_statistics
from creps.training.critics import shown, verdict
from creps.training.passes import Fakes, Part, Passes

__all__ = ["Term", "contrast", "draw_places", "generator_terms"]

Added = Iterator[tuple[str, torch.Tensor, float]]
Term = Callable[[Part, Fakes, int], Added]

PLACES_STREAM = 3
"""Beside the streams of `creps.training.sampling`."""


def generator_terms(passes: Passes, style: CrepsLoss | None) -> list[Term]:
    """The terms that the settings ask for, in the order of their sum."""
    settings = passes.settings
    wanted: list[tuple[bool, Term]] = [
        (settings.adversarial.weight > 0, partial(_adversarial, passes)),
        *([(True, partial(_style, passes, style))] if style is not None else []),
        (settings.cycle.weight > 0, partial(_cycle, passes)),
        (settings.cycle.identity_weight > 0, partial(_identity, passes)),
        (settings.nce.weight > 0, partial(_contrast, passes)),
        (settings.supervised.weight > 0, partial(_supervised, passes)),
        (settings.simulation.weight > 0, partial(_simulated, passes)),
    ]
    return [term for is_wanted, term in wanted if is_wanted]


def draw_places(seed: int, step: int, sizes: list[int], count: int) -> list[torch.Tensor]:
    """Places of each stage that PatchNCE compares: a pure function of seed and step.

    They are the same for every patch of the batch, so that parts and processes compare what one batch would.

    Args:
        seed: The run's.
        step: Number of the step.
        sizes: Voxels of each stage's features.
        count: How many places; all of them where there are not so many.

    Returns:
        For each stage (P,) indices, each once.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, PLACES_STREAM, step]))
    return [torch.from_numpy(rng.choice(size, min(size, count), replace=False)) for size in sizes]


def _adversarial(passes: Passes, part: Part, fakes: Fakes, _: int) -> Added:
    """BCE(D(sCT), 1) (Hémon et al. 2023, eq. 5); in a cycle for the synthetic MR as well."""
    for images in shown(passes, part, fakes):
        yield f"adversarial{images.suffix}", verdict(passes, images), passes.settings.adversarial.weight


def _style(passes: Passes, style: CrepsLoss, part: Part, fakes: Fakes, _: int) -> Added:
    """CREPs (Hémon et al. 2023, eqs. 1-4)."""
    with passes.autocast():
        distance, content = style(fakes.sct, part.ct)
    yield "style", distance, float(passes.networks.balance.weight)
    if passes.settings.creps.content_weight > 0:
        yield "content", content, passes.settings.creps.content_weight


def _cycle(passes: Passes, part: Part, fakes: Fakes, _: int) -> Added:
    """There and back again, both ways (Zhu et al. 2017, eq. 2)."""
    networks, weight = passes.networks, passes.settings.cycle.weight
    yield "cycle_mr", absolute_distance(passes.generate_again(networks.inverse_generator, fakes.sct), part.mr), weight
    yield "cycle_ct", absolute_distance(passes.generate_again(networks.generator, fakes.back()), part.ct), weight


def _identity(passes: Passes, part: Part, _: Fakes, __: int) -> Added:
    """What is a CT (an MR) already is to stay as it is (Zhu et al. 2017, section 5.2)."""
    networks, weight = passes.networks, passes.settings.cycle.identity_weight
    yield "identity_mr", absolute_distance(passes.generate_again(networks.inverse_generator, part.mr), part.mr), weight
    yield "identity_ct", absolute_distance(passes.generate_again(networks.generator, part.ct), part.ct), weight


def _contrast(passes: Passes, part: Part, fakes: Fakes, step: int) -> Added:
    """PatchNCE of sCT and MR, and of a CT and what the generator makes of it (Park et al. 2020, eq. 5)."""
    settings = passes.settings.nce
    yield "nce", contrast(passes, fakes.sct, part.mr, step), settings.weight
    if settings.identity_weight > 0:
        same = passes.generate_again(passes.networks.generator, part.ct)
        yield "nce_identity", contrast(passes, same, part.ct, step), settings.identity_weight


def contrast(passes: Passes, output: torch.Tensor, source: torch.Tensor, step: int) -> torch.Tensor:
    """PatchNCE of what the generator made (query) and what it was made of (key, without gradient), mean over stages."""
    settings, generator = passes.settings.nce, passes.networks.generator
    projector = passes.networks.projector
    with frozen_statistics(generator), passes.autocast():
        ours = generator.features(output, settings.features)
        with torch.no_grad():
            theirs = generator.features(source, settings.features)
        sizes = [stage[0, 0].numel() for stage in ours.values()]
        drawn = draw_places(passes.settings.training.seed, step, sizes, settings.patches)
        there = [indices.to(passes.device, non_blocking=True) for indices in drawn]  # or it would wait for the device
        places = dict(zip(ours, there, strict=True))
        query = projector({stage: at_places(ours[stage], where) for stage, where in places.items()})
        with torch.no_grad():
            key = projector({stage: at_places(theirs[stage], where) for stage, where in places.items()})
    losses = [patch_nce(query[stage], key[stage], settings.temperature) for stage in places]
    return torch.stack(losses).mean()


def _supervised(passes: Passes, part: Part, fakes: Fakes, _: int) -> Added:
    """L1 to the registered CT of the same place."""
    yield "supervised", absolute_distance(fakes.sct, part.ct), passes.settings.supervised.weight


def _simulated(passes: Passes, part: Part, _: Fakes, __: int) -> Added:
    """L1 to the CT of which the MR was simulated, see `creps.training.simulation`."""
    sct = passes.generate_again(passes.networks.generator, part.simulated)
    yield "simulated", absolute_distance(sct, part.ct), passes.settings.simulation.weight
