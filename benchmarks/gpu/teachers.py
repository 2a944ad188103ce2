"""The phantoms that a run learns from, grown while the GPU is busy with other parts, before the run starts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from creps.settings import Settings
from creps.training.simulation import pairs
from creps.training.simulation.growth import Crowd, grow_into
from creps.training.simulation.pairs import HELD_OUT_PEOPLE

__all__ = ["Teacher", "grow_teacher_person", "grown_before", "teachers_of"]


@dataclass(frozen=True)
class Teacher:
    """A phantom that a run learns from, or holds out.

    Attributes:
        group: What it belongs to.
        crowd: The people of its run.
        number: Which of them.
        folder: Where they go, each crowd into a folder of its own.
    """

    group: str
    crowd: Crowd
    number: int
    folder: Path


def teachers_of(group: str, settings: Settings, folder: Path) -> Iterator[Teacher]:
    """Everybody that a run with these settings grows."""
    crowd = Crowd.of(settings.preparation.region, settings.preparation.spacing_mm, settings.training.seed)
    for number in range(settings.simulation.phantoms + HELD_OUT_PEOPLE):
        yield Teacher(group, crowd, number, folder)


def grow_teacher_person(teacher: Teacher) -> None:
    """Grow one and store it."""
    folder = _folder_of(teacher.folder, teacher.crowd)
    folder.mkdir(parents=True, exist_ok=True)
    grow_into(folder, teacher.crowd, teacher.number)


@contextmanager
def grown_before(folder: Path) -> Iterator[None]:
    """Let a run take the phantoms that are in a folder instead of growing them; others it grows as ever."""
    original = pairs.grow_crowd

    def linked(crowd: Crowd, numbers: Sequence[int], target: Path, *rest: Any) -> None:
        target.mkdir(parents=True, exist_ok=True)
        source = _folder_of(folder, crowd)
        for file in source.iterdir() if source.is_dir() else ():
            if not (target / file.name).exists():
                os.link(file, target / file.name)
        original(crowd, numbers, target, *rest)

    pairs.grow_crowd = linked
    try:
        yield
    finally:
        pairs.grow_crowd = original


def _folder_of(folder: Path, crowd: Crowd) -> Path:
    return folder / "-".join([crowd.region, str(crowd.seed), *(f"{step:g}" for step in crowd.spacing_mm)])
