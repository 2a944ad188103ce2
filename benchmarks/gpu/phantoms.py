"""Grow all phantoms of the job, many at a time, and prepare them: nothing here needs a GPU or a file format.

Groups are grown in the order in which the parts need them. A group that is complete leaves a file, for which the
conductor waits.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from pathlib import Path

import numpy as np

from benchmarks.gpu.job import Job, group_file
from benchmarks.gpu.settings import arm_settings, paper_settings
from creps.cohort.cohort import Case, Cohort, Manifest, Modality, Split
from creps.io.atomic import write_json
from creps.parallel import WorkerDied, run_all
from creps.phantom.cohort import REGIONS
from creps.phantom.patient import Phantom, grow_patient
from creps.preprocessing.mask import body_box
from creps.preprocessing.preparation import Prepared, prepare_ct, prepare_mr
from creps.provenance import provenance
from creps.settings import PreparationSettings, Settings
from creps.volume import Volume

__all__ = ["TruePatient", "grow_phantoms", "load_patient"]


@dataclass(frozen=True)
class Person:
    """A phantom to grow.

    Attributes:
        group: What it belongs to.
        name: Its name, unique in its group.
        region: head or pelvis.
        seed: Seed of the person.
        spacing_mm: Voxel size.
        folder: Where its arrays go.
        preparation: How it is prepared; None keeps the images as the scanner gives them.
        split: Of a training cohort.
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
    split: Split = "train"
    mr: bool = False
    ct: bool = False


@dataclass(frozen=True)
class TruePatient:
    """A held-out phantom.

    Attributes:
        mr: As the scanner gives it.
        truth_hu: (D, H, W) its CT without noise, if it was acquired.
        body: (D, H, W) body mask.
    """

    mr: Volume
    truth_hu: np.ndarray | None
    body: np.ndarray


def grow_phantoms(job: Job) -> None:
    """Grow everybody, group by group."""
    people = list(everybody(job))
    waiting = {name: len(list(members)) for name, members in groupby(people, lambda person: person.group)}
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


def everybody(job: Job) -> Iterator[Person]:
    """All phantoms in the order in which they are needed; no person is in two groups."""
    sizes, work = job.sizes, job.work
    for number, preset in enumerate(("brain", "pelvis")):
        region = "head" if preset == "brain" else "pelvis"
        group, plan = f"paper-{preset}", paper_settings(sizes, preset).preparation
        for kind, letter in enumerate("MC"):
            for i in range(sizes.paper_people):
                seed = (sizes.seed, number, kind, i)
                place = (
                    group,
                    f"{letter}{i:03d}",
                    region,
                    seed,
                    sizes.paper_grown_mm[preset],
                    work / "cohorts" / group,
                )
                yield Person(*place, plan, mr=letter == "M", ct=letter == "C")
        if preset == "brain":
            yield Person("sct", "head", "head", (sizes.seed, 5, 0, 0), sizes.sct_mm, work / "sct", None, mr=True)
    plan = arm_settings(sizes, "anatomy").preparation
    splits: dict[Split, int] = {"train": sizes.train_people, "validation": sizes.validation_people}
    for kind, letter in enumerate("MC"):
        for split, count in splits.items():
            for i in range(count):
                seed = (sizes.seed, 2 if split == "train" else 3, kind, i)
                name = f"{letter}{'' if split == 'train' else 'V'}{i:03d}"
                place = ("train", name, sizes.region, seed, sizes.train_mm, work / "cohorts" / "unpaired")
                yield Person(*place, plan, split, mr=True, ct=letter == "C")
    for i in range(sizes.held_out):
        place = ("held-out", f"H{i:03d}", sizes.region, (sizes.seed, 4, 0, i), sizes.train_mm, work / "held-out")
        yield Person(*place, None, mr=True, ct=True)


