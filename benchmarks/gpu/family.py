"""People of the unseen family, kept as arrays: a cohort to train on, and test people with known truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.gpu.cohorts import keep_true, store
from benchmarks.unseen import cohort
from creps.cohort.cohort import Case
from creps.preprocessing.preparation import prepare_ct, prepare_mr
from creps.settings import PreparationSettings
from creps.volume import Volume

__all__ = ["Unseen", "grow_unseen", "people_with_truth", "site_of"]

SEED = 7
"""Of the family: its test people are those that `benchmarks.unseen` scores."""


@dataclass(frozen=True)
class Unseen:
    """A person of the unseen family to grow.

    Attributes:
        group: What it belongs to.
        region: head or pelvis.
        kind: unpaired_mr, paired or test: a group of the family.
        index: Number in it.
        folder: Where its arrays go.
        preparation: How it is prepared; None keeps the images as the scanner gives them, with the truth.
        spacing_mm: Voxel size, if it is not the family's own.
    """

    group: str
    region: str
    kind: str
    index: int
    folder: Path
    preparation: PreparationSettings | None = None
    spacing_mm: float | None = None


def site_of(
    group: str, region: str, people: int, folder: Path, preparation: PreparationSettings, spacing_mm: float | None
) -> Iterator[Unseen]:
    """MR patients, and others whose CTs are learned from; the registered MRs of these are for the supervised bound."""
    for kind in ("unpaired_mr", "paired"):
        for index in range(people):
            yield Unseen(group, region, kind, index, folder, preparation, spacing_mm)


def people_with_truth(group: str, region: str, people: int, folder: Path, spacing_mm: float | None) -> Iterator[Unseen]:
    """People with known truth."""
    for index in range(people):
        yield Unseen(group, region, "test", index, folder, None, spacing_mm)


def grow_unseen(person: Unseen) -> list[Case]:
    """Grow one and store it."""
    if person.spacing_mm is not None:
        cohort.SPACING_MM[person.region] = person.spacing_mm
    images, _ = cohort.person(person.region, person.kind, person.index, SEED)
    spacing = cohort.SPACING_MM[person.region]
    name = f"U{person.region[0].upper()}{cohort.GROUPS[person.kind]}{person.index:03d}"

    def volume(array: np.ndarray) -> Volume:
        return Volume(np.asarray(array, dtype=np.float32), (spacing,) * 3)

    mask = volume(images.mask)
    if person.preparation is None:
        keep_true(person.folder / f"{name}.npz", volume(images.mr), images.mask > 0, images.ct_noise_free)
        return []
    prepared = prepare_mr(volume(images.mr), person.preparation, name, mask)
    cases = [store(person.folder, name, "mr", prepared, "unseen")]
    if person.kind == "paired":
        prepared = prepare_ct(volume(images.ct), person.preparation, name, mask)
        cases.append(store(person.folder, name, "ct", prepared, "unseen"))
    return cases
