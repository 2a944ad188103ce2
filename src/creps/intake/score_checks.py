"""What the out-of-distribution score says in words, and from where on it warns or refuses."""

from __future__ import annotations

from creps.intake.features import Features
from creps.intake.findings import Finding
from creps.intake.profile import IntakeProfile, Scores

__all__ = ["REFUSE_AT", "REFUSE_BOTH_AT", "REFUSING", "REFUSING_OF_FEW", "WARN_AT", "check_scores"]

WARN_AT = 1.75
"""A part warns at this multiple of the usual distance between training cases. Measured: benchmarks/gate."""

REFUSE_AT = 2.5
"""A part refuses at this multiple."""

REFUSE_BOTH_AT = 2.0
"""Contrast and pattern refuse at this multiple if both reach it, as inverted MRs do."""

REFUSING = ("contrast", "pattern", "shape", "size")
"""Parts that can refuse; noise and voids only warn."""

REFUSING_OF_FEW = ("shape", "size")
"""Those that can when few patients were trained on: one scanner's contrast does not tell what others may be like."""

BY_CUTS = ("shape", "size")
"""Parts that a cut field of view changes."""

NO_CUT_EXPLAINS = 2.7
"""If outline and size are both this far off, the MR shows another part of the body. Real heads with a cut field of view
reached 3.0 and 2.5 with a model of phantoms, a real hip reaches 2.9 and 4.2 with a model of heads."""

TALLER = 1.08
"""Tolerance in comparisons of extents; the floor of `size`."""

REMEDIES = {
    "contrast": "Check that the sequence is one that the model was trained with, not inverted and not saturated.",
    "pattern": "Check region, orientation, receive coil, and that head and feet are not exchanged.",
    "shape": "Check region and orientation, and that nothing of the body is missing.",
    "size": "Check the region, the spacing in the header, and that nothing of the body is missing.",
    "noise": "Look at the sCT: noise may be taken for air and bone.",
    "void": "Look for an implant or an artefact: there the sCT is a guess.",
}


def check_scores(scores: Scores, features: Features, profile: IntakeProfile, *, cut: bool = False) -> list[Finding]:
    """A finding for every part that is out of the training's distribution.

    Args:
        scores: What `IntakeProfile.score` returned for these features.
        features: Of the MR.
        profile: Of the training.
        cut: Whether the field of view cuts the body. What is missing changes outline and size, which then only warn:
            the cut itself says whether too much is missing.
    """
    found, refusing = [], REFUSING_OF_FEW if scores.weak else REFUSING
    refuse_at = dict.fromkeys(refusing, REFUSE_AT)
    if min(scores.parts["contrast"], scores.parts["pattern"]) >= REFUSE_BOTH_AT and not scores.weak:
        refuse_at |= {"contrast": REFUSE_BOTH_AT, "pattern": REFUSE_BOTH_AT}
    cut = cut and min(scores.parts[part] for part in BY_CUTS) < NO_CUT_EXPLAINS
    for part, score in scores.parts.items():
        if score >= WARN_AT:
            explained = (cut and part in BY_CUTS and not _is_larger(features, profile)) or (
                part == "size" and _is_only_longer(features, profile)
            )
            refuses = score >= refuse_at.get(part, float("inf")) and not explained
            message = _message(part, score, features, profile)
            if cut and part in BY_CUTS:
                message += " The cut field of view changes this too."
            found.append(Finding(part, "refusal" if refuses else "warning", message, REMEDIES[part]))
    if scores.weak:
        message = (
            f"The model was trained on MRs of {profile.patients} patient(s): what is usual can hardly be told from"
            " that, and intensities can only warn."
        )
        found.append(Finding("profile", "note", message, "Train on more patients."))
    return found


def _is_larger(features: Features, profile: IntakeProfile) -> bool:
    """Whether the body is wider or deeper than any of the training's, which no cut explains."""
    across = zip(features.size[1:3], profile.sizes_mm()[1:], strict=True)
    return any(own > TALLER * largest for own, (_, largest) in across)


def _is_only_longer(features: Features, profile: IntakeProfile) -> bool:
    """Whether the scan covers more from bottom to top than the training's, and is like them otherwise."""
    (_, longest), *others = profile.sizes_mm()
    height, *across = features.size[:3]
    alike = all(low / TALLER <= own <= TALLER * high for own, (low, high) in zip(across, others, strict=True))
    return height > longest and alike


def _message(part: str, score: float, features: Features, profile: IntakeProfile) -> str:
    times = f"{score:.1f} times as far from the nearest training MR as these are from each other"
    if part == "size":
        size = " x ".join(f"{mm:.0f}" for mm in features.size[:3])
        known = " x ".join(f"{low:.0f}-{high:.0f}" for low, high in profile.sizes_mm())
        return f"The body in it measures {size} mm (height, depth, width) where the training's measure {known} mm."
    if part == "void":
        largest = max(case.void_ml for case in profile.cases)
        return (
            f"Inside the body is a place without signal that holds a ball of {features.void_ml:.0f} ml; the"
            f" largest in a training MR holds {largest:.0f} ml."
        )
    if part == "noise":
        return f"It is noisier than any training MR: the noise is {100 * features.noise:.0f} % of the signal."
    what = {
        "contrast": "Its contrast is",
        "pattern": "Where its bright and dark parts lie is",
        "shape": "The outline of the body in it is",
    }[part]
    return f"{what} {times}."
