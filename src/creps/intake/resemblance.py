"""Whether the sequence and the patient's build are like those of the training, in figures that a person can follow."""

from __future__ import annotations

import numpy as np

from creps.intake.features import Features
from creps.intake.findings import Finding, Level
from creps.intake.profile import IntakeProfile

__all__ = [
    "BUILD_REFUSAL",
    "BUILD_SPREAD",
    "BUILD_WARNING",
    "GREYS_REFUSAL",
    "GREYS_WARNING",
    "check_build",
    "check_greys",
]

GREYS_WARNING, GREYS_REFUSAL = 0.3, 0.5
"""Natural logarithm by which the greys lie outside those of the training: 1.35 and 1.65 times."""

BUILD_SPREAD = 0.035
"""Standard deviation of the logarithm of adults' heads: what a few training MRs cannot tell is taken from here."""

BUILD_WARNING, BUILD_REFUSAL = 2.2, 6.0
"""Standard deviations from the mean of the training, and outside its range by `BEYOND`."""

BEYOND = 0.015


def check_greys(features: Features, profile: IntakeProfile) -> list[Finding]:
    """Whether bright and dark lie apart as in the training: T2 has fluid that is brighter than all else, T1 has not.

    Args:
        features: Of the MR.
        profile: Of the training.
    """
    known = np.array([case.greys for case in profile.cases if case.greys is not None])
    if features.greys is None or not known.size:
        return []
    own = np.array(features.greys)
    over, under = own - known.max(axis=0), own - known.min(axis=0)
    outside = float(np.hypot(*np.where(over > 0, over, np.where(under < 0, under, 0.0))))
    if outside < GREYS_WARNING:
        return []
    level: Level = "refusal" if outside >= GREYS_REFUSAL and not profile.weak else "warning"
    times, low, high = np.exp(own[0]), *np.exp([known[:, 0].min(), known[:, 0].max()])
    apart, least, most = np.exp(-own[1]), *np.exp([-known[:, 1].max(), -known[:, 1].min()])
    wider = over[0] > 0 or under[1] < 0
    looks = "as T2 is where the training is T1" if wider else "as T1, PD or FLAIR are where the training is T2"
    message = (
        f"It looks like another sequence, {looks}: deep in the body the brightest tissue has {times:.1f} times the"
        f" median signal (in the training's MRs {low:.1f} to {high:.1f} times), and bright tissue {apart:.1f} times"
        f" that of dark tissue ({least:.1f} to {most:.1f} times)."
    )
    return [Finding("sequence family", level, message, "Give the sequence that the model was trained with.")]


def check_build(features: Features, profile: IntakeProfile) -> list[Finding]:
    """Whether the patient is as large as those of the training; cut slices do not count.

    Args:
        features: Of the MR.
        profile: Of the training.
    """
    known = np.log([case.girth_mm for case in profile.cases if case.girth_mm is not None])
    if features.girth_mm is None or not known.size:
        return []
    spread = max(BUILD_SPREAD, float(known.std())) * np.sqrt(1 + 1 / len(known))
    off = (np.log(features.girth_mm) - known.mean()) / spread
    beyond = max(known.min() - np.log(features.girth_mm), np.log(features.girth_mm) - known.max())
    if abs(off) < BUILD_WARNING or beyond < BEYOND:
        return []
    level: Level = "refusal" if abs(off) >= BUILD_REFUSAL and not profile.weak else "warning"
    what = "smaller than the training's: it may be a child's" if off < 0 else "larger than the training's"
    message = (
        f"The body is {what}. Its whole slices are {features.girth_mm:.0f} mm wide (diameter of a circle of that area),"
        f" the training's {np.exp(known.min()):.0f} to {np.exp(known.max()):.0f} mm."
    )
    remedy = "Check age and the spacing in the header; use a model trained on such patients."
    return [Finding("build", level, message, remedy)]
