"""The sCTs that are ranked: networks, baselines without one, and true CTs with one known error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import creps
from benchmarks.dose.cases import Person
from creps import hu
from creps.cohort.cohort import load_cohort
from creps.demo.baselines import unpaired_baselines
from creps.io.itk import write_volume
from creps.preprocessing.resample import resample
from creps.preprocessing.target_grid import bring_onto
from creps.synthesis.bulk import BulkDensities, bulk_density
from creps.volume import Array, Volume

__all__ = ["KNOWN", "Arms"]

NOISE_HU, OFFSET_HU, BOUND_MM, SEED = 60.0, 15.0, 3.0, 0

KNOWN = ("truth + 15 HU", "truth with noise of 60 HU", "truth at 3 mm and back")
"""True CTs with one error; no method made them from an MR."""

BULK = "bulk densities"


class Arms:
    """What makes the sCTs of a person.

    Args:
        models: Name → folder of a model, or name of a shipped one. Bulk densities are those of the first one's sCT.
        site: Prepared cohort of unpaired MRs and CTs, for the baselines.
        work: Where sCTs of networks are kept.
    """

    def __init__(self, models: Mapping[str, str], site: Path, work: Path) -> None:
        self.models = dict(models)
        self.work = work
        self._loaded = {name: creps.load(folder) for name, folder in models.items()}
        self._baselines = unpaired_baselines(load_cohort(site))

    def records(self) -> dict[str, dict[str, Any]]:
        """Name → what tells a network from others."""
        plans = {name: model.plan for name, model in self._loaded.items()}
        return {
            name: {
                "recipe": plan.recipe,
                "steps": plan.training.get("steps"),
                "spacing_mm": list(plan.preparation.spacing_mm),
                "weights_sha256": plan.weights_sha256,
            }
            for name, plan in plans.items()
        }

    def of(self, person: Person) -> dict[str, Callable[[], Volume]]:
        """Name → what makes the sCT on the grid of the person's CT."""
        first = next(iter(self.models))

        def inside(array: Array) -> Volume:
            return person.ct.with_array(np.where(person.body, array, hu.AIR).astype(np.float32))

        def network(name: str) -> Callable[[], Volume]:
            return lambda: self._synthesized(person, name)

        def baseline(name: str) -> Callable[[], Volume]:
            return lambda: self._baselines[name](person.mr, person.body)

        def bulk() -> Volume:
            own = self._synthesized(person, first).array
            return person.ct.with_array(bulk_density(own, person.body, BulkDensities()))

        noise = np.random.default_rng(SEED).normal(0, NOISE_HU, person.ct.shape).astype(np.float32)
        known = (
            lambda: inside(person.ct.array + OFFSET_HU),
            lambda: inside(person.ct.array + noise),
            lambda: bring_onto(resample(person.ct, (BOUND_MM,) * 3), person.ct, hu.AIR),
        )
        return {
            **{name: network(name) for name in self.models},
            f"{BULK} of {first}": bulk,
            **{name: baseline(name) for name in self._baselines},
            **dict(zip(KNOWN, known, strict=True)),
        }

    def _synthesized(self, person: Person, name: str) -> Volume:
        file = self.work / "scts" / name / f"{person.name}.nii.gz"
        if not file.is_file():
            sct = self._loaded[name].synthesize(person.mr, force=True).sct
            file.parent.mkdir(parents=True, exist_ok=True)
            write_volume(sct, file)
        return creps.read_volume(file)
