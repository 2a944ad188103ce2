"""Training health: problems that the curves of a run show, each as a sentence with a setting to try.

The rules use the last validations and the last rows of losses; each is a function of that history alone. Their bounds
were set on runs of the accuracy benchmark, see docs/concepts/label-free-score.md. If in doubt, they report nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import mean, median, pstdev

from creps.settings.choices import AdversarialLoss

__all__ = ["HEALTHY", "diagnose"]

Row = Mapping[str, float]
"""A row of the curves: `step`, loss terms, and values of a validation where there was one."""

HEALTHY = "training looks healthy"

RECENT = 8
"""Rows of losses that a rule needs."""

COLLAPSE_VALIDATIONS = 2
"""Consecutive validations that must show a collapse."""

BONE_VALIDATIONS, LESS_BONE = 3, 0.4
"""Consecutive validations with less than this share of the CTs' bone that a run which learns does not have. On real
heads a run with 0.18 to 0.27 had lost a third of the skull."""

LITTLE_SPREAD, MUCH_SPREAD, LITTLE_BONE, MUCH_BONE = 0.3, 2.0, 0.1, 3.0
"""Bounds of ratios of sCT to CT: standard deviation of HU, share of bone."""

WRONG_HU = 250.0
"""Distance in HU to the CTs at the same position above which an image is not a CT; constant water has about 300."""

DRIFT_VALIDATIONS, DRIFT = 4, 1.25
"""A score drifts if it has been above the best one by this factor for this many validations."""

AGAIN = (
    "Start again with a lower training.learning_rate or another training.seed; where simulation.weight is 0, raise it: "
    "it ties the sCT to the MR."
)

SHARPER = "It may need more training.steps; if this persists, check that bone is dark and fat has signal in these MRs."

MODES_HU = 500.0
"""Difference in HU of training and evaluation mode that is unusual; with two patches a step, 200 to 350 are common."""

CHANCE, SURE, STILL = 0.03, 0.95, 0.01
"""Bounds of the discriminator's decision (0 = chance, 1 = certain), and the spread of a loss that is constant."""


def diagnose(history: Sequence[Row], loss: AdversarialLoss) -> dict[str, str]:
    """The problems of a run.

    Args:
        history: The rows of the curves so far, oldest first.
        loss: The adversarial loss of the run.

    Returns:
        Kind of problem → a sentence with a setting to try; empty if there is none.
    """
    validations = [row for row in history if _finite(row, "validation_score")]
    found = {"collapse": _collapse(validations), "drift": _drift(validations), "modes": _modes(validations)}
    found |= {f"discriminator{suffix}": _discriminator(history, loss, suffix) for suffix in ("", "_mr")}
    return {kind: sentence for kind, sentence in found.items() if sentence}


def _collapse(validations: Sequence[Row]) -> str | None:
    """Detect a constant image, hardly any bone, bone everywhere or non-CT HU; a new run looks the same."""
    last = validations[-COLLAPSE_VALIDATIONS:]
    if len(last) < COLLAPSE_VALIDATIONS:
        return None
    step, now = int(last[-1]["step"]), last[-1]

    def always(name: str, low: float = -math.inf, high: float = math.inf) -> bool:
        return all(row.get(name, math.nan) < low or row.get(name, math.nan) > high for row in last)

    found = None
    if always("spread_ratio", low=LITTLE_SPREAD):
        found = "is nearly constant"
    elif always("bone_ratio", low=LITTLE_BONE):
        return f"At step {step} the sCT has hardly any bone. {SHARPER}"
    elif _bone_is_missing(validations):
        return f"At step {step} the sCT has {now['bone_ratio']:.2f} times the bone of the CTs. {SHARPER}"
    elif always("bone_ratio", high=MUCH_BONE):
        found = f"has {now['bone_ratio']:.1f} times the bone of the CTs"
    elif always("spread_ratio", high=MUCH_SPREAD):
        found = f"varies {now['spread_ratio']:.1f} times as much as the CTs"
    elif always("place_distance_hu", high=WRONG_HU):
        found = f"is {now['place_distance_hu']:.0f} HU from the CTs at the same position"
    return found and f"At step {step} the sCT {found}: the run has collapsed or has only just begun. {AGAIN}"


