"""What the MRs of a training were like, and how far another one is from all of them.

Each part of the score is a distance to the nearest training case, over what is usual between training cases of
different patients: 1 is as far as they are from each other. The nearest case and not a mean decides, so that a cohort
of centres with different contrast is no blur in which anything fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, field_validator

from creps.cohort.cohort import Case, Cohort
from creps.intake.features import Features, features_of
from creps.intake.image_checks import CUT_BOTH_REFUSAL, cut_slices

__all__ = [
    "FEW_PATIENTS",
    "FLOORS",
    "MOST_CASES",
    "IntakeProfile",
    "Scores",
    "profile_from",
    "profile_of",
]

Rows = npt.NDArray[np.float64]

FLOORS = {"contrast": 0.05, "pattern": 0.06, "shape": 0.06, "size": 0.08, "noise": 0.25}
"""Part → the least that counts as usual, so that a small or uniform cohort does not call every other patient strange.
Contrast and pattern: network units; shape: share; size and noise: natural logarithm."""

CAP = 2.5
"""At most this multiple of the floor counts as usual: a few unlike cases do not make everything usual."""

LEVEL_WEIGHT = 0.25
"""Weight of the mean signal in contrast and pattern."""

VOID_FLOOR_ML = 5.0
"""Voids up to this volume are usual: sinuses and bowel gas are as large."""

USUAL_QUANTILE = 0.95
"""Of the distances from each training case to the nearest of another patient: what counts as usual."""

FEW_PATIENTS = 4
"""With fewer, the usual distances are uncertain: the floors are raised and the score is called weak."""

FLOORS_OF_FEW = 1.5
"""Factor of the floors with fewer than `FEW_PATIENTS`."""

USED_TO_CUTS = 0.1
"""Cut bodies are usual for a model if this share of its training MRs is cut as badly as is refused otherwise."""

MOST_CASES = 96
"""Larger cohorts are represented by this many cases."""


@dataclass(frozen=True)
class Scores:
    """How far an MR is from the training's.

    Attributes:
        parts: Part → distance, 1 is what is usual between training cases.
        weak: Whether too few patients were trained on to say what is usual.
    """

    parts: dict[str, float]
    weak: bool

    @property
    def largest(self) -> float:
        """That of the part that is furthest off."""
        return max(self.parts.values())

    def record(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**self.parts, "weak": self.weak}


class IntakeProfile(BaseModel):
    """What the training MRs were like; stored with the model. Holds no names and no images."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    features_version: Literal[1] = 1
    """`features.VERSION` of the version that wrote it."""
    cases_in_cohort: int
    """Training MRs; `cases` are all of them, or `MOST_CASES`."""
    patients: int
    """Patients that `cases` belong to."""
    usual: dict[str, float]
    """Part → distance that counts as 1."""
    cut_share: float
    """Share of `cases` whose body is cut off on two opposite sides, or by a third on one."""
    cases: Annotated[tuple[Features, ...], Field(min_length=1)]

    @field_validator("usual")
    @classmethod
    def _complete(cls, usual: dict[str, float]) -> dict[str, float]:
        if set(usual) != set(FLOORS) or min(usual.values()) <= 0:
            raise ValueError(f"usual must have a positive number for each of {', '.join(FLOORS)}")
        return usual

    @property
    def weak(self) -> bool:
        """Whether too few patients were trained on to say what is usual."""
        return self.patients < FEW_PATIENTS

    @property
    def trained_on_cuts(self) -> bool:
        """Whether the body is cut off in training MRs too."""
        return self.cut_share >= USED_TO_CUTS

    def score(self, features: Features) -> Scores:
        """How far an MR is from all training MRs, part by part."""
        one = _rows([features])
        parts = {
            part: float(_distances(part, one[part], known).min()) / self.usual[part]
            for part, known in _rows(self.cases).items()
        }
        largest = max(VOID_FLOOR_ML, *(case.void_ml for case in self.cases))
        parts["void"] = features.void_ml / largest
        return Scores({part: round(value, 3) for part, value in parts.items()}, self.weak)

    def sizes_mm(self) -> tuple[tuple[float, float], ...]:
        """Smallest and largest body of the training along D, H, W."""
        sizes = np.array([case.size[:3] for case in self.cases])
        return tuple(zip(sizes.min(axis=0).tolist(), sizes.max(axis=0).tolist(), strict=True))


