"""Compare a cohort with the model that a training starts from."""

from __future__ import annotations

import logging

import numpy as np

from creps.cohort.cohort import Cohort
from creps.errors import CohortError
from creps.intake.features import features_of
from creps.intake.profile import IntakeProfile
from creps.intake.score_checks import REFUSE_AT, REFUSE_BOTH_AT
from creps.phantom import REGIONS
from creps.regions import part_of_body
from creps.settings import Settings

__all__ = ["refuse_missing_cts", "warn_of_other_mrs"]

log = logging.getLogger(__name__)

MOST = 12
"""Training MRs that are compared."""


def refuse_missing_cts(cohort: Cohort, settings: Settings) -> None:
    """Check that a cohort has the CTs that the settings learn from; phantoms alone need none.

    Raises:
        CohortError: it has none; the message says who needs them, and what does without.
    """
    if cohort.cases("ct", "train"):
        return
    simulation, recipe = settings.simulation, settings.recipe
    phantoms = part_of_body(settings.preparation.region) in REGIONS
    if not settings.simulates_only:
        raise CohortError(
            f"The cohort has no CT case to train on, and recipe {recipe} learns from CTs.",
            "Prepare it with CTs, or use recipe anatomy with simulation.phantom_share 1 (phantoms alone).",
        )
    if not phantoms:
        raise CohortError(
            f"The cohort has no CT case to train on, and the region '{settings.preparation.region}' has no phantoms.",
            "Prepare it with CTs of any patients.",
        )
    if simulation.phantom_share < 1:
        raise CohortError(
            f"The cohort has no CT case, but {100 * (1 - simulation.phantom_share):.0f} % of the pairs come from CTs.",
            "Set simulation.phantom_share to 1 to learn from phantoms alone, or prepare the cohort with CTs.",
        )


def warn_of_other_mrs(cohort: Cohort, profile: IntakeProfile | None) -> None:
    """Warn if the MRs of a cohort are unlike those that a model was trained on: other units, sequence or region.

    The limits are those of the intake checks' refusals, for the median MR.

    Args:
        cohort: The new cohort, prepared as for the model.
        profile: The model's; None if it has none.

    Raises:
        CohortError: an array of the cohort is missing or damaged.
    """
    if profile is None:
        return
    cases = cohort.cases("mr", "train")[:MOST]
    scores = [
        profile.score(features_of(cohort.array(case), cohort.body(case), case.spacing_mm)).parts for case in cases
    ]
    far = {part: float(np.median([one[part] for one in scores])) for part in ("contrast", "pattern", "shape", "size")}
    part, score = max(far.items(), key=lambda item: item[1])
    if score < REFUSE_AT and min(far["contrast"], far["pattern"]) < REFUSE_BOTH_AT:
        return
    medians = [float(np.median(cohort.array(case)[cohort.body(case)])) for case in cases]
    known = [case.contrast[len(case.contrast) // 2] for case in profile.cases]
    log.warning(
        "The cohort's MRs are unlike those of the model to start from: their %s is %.1f times as far from the nearest"
        " training MR as these are from each other (median in the body %.2g, there about %.2g, of 2). Check units,"
        " sequence and region, or train without --from (model=None).",
        part,
        score,
        float(np.median(medians)),
        float(np.median(known)),
    )