def _bone_is_missing(validations: Sequence[Row]) -> bool:
    last = validations[-BONE_VALIDATIONS:]
    return len(last) == BONE_VALIDATIONS and all(row.get("bone_ratio", math.nan) < LESS_BONE for row in last)


def _drift(validations: Sequence[Row]) -> str | None:
    """Detect a score that has stayed worse than the best one."""
    if len(validations) <= DRIFT_VALIDATIONS:
        return None
    best = min(validations, key=lambda row: row["validation_score"])
    after = [row["validation_score"] for row in validations if row["step"] > best["step"]]
    now = median(after[-DRIFT_VALIDATIONS:]) if after else 0.0
    if len(after) < DRIFT_VALIDATIONS or now < DRIFT * best["validation_score"]:
        return None
    before, since = best["validation_score"], int(best["step"])
    return (
        f"The score has worsened from {before:.0f} to {now:.0f} HU since step {since}: the run is drifting. "
        "best/ holds that step; training.patience stops such a run; a lower training.learning_rate may stabilise it."
    )


def _modes(validations: Sequence[Row]) -> str | None:
    """Batch norm whose running statistics do not fit the validation cases."""
    difference = validations[-1].get("train_eval_difference_hu", 0.0) if validations else 0.0
    if not difference > MODES_HU:
        return None
    return (
        f"In evaluation mode the generator differs by {difference:.0f} HU from training mode: the statistics of "
        "batch norm do not fit the validation cases. Try a larger training.batch_size or another generator.norm."
    )


def _discriminator(history: Sequence[Row], loss: AdversarialLoss, suffix: str) -> str | None:
    """Detect a discriminator that no longer helps the generator: stuck at chance, or certain."""
    real, fake = f"d_real{suffix}", f"d_fake{suffix}"
    last = [row for row in history if _finite(row, real) and _finite(row, fake)][-RECENT:]
    if len(last) < RECENT:
        return None
    which = "MR discriminator" if suffix else "discriminator"
    decided, step = mean(decision(row[real], row[fake], loss) for row in last), int(last[-1]["step"])
    still = all(pstdev([row[name] for row in last]) < STILL for name in (real, fake))
    if still and abs(decided) < CHANCE:
        return (
            f"The {which} has been at chance for {RECENT} rows up to step {step} and no longer changes: it is dead. "
            "Raise training.discriminator_learning_rate, or lower adversarial.gradient_penalty."
        )
    if decided > SURE:
        return (
            f"The {which} has been certain for {RECENT} rows up to step {step}: the generator learns nothing from it. "
            "Lower training.discriminator_learning_rate, or raise adversarial.gradient_penalty."
        )
    return None


def decision(real: float, fake: float, loss: AdversarialLoss) -> float:
    """How well a discriminator separates CT from sCT, from its two losses: 0 for any constant output, 1 for certainty.

    With a constant output p (a probability, or the value of least squares) the losses are -ln p and -ln (1 - p), or
    (1 - p)² and p²; either way the correct shares of both halves add up to one. Below 0 it is mostly wrong.

    >>> decision(real=0.0, fake=0.0, loss="bce")
    1.0
    >>> decision(real=0.25, fake=0.25, loss="least_squares")
    0.0
    """
    if loss == "bce":
        return math.exp(-real) + math.exp(-fake) - 1
    return 1 - math.sqrt(max(0.0, real)) - math.sqrt(max(0.0, fake))


def _finite(row: Row, name: str) -> bool:
    return math.isfinite(row.get(name, math.nan))
