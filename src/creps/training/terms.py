"""The generators' loss as a list of terms; a recipe is a choice of them.

Each term is one entry of `TERMS`: when it is active, which images and further passes it needs, and how it is computed.
Nothing else has to know, neither the step nor the memory estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from creps.losses.contrastive import at_places, patch_nce
from creps.losses.distance import absolute_distance
from creps.networks.blocks import frozen_statistics
from creps.networks.build import GENERATORS
from creps.settings import Settings
from creps.training.discriminators import adversarial_loss, comparisons
from creps.training.passes import Part, Passes, Synthetic

__all__ = ["TERMS", "Term", "active_terms", "contrast", "draw_places", "images_used", "own_passes"]

Added = Iterator[tuple[str, torch.Tensor, float]]
"""What a term adds to the loss: name, unweighted value (a scalar), weight."""

PLACES_STREAM = 3
"""Random stream of PatchNCE's places, beside those of `creps.training.sampling`."""


@dataclass(frozen=True)
class Term:
    """A term of the generators' loss.

    Attributes:
        active: Whether settings ask for it.
        compute: (passes, part, synthetic images of the part, step number) → what it adds.
        reads: The real patches that it compares, ``mr`` and ``ct``.
        uses_sct: Whether it needs the graph of the sCT, and so the MR.
        generator_passes: Further passes through a whole generator, which stay in memory until the backward pass.
        encoder_passes: Further passes through the generator's encoder, with PatchNCE's heads.
    """

    active: Callable[[Settings], bool]
    compute: Callable[[Passes, Part, Synthetic, int], Added]
    reads: frozenset[str] = frozenset({"mr", "ct"})
    uses_sct: bool = False
    generator_passes: int = 0
    encoder_passes: int = 0


def active_terms(settings: Settings) -> list[Term]:
    """The terms that the settings ask for, in the order of their sum."""
    active = [term for term in TERMS if term.active(settings)]
    if GENERATORS[settings.generator.kind].own_distance:  # its own pass, instead of the sCT's
        active = [
            replace(term, uses_sct=False, generator_passes=1) if term.compute is _supervised else term
            for term in active
        ]
    return active


def own_passes(settings: Settings) -> int:
    """Passes of generators on their own inputs whose graphs a step needs: MR → sCT, and CT → MR in a cycle."""
    if not any(term.uses_sct for term in active_terms(settings)):
        return 0
    return 1 + (settings.cycle.weight > 0)


def images_used(settings: Settings, *, statistics: bool) -> frozenset[str]:
    """The real patches that a step needs, ``mr`` and ``ct``; none where it learns from simulated pairs alone.

    Args:
        settings: The whole tree.
        statistics: Whether the generator has batch norm, whose statistics follow the real MRs.
    """
    terms = active_terms(settings)
    used = frozenset[str]().union(*(term.reads for term in terms))
    return used | {"mr"} if statistics or any(term.uses_sct for term in terms) else used


