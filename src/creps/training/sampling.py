"""Which CT patch faces which MR patch: a pure function of (seed, step, index).

Nothing here depends on workers, on earlier draws or on where a run was resumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info

from creps.cohort.cohort import Case, Cohort
from creps.cohort.reader import PatchReader
from creps.errors import CohortError, CrepsError
from creps.patches import PatchLocation, Triple, centred_location, covering_grid, triple
from creps.preprocessing.intensity import AIR_NETWORK
from creps.settings import SamplingSettings
from creps.training.simulation import SimulatedPairs

__all__ = ["Draw", "PatchPairs", "PatchSampler"]

MR_STREAM, CT_STREAM, ORDER_STREAM, SIMULATION_STREAM = 0, 1, 2, 4  # 3: positions for PatchNCE


@dataclass(frozen=True)
class Draw:
    """One sample: an MR patch and the CT patch drawn to face it; no CT where the cohort has none."""

    mr: Case
    mr_location: PatchLocation
    ct: Case | None
    ct_location: PatchLocation


class PatchSampler:
    """Draws MR and CT patches of a cohort: from other patients, or from registered pairs if the settings say so.

    Args:
        mr_cases: Cases to draw MR from.
        ct_cases: Cases to draw CT from; none if the run learns from phantoms alone.
        settings: Patch size and how positions are drawn.
        seed: Seed of every draw.
        batch_size: Samples per step.

    Raises:
        CohortError: no MR, or co-located sampling of a cohort that is not paired.
    """

    def __init__(
        self,
        mr_cases: Sequence[Case],
        ct_cases: Sequence[Case],
        settings: SamplingSettings,
        seed: int,
        batch_size: int,
    ) -> None:
        if not mr_cases:
            raise CohortError("The cohort has no MR case to train on.", "Prepare it with more patients.")
        self.mr_cases, self.ct_cases = tuple(mr_cases), tuple(ct_cases)
        self.settings, self.seed, self.batch_size = settings, seed, batch_size
        if settings.ct_positions == "matched" and ct_cases:
            _check_other_patients(self.mr_cases, self.ct_cases)
        self._facing = _facing_cases(self.mr_cases, self.ct_cases) if settings.ct_positions == "colocated" else {}
        self._grid = [
            (case, where)
            for case in self.mr_cases
            for grid in [covering_grid(case.shape, settings.patch_size, min_coverage=1)]
            for where in grid.locations_in_volume
        ]

    @property
    def samples_per_epoch(self) -> int:
        """MR patches in an epoch."""
        return len(self._grid)

    def draw(self, step: int, index: int) -> Draw:
        """The sample at place `index` of the batch of `step`."""
        mr, mr_location = self._draw_mr(step, index)
        if not self.ct_cases:
            return Draw(mr, mr_location, None, mr_location)
        rng = self.rng(CT_STREAM, step, index)
        if self.settings.ct_positions == "colocated":
            return Draw(mr, mr_location, self._facing[mr.case], mr_location)
        if self.settings.ct_positions == "matched":
            ct = _any([case for case in self.ct_cases if case.patient != mr.patient], rng)
            return Draw(mr, mr_location, ct, _matched(mr, mr_location, ct, self.settings.patch_size))
        ct = _any(self.ct_cases, rng)
        return Draw(mr, mr_location, ct, _anywhere(ct.shape, self.settings.patch_size, rng))

    def _draw_mr(self, step: int, index: int) -> tuple[Case, PatchLocation]:
        sample = step * self.batch_size + index
        if self.settings.mr_positions == "grid":
            return self._grid[self._visit(sample)]
        rng = self.rng(MR_STREAM, step, index)
        case = _any(self.mr_cases, rng)
        return case, _inside_body(case, self.settings.patch_size, rng)

    def _visit(self, sample: int) -> int:
        """Which patch of the grid sample number `sample` visits; every epoch visits all patches in a new order."""
        epoch, place = divmod(sample, len(self._grid))
        return int(_order(self.seed, epoch, len(self._grid))[place])

    def rng(self, stream: int, step: int, index: int) -> np.random.Generator:
        """The random numbers of one sample; different streams are independent."""
        return np.random.default_rng(np.random.SeedSequence([self.seed, stream, step, index]))


class PatchPairs(Dataset[dict[str, torch.Tensor] | CrepsError]):
    """The samples of a run, numbered from its first step: an MR patch and the CT patch that faces it.

    Item k is place ``k % batch_size`` of step ``k // batch_size``.

    Args:
        cohort: Where arrays are read from.
        sampler: Which patches are read.
        steps: Steps of the run.
        simulated: Draws simulated pairs, if a loss term needs them.
        reads: Which real patches are read: those that a step needs.
    """

    def __init__(
        self,
        cohort: Cohort,
        sampler: PatchSampler,
        steps: int,
        simulated: SimulatedPairs | None = None,
        reads: frozenset[str] = frozenset({"mr", "ct"}),
    ) -> None:
        self.cohort, self.sampler, self.steps, self.simulated, self.reads = cohort, sampler, steps, simulated, reads
        self.reader = PatchReader(cohort)

    def __len__(self) -> int:
        return self.steps * self.sampler.batch_size

    def __getitem__(self, k: int) -> dict[str, torch.Tensor] | CrepsError:
        """``mr`` and ``ct`` where they are read, and ``simulated_mr`` and ``simulated_ct`` where pairs are simulated.

        Each is (1, D, H, W) in network units.

        A worker process returns an error of the cohort instead of raising it: torch would replace its message.
        """
        try:
            return self._read(k)
        except CrepsError as error:
            if get_worker_info() is None:
                raise
            return error

    def _read(self, k: int) -> dict[str, torch.Tensor]:
        draw = self.sampler.draw(*divmod(k, self.sampler.batch_size))
        patches = {}
        if "mr" in self.reads:
            patches["mr"] = self.reader.read(draw.mr, draw.mr_location, fill=0.0)
        if "ct" in self.reads and draw.ct is not None:
            patches["ct"] = self.reader.read(draw.ct, draw.ct_location, fill=AIR_NETWORK)
        if self.simulated is not None:
            step, place = divmod(k, self.sampler.batch_size)
            rng = self.sampler.rng(SIMULATION_STREAM, step, place)
            pair = self.simulated.draw_at(self.reader, draw.ct, draw.ct_location, rng, step)
            patches["simulated_mr"], patches["simulated_ct"] = pair
        return {name: torch.from_numpy(patch)[None] for name, patch in patches.items()}


@lru_cache(maxsize=16)
def _order(seed: int, epoch: int, count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.random.default_rng(np.random.SeedSequence([seed, ORDER_STREAM, epoch])).permutation(count)


def _any(cases: Sequence[Case], rng: np.random.Generator) -> Case:
    """A random case."""
    return cases[int(rng.integers(len(cases)))]


def _anywhere(shape: Triple, size: Triple, rng: np.random.Generator) -> PatchLocation:
    """A uniform position inside a volume; centred along axes that are shorter than the patch."""
    return PatchLocation(
        triple(int(rng.integers(n - p + 1)) if n >= p else (n - p) // 2 for n, p in zip(shape, size, strict=True)),
        size,
    )


def _inside_body(case: Case, size: Triple, rng: np.random.Generator) -> PatchLocation:
    """A uniform position whose centre lies in the body's box and whose patch lies in the volume."""
    centre = [rng.uniform(first, end) for first, end in case.body]
    return centred_location(centre, case.shape, size)


