"""Grow everybody whom the job needs, many at a time, and prepare them: nothing here needs a GPU or a file format.

Groups are grown in the order in which the parts need them. A group that is complete leaves a file, for which the
conductor waits.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from benchmarks.gpu.cohorts import keep_true, save_manifest, save_paired_too, store
from benchmarks.gpu.family import Unseen, grow_unseen, people_with_truth, site_of
from benchmarks.gpu.job import Job, group_file
from benchmarks.gpu.parts import wave_of
from benchmarks.gpu.settings import model_settings, paper_settings, table_settings
from benchmarks.gpu.teachers import Teacher, grow_teacher_person, teachers_of
from creps.cohort.cohort import Case
from creps.io.atomic import write_json
from creps.parallel import WorkerDied, run_all
from creps.phantom.cohort import REGIONS
from creps.phantom.patient import Phantom, grow_patient
from creps.preprocessing.preparation import prepare_ct, prepare_mr
from creps.settings import PreparationSettings

__all__ = ["grow_phantoms"]

NICE = 5
"""Growers take about a fifth of the time of cores that readers want as well."""


@dataclass(frozen=True)
class Person:
    """A phantom to grow and image.

    Attributes:
        group: What it belongs to.
        name: Its name, unique in its group.
        region: head or pelvis.
        seed: Seed of the person.
        spacing_mm: Voxel size.
        folder: Where its arrays go.
        preparation: How it is prepared; None keeps the images as the scanner gives them.
        mr: Whether an MR is acquired.
        ct: Whether a CT is acquired.
    """

    group: str
    name: str
    region: str
    seed: tuple[int, ...]
    spacing_mm: float
    folder: Path
    preparation: PreparationSettings | None
    mr: bool = False
    ct: bool = False


Anyone = Person | Teacher | Unseen


def grow_phantoms(job: Job) -> None:
    """Grow everybody, group by group."""
    with suppress(OSError):  # where each session has its share of the cores, niceness counts within it only
        Path("/proc/self/autogroup").write_text(str(NICE))
    people = [person for group in job.groups for person in members(job, group)]
    waiting = {name: len(list(of_group)) for name, of_group in groupby(people, lambda person: person.group)}
    cases: dict[str, list[Case]] = {name: [] for name in waiting}
    started, counts, died = time.perf_counter(), dict(waiting), 0
    for index, grown in run_all(grow, people, job.sizes.growers):
        group = people[index].group
        if isinstance(grown, WorkerDied):
            died += 1
            continue
        cases[group] += grown
        waiting[group] -= 1
        if waiting[group] == 0:
            finish(job, group, cases[group])
            seconds = round(time.perf_counter() - started, 1)
            done = {**job.found.get("groups", {}), group: {"people": counts[group], "complete_after_seconds": seconds}}
            job.note(processes=job.sizes.growers, groups=done)
    if died:
        raise RuntimeError(f"{died} of {len(people)} phantoms could not be grown: their process ended.")


def members(job: Job, group: str) -> Iterator[Anyone]:
    """Everybody in a group; nobody is in two."""
    kind, _, name = group.partition("-")
    yield from MEMBERS[kind](job, group, name)


def head_to_time(job: Job, group: str, _: str) -> Iterator[Person]:
    """The one whose synthesis is timed."""
    yield Person(group, "head", "head", (job.sizes.seed, 5, 0, 0), job.sizes.sct_mm, job.work / "sct", None, mr=True)


def site_people(job: Job, group: str, region: str) -> Iterator[Person]:
    """Those who stand for a site where a model learns from phantoms alone."""
    sizes, folder = job.sizes, job.work / "cohorts" / group
    plan, step = model_settings(sizes, region).preparation, min(sizes.model_mm[region])
    for number, letter in enumerate("MC"):
        for i in range(sizes.site_people):
            place = (group, f"{letter}{i:03d}", region, (sizes.seed, 2, number, i), step, folder)
            yield Person(*place, plan, mr=letter == "M", ct=letter == "C")


def teaching_people(job: Job, group: str, name: str) -> Iterator[Teacher]:
    """Those whom a run learns from: a model's (``head``), or those of a region and seed of the tables (``head-0``)."""
    if name in REGIONS:
        yield from teachers_of(group, model_settings(job.sizes, name), job.work / "people")
    else:
        region, seed = wave_of(name)
        yield from teachers_of(group, table_settings(job.sizes, region, "anatomy", seed), job.work / "people")


