"""Grow everybody whom the job needs, many at a time, and prepare them: nothing here needs a GPU or a file format.

Groups are grown in the order in which the parts need them. A group that is complete leaves a file, for which the
conductor waits.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
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
    sizes, work, (kind, _, name) = job.sizes, job.work, group.partition("-")
    if kind == "paper":
        yield from paper_people(job, name)
    elif kind == "sct":
        yield Person(group, "head", "head", (sizes.seed, 5, 0, 0), sizes.sct_mm, work / "sct", None, mr=True)
    elif kind == "site":
        step = float(min(sizes.model_mm[name]))
        plan = model_settings(sizes, name).preparation
        for number, letter in enumerate("MC"):
            for i in range(sizes.site_people):
                place = (group, f"{letter}{i:03d}", name, (sizes.seed, 2, number, i), step, work / "cohorts" / group)
                yield Person(*place, plan, mr=letter == "M", ct=letter == "C")
    elif kind == "teachers" and name in REGIONS:
        yield from teachers_of(group, model_settings(sizes, name), work / "people")
    elif kind == "teachers":
        region, seed = wave_of(name)
        yield from teachers_of(group, table_settings(sizes, region, "anatomy", seed), work / "people")
    elif kind == "held":
        step = float(min(sizes.model_mm[name]))
        for i in range(sizes.held_out):
            place = (group, f"H{i:03d}", name, (sizes.seed, 4, 0, i), step, work / "held-out" / name)
            yield Person(*place, None, mr=True, ct=True)
    elif kind == "unseen":
        yield from people_with_truth(group, name, sizes.unseen_people, work / "unseen" / name, sizes.unseen_mm)
    else:  # family
        plan = table_settings(sizes, name, "anatomy", 0).preparation
        folder = work / "cohorts" / name / "unpaired"
        yield from site_of(group, name, sizes.table_people, folder, plan, sizes.unseen_mm)


def paper_people(job: Job, preset: str) -> Iterator[Person]:
    """Those that the paper's presets are timed on."""
    sizes, group = job.sizes, f"paper-{preset}"
    region, plan = "head" if preset == "brain" else "pelvis", paper_settings(sizes, preset).preparation
    for kind, letter in enumerate("MC"):
        for i in range(sizes.paper_people):
            seed = (sizes.seed, int(preset == "pelvis"), kind, i)
            place = (group, f"{letter}{i:03d}", region, seed, sizes.paper_grown_mm[preset], job.work / "cohorts" / group)
            yield Person(*place, plan, mr=letter == "M", ct=letter == "C")


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
