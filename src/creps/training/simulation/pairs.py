"""Where a simulated pair comes from: the site's CT, or a phantom."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from creps.cohort.cohort import Case, Cohort
from creps.cohort.reader import PatchReader
from creps.patches import PatchLocation, Triple, centred_location, triple
from creps.preprocessing.intensity import AIR_NETWORK
from creps.settings import Settings
from creps.training.simulation.from_ct import simulate_pair
from creps.training.simulation.phantoms import REGION_PHANTOMS, PhantomTeacher, grow_teacher
from creps.training.simulation.postures import REACH
from creps.volume import Array, Mask

__all__ = ["SimulatedPairs", "held_out_pairs", "simulated_pairs"]

log = logging.getLogger(__name__)

HELD_OUT_PAIRS, HELD_OUT_PEOPLE = 8, 3
"""Pairs that a validation uses, and the phantoms that they come from."""

HELD_OUT_STREAM = 5
"""Random stream of these pairs, beside those of `creps.training.sampling`."""


@dataclass(frozen=True, eq=False)
class SimulatedPairs:
    """Draws simulated MR patches and the CT patches that they show.

    Attributes:
        size: Patch size (D, H, W).
        spacing_mm: Voxel spacing (D, H, W).
        outside: Whether MRs have noise outside the body.
        phantom_share: Share of the pairs that come from phantoms.
        teacher: The phantoms; None without any.
    """

    size: Triple
    spacing_mm: tuple[float, float, float]
    outside: bool
    phantom_share: float = 0.0
    teacher: PhantomTeacher | None = None

    def draw_at(
        self, reader: PatchReader, case: Case, patch: PatchLocation, rng: np.random.Generator
    ) -> tuple[Array, Array]:
        """A pair of patches: of a phantom, or of a CT around a place.

        Args:
            reader: Of the CT's cohort.
            case: The CT.
            patch: The place.
            rng: Source of everything that is drawn.

        Returns:
            MR and CT, each (D, H, W) in network units.
        """
        window = self.window(patch)
        return self.draw(
            lambda: (reader.read(case, window, AIR_NETWORK), reader.read(case, window, False, body=True)), rng
        )

    def window(self, patch: PatchLocation) -> PatchLocation:
        """The part of a CT that a pair around a patch's place is simulated from."""
        size = triple(round(n * REACH) for n in self.size)
        return PatchLocation(
            triple(i + (n - m) // 2 for i, n, m in zip(patch.index, patch.size, size, strict=True)), size
        )

    def draw(self, read: Callable[[], tuple[Array, Mask]], rng: np.random.Generator) -> tuple[Array, Array]:
        """A pair of patches.

        Args:
            read: Reads `window` of a real CT in network units, (d, h, w), and its body mask; called only if the pair
                does not come from a phantom.
            rng: Source of everything that is drawn.

        Returns:
            MR and CT, each (D, H, W) in network units.
        """
        if self.teacher is not None and rng.random() < self.phantom_share:
            return self.teacher.draw(rng)
        ct, body = read()
        return simulate_pair(ct, body, self.size, self.spacing_mm, rng, outside=self.outside)


def simulated_pairs(settings: Settings, *, held_out: bool = False) -> SimulatedPairs | None:
    """What a run with these settings draws pairs from; None if no term uses them.

    Args:
        settings: The whole tree.
        held_out: Other phantom people, a few, that the run does not learn from.
    """
    simulation, preparation = settings.simulation, settings.preparation
    if simulation.weight == 0:
        return None
    outside, size = not preparation.remove_outside, settings.sampling.patch_size
    if simulation.phantom_share == 0:
        return SimulatedPairs(size, preparation.spacing_mm, outside)
    if preparation.region not in REGION_PHANTOMS:
        if not held_out:
            log.warning(
                "there is no phantom of the region '%s': all pairs are simulated from the cohort's CTs",
                preparation.region,
            )
        return SimulatedPairs(size, preparation.spacing_mm, outside)
    teacher = grow_teacher(
        preparation.region,
        preparation.spacing_mm,
        size,
        count=HELD_OUT_PEOPLE if held_out else simulation.phantoms,
        first=simulation.phantoms if held_out else 0,
        seed=settings.training.seed,
        outside=outside,
    )
    return SimulatedPairs(size, preparation.spacing_mm, outside, simulation.phantom_share, teacher)


def held_out_pairs(cohort: Cohort, settings: Settings) -> list[tuple[Array, Array]]:
    """Pairs that a run does not learn from: of its validation CTs and of other phantoms.

    Args:
        cohort: Where the CTs are; without validation cases, training CTs are used.
        settings: The whole tree.

    Returns:
        MR and CT patches, each (D, H, W) in network units; empty if no term uses pairs.
    """
    pairs = simulated_pairs(settings, held_out=True)
    if pairs is None:
        return []
    cases = cohort.cases("ct", "validation") or cohort.cases("ct", "train")
    reader, drawn = PatchReader(cohort), []
    for number in range(HELD_OUT_PAIRS):
        case = cases[number % len(cases)]
        rng = np.random.default_rng([settings.training.seed, HELD_OUT_STREAM, number])
        centre = [rng.uniform(first, end) for first, end in case.body]
        drawn.append(pairs.draw_at(reader, case, centred_location(centre, case.shape, pairs.size), rng))
    return drawn
