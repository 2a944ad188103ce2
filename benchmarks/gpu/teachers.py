"""The phantoms that a run learns from, grown many at a time before it starts: the package grows them one by one."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from creps.phantom import REGIONS
from creps.phantom.patient import MAX_SPACING_MM
from creps.phantom.region import Region
from creps.phantom.tissue_map import TissueMap, grow_tissue_map
from creps.settings import Settings
from creps.training.simulation import phantoms
from creps.training.simulation.pairs import HELD_OUT_PEOPLE

__all__ = ["Teacher", "grow_teacher_person", "grown_before", "teachers_of"]


@dataclass(frozen=True)
class Teacher:
    """A phantom that a run learns from, or holds out.

    Attributes:
        group: What it belongs to.
        region: Key of `creps.phantom.REGIONS`.
        seed: Its own.
        spacing_mm: As the run asks for it.
        planning: Whether it lies as for a planning CT.
        folder: Where it goes.
    """

    group: str
    region: str
    seed: tuple[int, ...]
    spacing_mm: tuple[float, float, float]
    planning: bool
    folder: Path


def teachers_of(group: str, settings: Settings, folder: Path) -> Iterator[Teacher]:
    """Everybody that a run with these settings grows, as `creps.training.simulation` counts them."""
    preparation, seed = settings.preparation, settings.training.seed
    region = phantoms.REGION_PHANTOMS[preparation.region]
    d, h, w = (float(np.clip(step, phantoms.FINEST_MM, MAX_SPACING_MM)) for step in preparation.spacing_mm)
    for number in range(settings.simulation.phantoms + HELD_OUT_PEOPLE):
        key = (seed, phantoms.SEED_STREAM, number)
        yield Teacher(group, region, key, (d, h, w), number % 3 == 2, folder)


def grow_teacher_person(teacher: Teacher) -> None:
    """Grow one and store it."""
    kind = REGIONS[teacher.region]
    person = grow_tissue_map(kind, list(teacher.seed), teacher.spacing_mm, planning=teacher.planning, wide=True)
    teacher.folder.mkdir(parents=True, exist_ok=True)
    file = file_of(teacher.folder, teacher.region, teacher.seed, teacher.spacing_mm, planning=teacher.planning)
    file.write_bytes(pickle.dumps(person, protocol=5))


def file_of(
    folder: Path, region: str, seed: tuple[int, ...], spacing_mm: tuple[float, float, float], *, planning: bool
) -> Path:
    """Where a person lies; everything that decides how it is grown is in the name."""
    parts = [region, *map(str, seed), *(f"{step:g}" for step in spacing_mm), str(int(planning))]
    return folder / ("_".join(parts) + ".pkl")


@contextmanager
def grown_before(folder: Path) -> Iterator[None]:
    """Let a run take the phantoms that are in a folder instead of growing them; others it grows as ever."""
    original = phantoms.grow_tissue_map

    def taken(
        region: Region,
        seed: list[int],
        spacing_mm: tuple[float, float, float],
        *,
        planning: bool = False,
        wide: bool = False,
    ) -> TissueMap:
        file = file_of(folder, region.name, tuple(seed), spacing_mm, planning=planning)
        if wide and file.is_file():
            kept: TissueMap = pickle.loads(file.read_bytes())
            return kept
        return original(region, seed, spacing_mm, planning=planning, wide=wide)

    phantoms.grow_tissue_map = taken  # type: ignore[assignment]
    try:
        yield
    finally:
        phantoms.grow_tissue_map = original
