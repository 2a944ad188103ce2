"""Where a simulated pair comes from: the site's CT, or a phantom."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from creps.cohort.cohort import Case, Cohort
from creps.cohort.reader import PatchReader
from creps.errors import CohortError
from creps.patches import PatchLocation, Triple, centred_location, triple
from creps.phantom import REGIONS
from creps.preprocessing.intensity import AIR_NETWORK
from creps.regions import part_of_body
from creps.settings import Settings
from creps.training.simulation.from_ct import simulate_pair
from creps.training.simulation.growth import Crowd, drop_damaged, grow_crowd
from creps.training.simulation.people import Person
from creps.training.simulation.phantoms import PhantomPairs, people_at
from creps.training.simulation.postures import REACH
from creps.volume import Array, Mask

__all__ = [
    "SimulatedPairs",
    "check_phantoms",
    "describe_pairs",
    "grow_phantoms",
    "has_phantoms",
    "held_out_pairs",
    "simulated_pairs",
]

log = logging.getLogger(__name__)

HELD_OUT_PAIRS, HELD_OUT_PEOPLE = 8, 3
"""Pairs that a validation uses, and the phantoms that they come from."""

FIRST_STEPS_WITH_CTS = 8
"""Number of first steps that learn from CTs alone, in a run that has some: they need not wait for phantoms."""

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
        phantoms: The phantoms; None without any.
    """

    size: Triple
    spacing_mm: tuple[float, float, float]
    outside: bool
    phantom_share: float = 0.0
    phantoms: PhantomPairs | None = None

    def draw_at(
        self,
        reader: PatchReader,
        case: Case | None,
        patch: PatchLocation,
        rng: np.random.Generator,
        step: int | None = None,
    ) -> tuple[Array, Array]:
        """A pair of patches: of a phantom, or of a CT around a place.

        Args:
            reader: Of the CT's cohort.
            case: The CT; None if all pairs are of phantoms.
            patch: The place.
            rng: Source of everything that is drawn.
            step: Steps done before; the first ones know no phantoms or few, see `people_at`. None: all of them.

        Returns:
            MR and CT, each (D, H, W) in network units.
        """

        def read() -> tuple[Array, Mask]:
            if case is None:
                raise CohortError("The cohort has no CT to simulate an MR from.", "Set simulation.phantom_share to 1.")
            window = self.window(patch)
            return reader.read(case, window, AIR_NETWORK), reader.read(case, window, False, body=True)

        return self.draw(read, rng, step)

    def window(self, patch: PatchLocation) -> PatchLocation:
        """The part of a CT that a pair around a patch's place is simulated from."""
        size = triple(round(n * REACH) for n in self.size)
        return PatchLocation(
            triple(i + (n - m) // 2 for i, n, m in zip(patch.index, patch.size, size, strict=True)), size
        )

    def draw(
        self, read: Callable[[], tuple[Array, Mask]], rng: np.random.Generator, step: int | None = None
    ) -> tuple[Array, Array]:
        """A pair of patches.

        Args:
            read: Reads `window` of a real CT in network units, (d, h, w), and its body mask; called only if the pair
                does not come from a phantom.
            rng: Source of everything that is drawn.
            step: As in `draw_at`.

        Returns:
            MR and CT, each (D, H, W) in network units.
        """
        early = step is not None and step < FIRST_STEPS_WITH_CTS and self.phantom_share < 1
        if self.phantoms is not None and not early and rng.random() < self.phantom_share:
            return self.phantoms.draw(rng, step)
        ct, body = read()
        return simulate_pair(ct, body, self.size, self.spacing_mm, rng, outside=self.outside)


def describe_pairs(settings: Settings) -> str:
    """Where a run's simulated pairs come from, in words.

    Args:
        settings: The whole tree.
    """
    share = settings.simulation.phantom_share if has_phantoms(settings) else 0.0
    kind = part_of_body(settings.preparation.region)
    people = f"{100 * share:.0f} % from {settings.simulation.phantoms} digital phantoms ({kind})"
    simulated = "MRs simulated from the cohort's CTs"
    if share in (0, 1):
        return f"all {people.removeprefix('100 % ')}" if share else f"all are {simulated}"
    return f"{people}, the others are {simulated}"


def grow_phantoms(
    settings: Settings,
    folder: Path,
    stops: Callable[[], bool] = lambda: False,
    steps: int | None = None,
    reserved_bytes: float = 0.0,
) -> None:
    """Grow the phantoms of a run into a folder, those for its validation last; do nothing if it has none.

    Args:
        settings: The whole tree.
        folder: Where they are kept for `simulated_pairs` and `held_out_pairs`.
        stops: Whether to stop.
        steps: Of the whole run, which decide how many it needs (`people_at`); None: all of them.
        reserved_bytes: Memory that the run is going to take meanwhile.

    Raises:
        TrainingError: they cannot be written.
    """
    if has_phantoms(settings):
        numbers = [*range(people_at(steps, settings.simulation.phantoms)), *_held_out(settings)]
        grow_crowd(_crowd(settings), numbers, folder, stops, reserved_bytes)


def check_phantoms(settings: Settings, folder: Path) -> None:
    """Remove damaged phantoms of an earlier session from a run's folder; `grow_phantoms` grows them again.

    Args:
        settings: The whole tree.
        folder: As in `grow_phantoms`.
    """
    if has_phantoms(settings):
        drop_damaged(_crowd(settings), range(settings.simulation.phantoms + HELD_OUT_PEOPLE), folder)


def simulated_pairs(settings: Settings, folder: Path | None = None, *, held_out: bool = False) -> SimulatedPairs | None:
    """What a run with these settings draws pairs from; None if no term uses them.

    Args:
        settings: The whole tree.
        folder: Where `grow_phantoms` puts the phantoms, which are waited for when they are needed; None grows them now.
        held_out: Other phantom people, a few, that the run does not learn from. Nobody waits for them: those that are
            not there are grown in memory.

    Raises:
        TrainingError: a held-out phantom in the folder is damaged.
    """
    simulation, preparation = settings.simulation, settings.preparation
    if simulation.weight == 0:
        return None
    outside, size = not preparation.remove_outside, settings.sampling.patch_size
    if not has_phantoms(settings):
        if simulation.phantom_share > 0 and not held_out:
            log.warning(
                "there is no phantom of the region '%s': all pairs are simulated from the cohort's CTs",
                preparation.region,
            )
        return SimulatedPairs(size, preparation.spacing_mm, outside)
    numbers = _held_out(settings) if held_out else range(simulation.phantoms)
    people = _people(_crowd(settings), numbers, folder, awaited=not held_out)
    phantoms = PhantomPairs(people, size, outside=outside, spacing_mm=preparation.spacing_mm)
    return SimulatedPairs(size, preparation.spacing_mm, outside, simulation.phantom_share, phantoms)


def has_phantoms(settings: Settings) -> bool:
    """Whether a run with these settings learns from phantoms."""
    simulation = settings.simulation
    return simulation.weight * simulation.phantom_share > 0 and part_of_body(settings.preparation.region) in REGIONS


def _held_out(settings: Settings) -> range:
    return range(settings.simulation.phantoms, settings.simulation.phantoms + HELD_OUT_PEOPLE)


def _people(crowd: Crowd, numbers: range, folder: Path | None, *, awaited: bool) -> Sequence[Person]:
    if folder is None:
        return [Person.of(crowd.grow(number)) for number in numbers]
    if awaited:
        return crowd.awaited(folder, numbers)
    return [crowd.opened_or_grown(folder, number) for number in numbers]


def _crowd(settings: Settings) -> Crowd:
    preparation = settings.preparation
    return Crowd.of(preparation.region, preparation.spacing_mm, settings.training.seed)


def held_out_pairs(cohort: Cohort, settings: Settings, folder: Path | None = None) -> list[tuple[Array, Array]]:
    """Pairs that a run does not learn from: of its validation CTs and of other phantoms.

    Args:
        cohort: Where the CTs are; without validation cases, training CTs are used.
        settings: The whole tree.
        folder: Where `grow_phantoms` has put the phantoms; None grows them in memory.

    Returns:
        MR and CT patches, each (D, H, W) in network units; empty if no term uses pairs.
    """
    pairs = simulated_pairs(settings, folder, held_out=True)
    if pairs is None:
        return []
    cases = cohort.cases("ct", "validation") or cohort.cases("ct", "train")
    places = cases or cohort.cases("mr", "train")  # without CT nothing is read there
    reader, drawn = PatchReader(cohort), []
    for number in range(HELD_OUT_PAIRS):
        case = places[number % len(places)]
        rng = np.random.default_rng([settings.training.seed, HELD_OUT_STREAM, number])
        centre = [rng.uniform(first, end) for first, end in case.body]
        where = centred_location(centre, case.shape, pairs.size)
        drawn.append(pairs.draw_at(reader, case if cases else None, where, rng))
    return drawn