def draw_places(seed: int, step: int, sizes: list[int], count: int) -> list[torch.Tensor]:
    """Voxels of each stage that PatchNCE compares: a pure function of seed and step.

    They are the same for every patch of the batch, so that parts and processes compare what one batch would.

    Args:
        seed: The run's seed.
        step: Number of the step.
        sizes: Voxels of each stage's features.
        count: Voxels to draw; all of them where there are fewer.

    Returns:
        For each stage (P,) distinct indices.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, PLACES_STREAM, step]))
    return [torch.from_numpy(rng.choice(size, min(size, count), replace=False)) for size in sizes]


def _adversarial(passes: Passes, part: Part, synthetic: Synthetic, _: int) -> Added:
    """BCE(D(sCT), 1) (Hémon et al. 2023, eq. 5); in a cycle for the synthetic MR as well."""
    for images in comparisons(passes, part, synthetic):
        yield f"adversarial{images.suffix}", adversarial_loss(passes, images), passes.settings.adversarial.weight


def _style(passes: Passes, part: Part, synthetic: Synthetic, _: int) -> Added:
    """CREPs (Hémon et al. 2023, eqs. 1-4)."""
    if passes.style is None:
        raise ValueError("the style term needs the CREPs loss: pass build_style(settings)")
    with passes.autocast():
        distance, content = passes.style(synthetic.sct, part.ct)
    yield "style", distance, float(passes.networks.balance.weight)
    if passes.settings.creps.content_weight > 0:
        yield "content", content, passes.settings.creps.content_weight


def _cycle(passes: Passes, part: Part, synthetic: Synthetic, _: int) -> Added:
    """There and back again, both ways (Zhu et al. 2017, eq. 2)."""
    networks, weight = passes.networks, passes.settings.cycle.weight
    mr = passes.generate(networks.inverse_generator, synthetic.sct, track=False)
    yield "cycle_mr", absolute_distance(mr, part.mr), weight
    ct = passes.generate(networks.generator, synthetic.cycle_mr(), track=False)
    yield "cycle_ct", absolute_distance(ct, part.ct), weight


def _identity(passes: Passes, part: Part, _: Synthetic, __: int) -> Added:
    """A generator leaves images of its output's kind unchanged (Zhu et al. 2017, section 5.2)."""
    networks, weight = passes.networks, passes.settings.cycle.identity_weight
    mr = passes.generate(networks.inverse_generator, part.mr, track=False)
    yield "identity_mr", absolute_distance(mr, part.mr), weight
    ct = passes.generate(networks.generator, part.ct, track=False)
    yield "identity_ct", absolute_distance(ct, part.ct), weight


def _contrast(passes: Passes, part: Part, synthetic: Synthetic, step: int) -> Added:
    """PatchNCE of sCT and MR (Park et al. 2020, eq. 5)."""
    yield "nce", contrast(passes, synthetic.sct, part.mr, step), passes.settings.nce.weight


def _contrast_identity(passes: Passes, part: Part, _: Synthetic, step: int) -> Added:
    """PatchNCE of a CT and what the generator makes of it (Park et al. 2020, eq. 5)."""
    same = passes.generate(passes.networks.generator, part.ct, track=False)
    yield "nce_identity", contrast(passes, same, part.ct, step), passes.settings.nce.identity_weight


def contrast(passes: Passes, output: torch.Tensor, source: torch.Tensor, step: int) -> torch.Tensor:
    """PatchNCE of the generator's output (queries) and its input (keys, without gradient), mean over stages.

    Args:
        passes: Runs the networks.
        output: (B, 1, D, H, W) that the generator made.
        source: (B, 1, D, H, W) that it was made from.
        step: Number of the step, which decides the voxels compared.

    Returns:
        A scalar.
    """
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


def _supervised(passes: Passes, part: Part, synthetic: Synthetic, _: int) -> Added:
    """Distance to the registered CT of the same position: L1, or the generator's own."""
    generator = passes.networks.generator
    if generator.own_distance:
        distance = passes.distance(generator, part.mr, part.ct)
    else:
        distance = generator.weighted_mean((synthetic.sct - part.ct).abs(), part.ct)
    yield "supervised", distance, passes.settings.supervised.weight


def _simulated(passes: Passes, part: Part, _: Synthetic, __: int) -> Added:
    """L1 to the CT that a simulated MR shows, see `creps.training.simulation`."""
    distance = passes.distance(passes.networks.generator, part.simulated_mr, part.simulated_ct)
    yield "simulated", distance, passes.settings.simulation.weight


TERMS = (
    Term(lambda s: s.adversarial.weight > 0, _adversarial, uses_sct=True),
    Term(lambda s: max(s.creps.weight, s.creps.content_weight) > 0, _style, uses_sct=True),
    Term(lambda s: s.cycle.weight > 0, _cycle, uses_sct=True, generator_passes=2),
    Term(lambda s: s.cycle.identity_weight > 0, _identity, generator_passes=2),
    Term(lambda s: s.nce.weight > 0, _contrast, frozenset({"mr"}), uses_sct=True, encoder_passes=1),
    Term(
        lambda s: s.nce.identity_weight > 0, _contrast_identity, frozenset({"ct"}), generator_passes=1, encoder_passes=1
    ),
    Term(lambda s: s.supervised.weight > 0, _supervised, uses_sct=True),
    Term(lambda s: s.simulation.weight > 0, _simulated, frozenset(), generator_passes=1),
)
"""Every term, in the order in which they are added up."""
