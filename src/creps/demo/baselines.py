"""What no trained network is needed for: what every method has to beat."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from skimage.exposure import match_histograms

from creps import hu
from creps.cohort.cohort import Cohort
from creps.demo.crude_guess import fit_prior
from creps.preprocessing.intensity import network_to_hu
from creps.preprocessing.preparation import prepare_mr
from creps.preprocessing.resample import resample_onto
from creps.volume import Array, Mask, Volume

__all__ = ["Baseline", "constant_water", "histogram_matched", "unpaired_baselines"]

Baseline = Callable[[Volume, Mask], Volume]
"""(MR, its body mask on the same grid) → sCT in HU on the MR's grid."""


def constant_water(mr: Volume, body: Mask) -> Volume:
    """0 HU inside the body, air outside."""
    return mr.with_array(np.where(body, np.float32(0), np.float32(hu.AIR)))


def histogram_matched(mr: Volume, body: Mask, values_hu: Array) -> Volume:
    """The MR with the histogram of some bodies' HU inside its own body, air outside."""
    sct_hu = np.full(mr.shape, hu.AIR, dtype=np.float32)
    sct_hu[body] = match_histograms(mr.array[body], values_hu)
    return mr.with_array(sct_hu)


def unpaired_baselines(cohort: Cohort) -> dict[str, Baseline]:
    """Baselines from the training images of an unpaired cohort, by what tables call them.

    Constant water; the MR with the histogram of the CTs' bodies; and the guess by contrast and depth of
    `creps.demo.crude_guess`.
    """
    cts = [(cohort.array(case), cohort.body(case)) for case in cohort.cases("ct", "train")]
    values_hu = network_to_hu(np.concatenate([array[body] for array, body in cts]))
    prior = fit_prior(cohort)

    def histogram(mr: Volume, body: Mask) -> Volume:
        return histogram_matched(mr, body, values_hu)

    def guess(mr: Volume, body: Mask) -> Volume:
        del body  # the guess finds its own
        prepared = prepare_mr(mr, cohort.manifest.preparation, "the MR")
        coarse = prepared.grid.with_array(network_to_hu(prior.guess(prepared.array, prepared.body)))
        return resample_onto(coarse, mr.reoriented()).reoriented(mr.direction)

    return {"constant water": constant_water, "histogram-matched MR": histogram, "crude guess (no network)": guess}
