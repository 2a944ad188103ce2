"""Split patients into training and validation, balanced over the centres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from creps.cohort.cohort import Split
from creps.cohort.sources import Source
from creps.settings import PreparationSettings

__all__ = ["assign_splits", "split_patients"]


def assign_splits(
    sources: Sequence[Source], settings: PreparationSettings, known: Mapping[str, Split] | None = None
) -> dict[str, Split]:
    """The split of every patient: from the table if it has one, else from `known`, else random."""
    given: dict[str, Split] = {source.patient: source.split for source in sources if source.split is not None}
    if given:
        return given
    centres = {source.patient: source.centre for source in sources if source.centre is not None}
    groups = [[s.patient for s in sources if s.modality == modality] for modality in ("mr", "ct")]
    return split_patients(groups, settings.validation_fraction, settings.seed, centres, known)


def split_patients(
    patients: Sequence[Sequence[str]],
    fraction: float,
    seed: int,
    centres: Mapping[str, str] | None = None,
    known: Mapping[str, Split] | None = None,
) -> dict[str, Split]:
    """Assign every patient to one split, whether the patient has MR, CT or both.

    Args:
        patients: The patients of each modality.
        fraction: Fraction of each modality's patients to use for validation, rounded; at least one of two or more,
            none if 0.
        seed: Seed of the random order.
        centres: Patient → centre, where known. Validation takes patients from each centre in turn.
        known: Patients who keep their split.
    """
    splits: dict[str, Split] = dict(known or {})
    # the smaller group first, since patients with both modalities must not use up its training or validation part
    for stream, group in sorted(enumerate(patients), key=lambda item: len(set(item[1]))):
        names = sorted(set(group))
        order = np.random.default_rng([seed, stream]).permutation(len(names))
        missing = min(max(1, round(fraction * len(names))), len(names) - 1) if fraction > 0 else 0
        missing -= sum(splits.get(name) == "validation" for name in names)
        for name in _in_turn([names[i] for i in order if names[i] not in splits], centres or {}):
            splits[name] = "validation" if missing > 0 else "train"
            missing -= 1
    return splits


def _in_turn(names: Sequence[str], centres: Mapping[str, str]) -> list[str]:
    """The first name of each centre, then the second of each, …; in the given order if no centre is known."""
    seen: dict[str | None, int] = {}
    turns = []
    for name in names:
        centre = centres.get(name)
        turns.append(seen.get(centre, 0))
        seen[centre] = turns[-1] + 1
    return [names[i] for i in np.argsort(turns, kind="stable")] if len(seen) > 1 else list(names)