def grow(person: Person) -> list[Case]:
    """Grow one phantom and store it; what is timed elsewhere goes first."""
    os.nice(max(0, 10 - os.nice(0)))
    region = REGIONS[person.region]
    centre = person.seed[-1] % len(region.mr_centres)
    phantom = grow_patient(region, list(person.seed), person.spacing_mm, mr=person.mr, ct=person.ct, centre=centre)
    person.folder.mkdir(parents=True, exist_ok=True)
    if person.preparation is None:
        store_true(person, phantom)
        return []
    cases = []
    if phantom.mr is not None:
        prepared = prepare_mr(phantom.mr, person.preparation, person.name, phantom.mask)
        cases.append(store(person, "mr", prepared))
    if phantom.ct is not None:
        cases.append(store(person, "ct", prepare_ct(phantom.ct, person.preparation, person.name, phantom.mask)))
    return cases


def store(person: Person, modality: Modality, prepared: Prepared) -> Case:
    """Write the arrays of a case of a cohort."""
    for kind, array in ((modality, prepared.array), (f"{modality}_body", prepared.body)):
        (person.folder / kind).mkdir(exist_ok=True)
        np.save(person.folder / kind / f"{person.name}.npy", array)
    grid, digest = prepared.grid, sha256(prepared.array.tobytes() + prepared.body.tobytes()).hexdigest()
    low, middle, high = prepared.intensity
    return Case(
        case=person.name,
        patient=person.name,
        modality=modality,
        split=person.split,
        shape=grid.shape,
        spacing_mm=grid.spacing_mm,
        origin_mm=grid.origin_mm,
        direction=tuple(grid.direction.ravel().tolist()),
        body=body_box(prepared.body),  # type: ignore[arg-type]
        mr_divisor=prepared.mr_divisor,
        source=f"phantom {person.name}",
        source_sha256=digest,
        intensity_p01=low,
        intensity_p50=middle,
        intensity_p99=high,
        prepared_sha256=digest,
    )


def store_true(person: Person, phantom: Phantom) -> None:
    """Write a patient that is synthesized, with the truth."""
    if phantom.mr is None:
        raise ValueError("a held-out phantom needs an MR")
    truth = {} if phantom.ct_noise_free is None else {"truth_hu": phantom.ct_noise_free.array}
    mr = phantom.mr
    np.savez(
        person.folder / f"{person.name}.npz",
        mr=mr.array,
        body=phantom.mask.array > 0,
        spacing_mm=mr.spacing_mm,
        origin_mm=mr.origin_mm,
        direction=mr.direction,
        **truth,
    )


def load_patient(path: Path) -> TruePatient:
    """Read a patient that `grow_phantoms` has left."""
    with np.load(path) as kept:
        spacing, origin = (tuple(kept[name].tolist()) for name in ("spacing_mm", "origin_mm"))
        truth = kept.get("truth_hu")
        return TruePatient(Volume(kept["mr"], spacing, origin, kept["direction"]), truth, kept["body"])


def finish(job: Job, group: str, cases: list[Case]) -> None:
    """Write a group's manifest, and the file that says that it is complete."""
    cases.sort(key=lambda case: (case.modality, case.case))
    if group.startswith("paper-"):
        save_manifest(job.work / "cohorts" / group, paper_settings(job.sizes, group.removeprefix("paper-")), cases)
    if group == "train":
        folder, chosen = job.work / "cohorts" / "unpaired", arm_settings(job.sizes, "anatomy")
        own = {case.case for case in cases if case.modality == "ct"}
        paired = folder.with_name("paired")
        paired.mkdir()
        for kind in ("mr", "ct", "mr_body", "ct_body"):
            (paired / kind).symlink_to(folder / kind)
        save_manifest(paired, chosen, [case for case in cases if case.case in own])
        save_manifest(folder, chosen, [case for case in cases if (case.modality == "ct") == (case.case in own)])
    write_json(group_file(job.work, group), {"people": len({case.patient for case in cases})})


def save_manifest(folder: Path, chosen: Settings, cases: list[Case]) -> None:
    """Make a folder of arrays a cohort."""
    manifest = Manifest(
        preset=chosen.preset,
        recipe=chosen.recipe,
        preparation=chosen.preparation,
        cases=tuple(cases),
        provenance=provenance(),
    )
    Cohort(folder, manifest).save_manifest()