def _matched(mr: Case, where: PatchLocation, ct: Case, size: Triple) -> PatchLocation:
    """The position in a CT's body box that corresponds to a patch's position in the MR's body box."""
    centre = []
    for i, p, (a, b), (c, d) in zip(where.index, size, mr.body, ct.body, strict=True):
        relative = (i + p / 2 - a) / max(1, b - a)
        centre.append(c + relative * (d - c))
    return centred_location(centre, ct.shape, size)


def _check_other_patients(mr_cases: Sequence[Case], ct_cases: Sequence[Case]) -> None:
    for mr in mr_cases:
        if all(ct.patient == mr.patient for ct in ct_cases):
            raise CohortError(
                f"The cohort has no CT of another patient than MR case '{mr.case}'.",
                "Prepare it with more patients, or set sampling.ct_positions: independent.",
            )


def _facing_cases(mr_cases: Sequence[Case], ct_cases: Sequence[Case]) -> dict[str, Case]:
    """For each MR the CT of the same name on the same grid."""
    by_name = {case.case: case for case in ct_cases}
    for mr in mr_cases:
        if mr.case not in by_name or not _same_grid(mr, by_name[mr.case]):
            raise CohortError(
                f"MR case '{mr.case}' has no CT of the same name and grid, which co-located sampling needs.",
                "Use sampling.ct_positions: independent; the recipe supervised needs registered pairs.",
            )
    return by_name


def _same_grid(a: Case, b: Case) -> bool:
    places = np.allclose(a.origin_mm, b.origin_mm, atol=0.1) and np.allclose(a.direction, b.direction, atol=1e-3)
    return (a.shape, a.spacing_mm) == (b.shape, b.spacing_mm) and places
