"""Where a simulated pair comes from: the site's CT, or a phantom."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from creps.settings import Settings
from creps.training.simulation.from_ct import simulate_mr
from creps.training.simulation.phantoms import REGION_PHANTOMS, PhantomTeacher, grow_teacher
from creps.volume import Array, Mask

__all__ = ["SimulatedPairs", "simulated_pairs"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SimulatedPairs:
    """Draws simulated MR patches and the CT patches that they show.

    Attributes:
        spacing_mm: Voxel spacing (D, H, W).
        outside: Whether MRs have noise outside the body.
        phantom_share: Share of the pairs that come from phantoms.
        teacher: The phantoms; None without any.
    """

    spacing_mm: tuple[float, float, float]
    outside: bool
    phantom_share: float = 0.0
    teacher: PhantomTeacher | None = None

    def draw(self, ct: Array, body: Mask, rng: np.random.Generator) -> tuple[Array, Array]:
        """A pair of patches.

        Args:
            ct: (D, H, W) patch of a real CT in network units.
            body: (D, H, W) its body mask.
            rng: Source of everything that is drawn.

        Returns:
            MR and CT, each (D, H, W) in network units.
        """
        if self.teacher is not None and rng.random() < self.phantom_share:
            return self.teacher.draw(rng)
        return simulate_mr(ct, body, self.spacing_mm, rng, outside=self.outside), ct


def simulated_pairs(settings: Settings) -> SimulatedPairs | None:
    """What a run with these settings draws pairs from; None if no term uses them."""
    simulation, preparation = settings.simulation, settings.preparation
    if simulation.weight == 0:
        return None
    outside = not preparation.remove_outside
    if simulation.phantom_share == 0:
        return SimulatedPairs(preparation.spacing_mm, outside)
    if preparation.region not in REGION_PHANTOMS:
        log.warning(
            "there is no phantom of the region '%s': all pairs are simulated from the cohort's CTs", preparation.region
        )
        return SimulatedPairs(preparation.spacing_mm, outside)
    teacher = grow_teacher(
        preparation.region,
        preparation.spacing_mm,
        settings.sampling.patch_size,
        count=simulation.phantoms,
        seed=settings.training.seed,
        outside=outside,
    )
    return SimulatedPairs(preparation.spacing_mm, outside, simulation.phantom_share, teacher)
