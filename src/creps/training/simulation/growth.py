"""The phantom people of a run: who they are, and their growth, once, in the run's folder."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from creps.errors import CohortError, TrainingError
from creps.machine import affordable_processes
from creps.parallel import WorkerDied, run_all
from creps.phantom import REGIONS
from creps.phantom.patient import MAX_SPACING_MM
from creps.phantom.tissue_map import TissueMap, grow_tissue_map
from creps.regions import part_of_body
from creps.training.simulation.background import AwaitedPeople
from creps.training.simulation.people import Key, Person, open_person, save_person

__all__ = ["Crowd", "drop_damaged", "grow_crowd", "grow_into"]

log = logging.getLogger(__name__)

PLURAL = {"head": "phantom heads", "pelvis": "phantom pelves"}

SEED_STREAM = 20231
"""Keeps these people apart from those of the demo and of the benchmarks, whatever the run's seed."""

FINEST_MM = 1.5
"""People are grown at the run's spacing, but no finer: 5 to 16 seconds and 27 to 58 MB for each."""

BYTES_PER_VOXEL, BYTES_PER_PROCESS = 250, 300e6
"""Memory that growing a person takes (160 and 110 bytes were measured for heads and pelves)."""

SERIAL_VOXELS = 5e6
"""Starting further processes takes longer than growing people with fewer voxels, all of them together."""

SILENCE_SECONDS = 15.0
"""Longest time without a log line on the progress."""

NICENESS = 5
"""Of the processes that grow people: the training has priority."""


@dataclass(frozen=True)
class Crowd:
    """The people of a run; number k is the same person whatever the others are.

    Attributes:
        region: Key of `creps.phantom.REGIONS`.
        spacing_mm: Voxel spacing (D, H, W) that they are grown at.
        seed: The run's seed.
    """

    region: str
    spacing_mm: tuple[float, float, float]
    seed: int

    @classmethod
    def of(cls, region: str, spacing_mm: tuple[float, float, float], seed: int) -> Crowd:
        """The people for a run.

        Args:
            region: `preparation.region`, of a part of the body in `creps.phantom.REGIONS`.
            spacing_mm: Voxel spacing (D, H, W) of the run.
            seed: The run's seed.
        """
        depth, height, width = (float(np.clip(step, FINEST_MM, MAX_SPACING_MM)) for step in spacing_mm)
        return cls(part_of_body(region), (depth, height, width), seed)

    def grow(self, number: int) -> TissueMap:
        """Grow one of them."""
        people = [self.seed, SEED_STREAM, number]
        return grow_tissue_map(REGIONS[self.region], people, self.spacing_mm, planning=number % 3 == 2, wide=True)

    def key(self, number: int) -> Key:
        """What decides a person, the code that grows it included."""
        grown = {"region": self.region, "spacing_mm": list(self.spacing_mm), "seed": self.seed, "number": number}
        return grown | {"code": _code_sha256(self.region)}

    def awaited(self, folder: Path, numbers: Sequence[int]) -> AwaitedPeople:
        """The people that `grow_crowd` has written into a folder, or is writing there."""
        return AwaitedPeople(
            [_file(folder, number) for number in numbers], [partial(self.key, number) for number in numbers]
        )

    def opened_or_grown(self, folder: Path, number: int) -> Person:
        """The person that `grow_crowd` has written into a folder; if it is not there yet, it is grown in memory.

        Raises:
            TrainingError: its file is damaged.
        """
        path = _file(folder, number)
        return open_person(path, self.key(number)) if path.is_file() else Person.of(self.grow(number))

    @property
    def voxels(self) -> float:
        """Of one person, about."""
        edges = REGIONS[self.region].mr_view.edges
        return float(np.prod([(high - low) / step for (low, high), step in zip(edges, self.spacing_mm, strict=True)]))