def profile_of(cohort: Cohort) -> IntakeProfile:
    """Measure the training MRs of a cohort. The order of its cases does not matter.

    Raises:
        CohortError: an array of the cohort is missing or damaged.
    """
    training = cohort.cases("mr", "train")
    margin_mm = cohort.manifest.preparation.crop_margin_mm
    measured, cut = [], []
    for case in _chosen(training):
        body = cohort.body(case)
        measured.append((features_of(cohort.array(case), body, case.spacing_mm), case.patient))
        cropped = margin_mm is not None and margin_mm < max(case.spacing_mm)  # it meets the sides by construction
        cuts = cut_slices(body, case.spacing_mm)
        cut.append(not cropped and max(cuts.share(cuts.both), cuts.share(cuts.half)) >= CUT_BOTH_REFUSAL)
    return profile_from(measured, cases_in_cohort=len(training), cut_share=float(np.mean(cut)))


def profile_from(
    measured: Sequence[tuple[Features, str]], *, cases_in_cohort: int | None = None, cut_share: float = 0.0
) -> IntakeProfile:
    """A profile of cases that are measured already.

    Args:
        measured: Features and patient of each case, at least one.
        cases_in_cohort: How many training MRs there are, if more.
        cut_share: See `IntakeProfile`.
    """
    ordered = sorted(measured, key=lambda one: (one[0].model_dump_json(), one[1]))
    features, patients = [one for one, _ in ordered], np.array([patient for _, patient in ordered])
    count = len(set(patients.tolist()))
    usual = {}
    for part, rows in _rows(features).items():
        floor = FLOORS[part] * (FLOORS_OF_FEW if count < FEW_PATIENTS else 1)
        usual[part] = round(float(np.clip(_between_patients(part, rows, patients), floor, CAP * FLOORS[part])), 5)
    return IntakeProfile(
        cases_in_cohort=cases_in_cohort or len(features),
        patients=count,
        usual=usual,
        cut_share=round(cut_share, 3),
        cases=tuple(features),
    )


def _between_patients(part: str, rows: Rows, patients: npt.NDArray[np.str_]) -> float:
    """What is usual between a case and the nearest of another patient; 0 with one patient."""
    nearest = []
    for one, patient in zip(rows, patients, strict=True):
        others = rows[patients != patient]
        if len(others):
            nearest.append(float(_distances(part, one[None], others).min()))
    return float(np.quantile(nearest, USUAL_QUANTILE)) if nearest else 0.0


def _rows(cases: Sequence[Features]) -> dict[str, Rows]:
    """Part → (cases, numbers), such that differences mean the same everywhere."""
    return {
        "contrast": _level_aside(np.array([case.contrast for case in cases])),
        "pattern": _level_aside(np.array([case.pattern for case in cases])),
        "shape": np.array([case.shape for case in cases]),
        "size": np.log(np.array([case.size for case in cases])),
        "noise": np.log(np.array([[max(case.noise, 1e-3)] for case in cases])),
    }


def _level_aside(rows: Rows) -> Rows:
    """Rows whose mean counts `LEVEL_WEIGHT` times: one bright vessel that sets the scale is no other contrast."""
    level = rows.mean(axis=1, keepdims=True)
    return np.asarray(rows - (1 - LEVEL_WEIGHT) * level)


def _distances(part: str, one: Rows, others: Rows) -> Rows:
    """(others,) root mean square of the differences between rows; noise only counts where there is more of it."""
    nearest = np.maximum(one, others) if part == "noise" else one
    return np.asarray(np.sqrt(np.mean((nearest - others) ** 2, axis=1)))


def _chosen(cases: Sequence[Case]) -> list[Case]:
    """At most `MOST_CASES`: from each centre in turn, in the order of their hashes, so effectively at random."""
    if len(cases) <= MOST_CASES:
        return list(cases)
    by_centre: dict[str, list[Case]] = {}
    for case in sorted(cases, key=lambda case: case.prepared_sha256):
        by_centre.setdefault(case.centre or "", []).append(case)
    turns = [(turn, centre, case) for centre, own in by_centre.items() for turn, case in enumerate(own)]
    turns.sort(key=lambda one: (one[0], one[1]))
    return [case for _, _, case in turns[:MOST_CASES]]
