"""The intake checks: everything that is checked before a synthesis, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from creps.errors import InputError
from creps.intake.bright_spots import check_bright_spots
from creps.intake.closed_top import check_top
from creps.intake.features import Coarse, features_of
from creps.intake.findings import Finding, Level
from creps.intake.header_checks import check_header
from creps.intake.image_checks import CUT_WARNING, check_body, check_field_of_view, check_spacing, measure_cuts
from creps.intake.profile import IntakeProfile, Scores
from creps.intake.resemblance import check_build, check_greys
from creps.intake.rim import check_rim
from creps.intake.score_checks import check_scores
from creps.preprocessing.preparation import Prepared
from creps.settings import PreparationSettings
from creps.volume import Volume

if TYPE_CHECKING:
    from creps.io.dicom.read.acquisition import Acquisition

__all__ = ["IntakeResult", "examine"]

CAUSES = ("region", "sequence", "field of view", "sequence family", "spacing", "build")
"""Checks in the order in which they explain the others."""

FORCE = "Inspect the MR. force=True synthesizes anyway and records this."


@dataclass(frozen=True)
class IntakeResult:
    """What was found before a synthesis.

    Attributes:
        findings: Refusals first, then warnings, then notes.
        scores: How far the MR is from the training's, or None if the model does not know.
    """

    findings: tuple[Finding, ...] = field(default=())
    scores: Scores | None = None

    def of_level(self, level: Level) -> tuple[Finding, ...]:
        """The findings of one level."""
        return tuple(finding for finding in self.findings if finding.level == level)

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """Why there should be no sCT."""
        return self.of_level("refusal")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What to look at before the sCT is used."""
        return self.of_level("warning")

    @property
    def notes(self) -> tuple[Finding, ...]:
        """What to know."""
        return self.of_level("note")

    @property
    def verdict(self) -> str:
        """``refused``, ``warned`` or ``passed``."""
        return "refused" if self.refusals else "warned" if self.warnings else "passed"

    def overridden(self, *, forced: bool) -> bool:
        """Whether an sCT is made although a check refused the MR."""
        return forced and bool(self.refusals)

    def record(self, *, forced: bool = False) -> dict[str, Any]:
        """As plain JSON values.

        Args:
            forced: Whether refusals are overridden; recorded only if there was one.
        """
        return {
            "verdict": self.verdict,
            "forced": self.overridden(forced=forced),
            "findings": [
                {"check": f.check, "level": f.level, "message": f.message, "remedy": f.remedy} for f in self.findings
            ],
            "scores": None if self.scores is None else self.scores.record(),
        }

    def raise_if_refused(self, name: str, *, forced: bool = False) -> None:
        """Stop here if anything refuses, unless it is forced.

        Args:
            name: What the message calls the MR.
            forced: Override the refusal.

        Raises:
            InputError: names every reason.
        """
        if not self.refusals or forced:
            return
        cut = [one for one in self.warnings if one.check == "field of view"]
        reasons = " ".join(str(finding) for finding in (*cut, *self.refusals))
        raise InputError(f"{name} does not suit this model: {reasons}", FORCE)


def examine(
    mr: Volume,
    prepared: Prepared,
    preparation: PreparationSettings,
    profile: IntakeProfile | None,
    acquisition: Acquisition | None = None,
    recipe: str | None = None,
    *,
    masked: bool = False,
) -> IntakeResult:
    """Check an MR against a model.

    Args:
        mr: The MR as it was given.
        prepared: The same, prepared for the model.
        preparation: How the model's volumes are prepared.
        profile: What the training MRs were like; None in models that do not know.
        acquisition: What DICOM headers say of the MR; None without any.
        recipe: The model's recipe; None if its record does not say.
        masked: Whether the body mask was given.

    Returns:
        All findings; nothing is raised.
    """
    cuts = measure_cuts(mr, prepared, masked=masked)
    coarse = Coarse.of(prepared.array, prepared.body, prepared.grid.spacing_mm)
    thickness_mm = acquisition.slice_thickness_mm if acquisition is not None else None
    findings = [
        *check_header(acquisition, preparation.region, recipe),
        *check_spacing(mr, preparation.spacing_mm, thickness_mm),
        *check_top(prepared, preparation.region),
        *check_body(prepared),
        *check_bright_spots(coarse, preparation.region),
        *check_rim(prepared, recipe, masked=masked),
        *check_field_of_view(cuts, trained_on_cuts=profile is not None and profile.trained_on_cuts),
    ]
    if profile is None:
        findings.append(
            Finding(
                "profile",
                "note",
                "The model has no profile of its training MRs: intensities and size were not checked.",
                "Train it again to add a profile.",
            )
        )
        return IntakeResult(_sorted(findings))
    features = features_of(prepared.array, prepared.body, prepared.grid.spacing_mm, coarse)
    scores = profile.score(features)
    findings += check_greys(features, profile)
    findings += check_build(features, profile)
    findings += check_scores(scores, features, profile, cut=cuts.share(cuts.some) >= CUT_WARNING)
    return IntakeResult(_sorted(findings), scores)


def _sorted(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    order = {"refusal": 0, "warning": 1, "note": 2}
    return tuple(sorted(findings, key=lambda finding: (order[finding.level], _rank(finding))))


def _rank(finding: Finding) -> int:
    """Position among findings of one level: causes, which a user can act on, before their consequences."""
    return CAUSES.index(finding.check) if finding.check in CAUSES else len(CAUSES)