def grow_crowd(
    crowd: Crowd,
    numbers: Sequence[int],
    folder: Path,
    stops: Callable[[], bool] = lambda: False,
    reserved_bytes: float = 0.0,
) -> None:
    """Grow the people that a folder does not have yet (see `drop_damaged` for damaged ones), on all cores.

    Args:
        crowd: The people of the run.
        numbers: Which of them.
        folder: Where they are kept, for this run alone.
        stops: Whether to stop, asked every second; what is grown by then is kept.
        reserved_bytes: Memory that the run is going to take meanwhile.

    Raises:
        TrainingError: they cannot be written.
    """
    missing, count = [number for number in numbers if not _file(folder, number).is_file()], len(numbers)
    named = PLURAL[crowd.region]
    if len(missing) < count:
        log.info("%d of %d %s reused from %s", count - len(missing), count, named, folder)
    if not missing:
        return
    jobs = _jobs(crowd, len(missing), reserved_bytes)
    log.info("growing %d %s in %d process%s", len(missing), named, jobs, "es" if jobs > 1 else "")
    started = last_line = time.monotonic()
    try:
        with closing(_grown([_Growth(crowd, number, folder) for number in missing], jobs, stops)) as growth:
            for done, _ in enumerate(growth, 1):
                now = time.monotonic()
                if stops():
                    return
                if done < len(missing) and now - last_line > SILENCE_SECONDS:
                    left = (now - started) / done * (len(missing) - done)
                    log.info("%d of %d %s grown; about %.0f s left", done, len(missing), named, left)
                    last_line = now
    except OSError as error:
        raise TrainingError(
            f"The phantoms cannot be written to {folder} ({error.strerror or error}).",
            f"They need {count * 9 * crowd.voxels / 1e9:.1f} GB there: make room, or name another folder for the run.",
        ) from error
    size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    log.info(
        "%d %s grown in %.0f s; %.2f GB in %s", len(missing), named, time.monotonic() - started, size / 1e9, folder
    )


def drop_damaged(crowd: Crowd, numbers: Sequence[int], folder: Path) -> None:
    """Remove people that are not whole from a folder, before anybody opens them; `grow_crowd` grows them again.

    Args:
        crowd: Whose people.
        numbers: Which.
        folder: Where they are.
    """
    for path in (_file(folder, number) for number in numbers):
        if not path.is_file():
            continue
        try:
            open_person(path, crowd.key(int(path.stem)), whole=True)
        except TrainingError as error:
            log.warning("%s It is grown anew.", error.what)
            path.unlink()


@dataclass(frozen=True)
class _Growth:
    crowd: Crowd
    number: int
    folder: Path


def grow_into(folder: Path, crowd: Crowd, number: int) -> None:
    """Grow a person and write it where `grow_crowd` looks for it.

    Args:
        folder: Exists.
        crowd: Whose person.
        number: Which.
    """
    save_person(Person.of(crowd.grow(number)), _file(folder, number), crowd.key(number))


def _grow(growth: _Growth) -> int:
    """Grow a person and write it; its number."""
    grow_into(growth.folder, growth.crowd, growth.number)
    return growth.number


def _grow_in_a_process(growth: _Growth) -> int:
    """The same in a process of its own, which leaves the cores to the training."""
    with suppress(AttributeError, OSError):  # Windows has no such call
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    return _grow(growth)


def _grown(growths: Sequence[_Growth], jobs: int, stops: Callable[[], bool]) -> Generator[int]:
    """Numbers of the people, as they are written. What no other process can do is done in this one."""
    left = list(growths)
    try:
        for place, number in run_all(_grow_in_a_process if jobs > 1 else _grow, growths, jobs, stops):
            if not isinstance(number, WorkerDied):
                left.remove(growths[place])
                yield number
    except CohortError:  # no process can be started
        log.info("no further process can be started: growing the phantoms in this one")
    yield from map(_grow, () if stops() else left)


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:03d}.json"


def _jobs(crowd: Crowd, count: int, reserved_bytes: float) -> int:
    """The number of processes that cores and memory allow; one if there is little to do."""
    if count * crowd.voxels < SERIAL_VOXELS:
        return 1
    return min(count, affordable_processes(BYTES_PER_PROCESS + BYTES_PER_VOXEL * crowd.voxels, reserved_bytes))


@lru_cache
def _code_sha256(region: str) -> str:
    """One hash over a coarse person: another one means that the code, or a library, grows other people."""
    person = grow_tissue_map(REGIONS[region], SEED_STREAM, (MAX_SPACING_MM,) * 3, wide=True)
    content = hashlib.sha256(repr(person.shape).encode())
    for part in (person.tissues, person.shares, person.body):
        content.update(np.ascontiguousarray(part).data)
    return content.hexdigest()