def held_out(job: Job, group: str, region: str) -> Iterator[Person]:
    """Phantoms that are scored."""
    for i in range(job.sizes.held_out):
        place = (group, f"H{i:03d}", region, (job.sizes.seed, 4, 0, i), min(job.sizes.model_mm[region]))
        yield Person(*place, job.work / "held-out" / region, None, mr=True, ct=True)


def unseen(job: Job, group: str, region: str) -> Iterator[Unseen]:
    """People of the unseen family who are scored."""
    folder = job.work / "unseen" / region
    yield from people_with_truth(group, region, job.sizes.unseen_people, folder, job.sizes.unseen_mm)


def family(job: Job, group: str, region: str) -> Iterator[Unseen]:
    """The site of the unseen family that the arms of the tables learn from."""
    plan = table_settings(job.sizes, region, "anatomy", 0).preparation
    folder = job.work / "cohorts" / region / "unpaired"
    yield from site_of(group, region, job.sizes.table_people, folder, plan, job.sizes.unseen_mm)


def paper_people(job: Job, group: str, preset: str) -> Iterator[Person]:
    """Those that the paper's presets are timed on."""
    sizes, folder = job.sizes, job.work / "cohorts" / group
    region, plan = "head" if preset == "brain" else "pelvis", paper_settings(sizes, preset).preparation
    for kind, letter in enumerate("MC"):
        for i in range(sizes.paper_people):
            seed = (sizes.seed, int(preset == "pelvis"), kind, i)
            place = (group, f"{letter}{i:03d}", region, seed, sizes.paper_grown_mm[preset], folder)
            yield Person(*place, plan, mr=letter == "M", ct=letter == "C")


MEMBERS: dict[str, Callable[[Job, str, str], Iterator[Anyone]]] = {
    "paper": paper_people,
    "sct": head_to_time,
    "site": site_people,
    "teachers": teaching_people,
    "held": held_out,
    "unseen": unseen,
    "family": family,
}
"""What a group's name begins with → everybody in it; the rest of the name says for what."""


def grow(person: Anyone) -> list[Case]:
    """Grow one and store it; what is timed elsewhere goes first."""
    os.nice(max(0, NICE - os.nice(0)))
    if isinstance(person, Teacher):
        grow_teacher_person(person)
        return []
    if isinstance(person, Unseen):
        return grow_unseen(person)
    region = REGIONS[person.region]
    centre = person.seed[-1] % len(region.mr_centres)
    phantom = grow_patient(region, list(person.seed), person.spacing_mm, mr=person.mr, ct=person.ct, centre=centre)
    person.folder.mkdir(parents=True, exist_ok=True)
    if person.preparation is None:
        keep(person, phantom)
        return []
    cases = []
    if phantom.mr is not None:
        prepared = prepare_mr(phantom.mr, person.preparation, person.name, phantom.mask)
        cases.append(store(person.folder, person.name, "mr", prepared, "phantom"))
    if phantom.ct is not None:
        prepared = prepare_ct(phantom.ct, person.preparation, person.name, phantom.mask)
        cases.append(store(person.folder, person.name, "ct", prepared, "phantom"))
    return cases


def keep(person: Person, phantom: Phantom) -> None:
    """Write a patient that is synthesized, with the truth."""
    if phantom.mr is None:
        raise ValueError("a held-out phantom needs an MR")
    truth = None if phantom.ct_noise_free is None else phantom.ct_noise_free.array
    keep_true(person.folder / f"{person.name}.npz", phantom.mr, phantom.mask.array > 0, truth)


def finish(job: Job, group: str, cases: list[Case]) -> None:
    """Write a group's manifest, and the file that says that it is complete."""
    kind, _, name = group.partition("-")
    if kind == "paper":
        save_manifest(job.work / "cohorts" / group, paper_settings(job.sizes, name), cases)
    elif kind == "site":
        save_manifest(job.work / "cohorts" / group, model_settings(job.sizes, name), cases)
    elif kind == "family":
        unpaired, paired = (table_settings(job.sizes, name, arm, 0) for arm in ("anatomy", "supervised"))
        save_paired_too(job.work / "cohorts" / name / "unpaired", unpaired, paired, cases)
    write_json(group_file(job.work, group), {"people": len({case.patient for case in cases})})
