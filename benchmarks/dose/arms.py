"""The sCTs that are ranked: a model, baselines without a network, and true CTs with one known error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from creps import hu
from creps.api import Model, load
from creps.demo.baselines import constant_water, histogram_matched
from creps.preprocessing.resample import resample
from creps.preprocessing.target_grid import bring_onto
from creps.synthesis.bulk import BulkDensities, bulk_density
from creps.volume import Array, Mask, Volume

__all__ = ["arms"]

NOISE_HU, OFFSET_HU, BOUND_MM, SEED = 60.0, 15.0, 3.0, 0


def arms(
    model: Model, more: Mapping[str, Path], mr: Volume, ct: Volume, body: Mask, other_values_hu: Array
) -> dict[str, Callable[[], Volume]]:
    """Name → what makes the sCT on the grid of the CT.

    Args:
        model: A shipped model.
        more: Name → folder of other models.
        mr: The MR, on the grid of the CT.
        ct: The noise-free CT.
        body: (D, H, W) the body.
        other_values_hu: CT values of the body of another patient.
    """

    def synthesized() -> Volume:
        return model.synthesize(mr, force=True).sct

    def inside(array: Array) -> Volume:
        return ct.with_array(np.where(body, array, hu.AIR))

    def by(folder: Path) -> Callable[[], Volume]:
        return lambda: load(str(folder)).synthesize(mr, force=True).sct

    noise = np.random.default_rng(SEED).normal(0, NOISE_HU, ct.shape).astype(np.float32)
    return {
        "model head": synthesized,
        **{name: by(folder) for name, folder in more.items()},
        "bulk densities of the model's sCT": lambda: ct.with_array(
            bulk_density(synthesized().array, body, BulkDensities())
        ),
        "histogram of another patient": lambda: histogram_matched(mr, body, other_values_hu),
        "water": lambda: constant_water(mr, body),
        "bound: truth at 3 mm and back": lambda: bring_onto(resample(ct, (BOUND_MM,) * 3), ct, hu.AIR),
        "truth with noise of 60 HU": lambda: inside(ct.array + noise),
        "truth + 15 HU": lambda: inside(ct.array + OFFSET_HU),
    }
