"""``creps prepare``: MR and CT of different patients → a prepared cohort."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from creps.cohort.case import Task, failure_of, fingerprint, prepare_case
from creps.cohort.cohort import Case, Cohort, Failure, Manifest, Split, load_cohort
from creps.cohort.screening import Screened, check_usable, drop_outliers, screen
from creps.cohort.sources import Source, find_sources
from creps.cohort.splits import assign_splits
from creps.cohort.staging import Staging
from creps.cohort.table import read_table
from creps.errors import CohortError, CrepsError, InputError, OutputExistsError, SettingsError
from creps.machine import available_bytes, cores
from creps.parallel import WorkerDied, run_all
from creps.provenance import provenance
from creps.settings import PreparationSettings, Settings

__all__ = ["find_all_sources", "prepare", "sensible_jobs"]

Progress = Callable[[int, int, str], None]

log = logging.getLogger(__name__)

SERIAL_VOXELS = 20e6
"""A cohort with fewer voxels is prepared sooner than further processes are started."""

BYTES_PER_VOXEL = 24
"""Memory that preparing takes per voxel of the source's grid and of the model's together (12 to 21 were measured)."""

BYTES_PER_PROCESS = 300e6


def prepare(
    source: Path | str,
    second: Path | str | None,
    folder: Path | str,
    settings: Settings,
    progress: Progress | None = None,
    *,
    jobs: int | None = 1,
    resume: bool = False,
    series: str | None = None,
) -> Cohort:
    """Prepare a cohort. It appears whole; what an interrupted run has prepared is taken over by the next.

    Args:
        source: A CSV file (see `read_table`), a folder of patients, or a folder of MR (see `find_sources`).
        second: A folder of CT, of other patients, in any number; None with a CSV file or a folder of patients.
        folder: The cohort to write.
        settings: What `settings.preparation` says is done.
        progress: Called with (cases done, cases in all, case).
        jobs: Processes; None for as many as cores and memory allow.
        series: Of a patient's several DICOM series the one whose description holds this text.
        resume: Go on from a finished cohort in `folder`: prepare what is missing or changed and replace it.

    Returns:
        The cohort; `Cohort.failures` are the images that could not be prepared.

    Raises:
        InputError: the sources cannot be used, or `folder` is there already.
        CohortError: no MR or no CT is left.
    """
    folder = Path(folder).resolve()
    _check_target(folder, settings, resume)
    sources = find_all_sources(Path(source), None if second is None else Path(second), series)
    screened = screen(sources)
    with Staging(folder) as staging:
        old = _check_target(folder, settings, resume)  # again: it may have appeared while this one was looking
        if old is not None:
            staging.take_over(old)
        tasks = [Task(one, staging.folder, settings.preparation) for one in screened.sources]
        jobs = sensible_jobs(screened, settings.preparation) if jobs is None else jobs
        prepared, failures = _prepare_all(tasks, jobs, progress)
        prepared, dropped = drop_outliers(prepared, settings.preparation)
        failures += [_dropped(case, error) for case, error in dropped]
        for failure in failures:
            log.warning("%s", failure)
        check_usable(prepared, failures)
        splits = _splits(sources, prepared, settings.preparation, old)
        _warn_if_empty(prepared, splits, settings.preparation)
        cases = tuple(case.model_copy(update={"split": splits[case.patient]}) for case in prepared)
        manifest = Manifest(
            preset=settings.preset, preparation=settings.preparation, cases=cases, provenance=provenance()
        )
        return staging.publish(manifest, failures)


def find_all_sources(source: Path, second: Path | None, series: str | None = None) -> list[Source]:
    """The MR and CT that one or two arguments name.

    Raises:
        InputError: they cannot be used.
        CohortError: they name no MR, or no CT.
    """
    if source.suffix.lower() == ".csv":
        if second is not None:
            raise InputError(f"{source} lists MR and CT, but {second} is given as well.", "Give the CSV file alone.")
        if series is not None:
            raise InputError(f"{source} lists images, but a series is chosen as well.", "Use its column 'series'.")
        sources = read_table(source)
    elif second is None or second.resolve() == source.resolve():
        sources = find_sources(source, None, series)
    else:
        sources = find_sources(source, "mr", series) + find_sources(second, "ct", series)
    for modality in ("mr", "ct"):
        if not any(one.modality == modality for one in sources):
            raise CohortError(
                f"{source} holds no {modality.upper()}.", "A cohort needs MR and CT, of different patients."
            )
    return sources


def sensible_jobs(screened: Screened, preparation: PreparationSettings) -> int:
    """As many processes as cores and memory allow; one for a small cohort."""
    if screened.voxels < SERIAL_VOXELS:
        return 1
    d, h, w = preparation.spacing_mm
    voxels = screened.largest_voxels + screened.largest_mm3 / (d * h * w)
    each = BYTES_PER_PROCESS + BYTES_PER_VOXEL * voxels
    return max(1, min(cores(), int(0.8 * available_bytes() / each)))


def _check_target(folder: Path, settings: Settings, resume: bool) -> Cohort | None:
    """The cohort to go on from, if there is one."""
    if not folder.exists():
        return None
    if not resume:
        raise OutputExistsError(
            f"{folder} is already there.", "Name another folder, delete this one first, or add --resume to a cohort."
        )
    if folder == Path.cwd() or folder in Path.cwd().parents:
        raise InputError(f"{folder} is the current folder or holds it.", "Go to another folder: it is replaced.")
    cohort = load_cohort(folder)
    before, now = fingerprint(cohort.manifest.preparation), fingerprint(settings.preparation)
    changed = next((name for name in now if before[name] != now[name]), None)
    if changed is not None:
        raise SettingsError(
            f"{folder} was prepared with preparation.{changed} = {before[changed]}, the settings ask for"
            f" {now[changed]}.",
            "Resume with the settings it was prepared with, or prepare into another folder.",
        )
    return cohort


def _prepare_all(tasks: Sequence[Task], jobs: int, progress: Progress | None) -> tuple[list[Case], list[Failure]]:
    """Prepare every case, in any order; the results are in the order of the tasks."""
    cases: dict[int, Case] = {}
    failures: dict[int, Failure] = {}
    reused = 0
    if progress is not None:
        progress(0, len(tasks), "")
    for done, (index, outcome) in enumerate(run_all(prepare_case, tasks, jobs), start=1):
        source = tasks[index].source
        if isinstance(outcome, WorkerDied):
            reason = InputError(
                f"The process that prepared {source.name} was ended, probably for want of memory.",
                "Run again with fewer jobs.",
            )
            failures[index] = failure_of(source, reason)
        elif outcome.case is not None:
            cases[index] = outcome.case.model_copy(
                update={"patient": source.patient, "centre": source.centre, "source": source.shown}
            )
            reused += outcome.reused
        elif outcome.failure is not None:
            failures[index] = outcome.failure
        if progress is not None:
            progress(done, len(tasks), f"{source.modality} {source.case}")
    if reused:
        log.info("%d of %d cases were prepared before and are taken over", reused, len(tasks))
    return [cases[i] for i in sorted(cases)], [failures[i] for i in sorted(failures)]


def _splits(
    sources: Sequence[Source], cases: Sequence[Case], preparation: PreparationSettings, old: Cohort | None
) -> dict[str, Split]:
    """Split all patients that were found, so that a repaired file moves nobody; anew if failures emptied a part.

    Patients of the cohort that is gone on from keep their split.
    """
    known = {case.patient: case.split for case in old.manifest.cases} if old is not None else {}
    splits = assign_splits(sources, preparation, known)
    for modality in ("mr", "ct"):
        wanted = {splits[source.patient] for source in sources if source.modality == modality}
        left = {splits[case.patient] for case in cases if case.modality == modality}
        if wanted != left:
            usable = {(case.modality, case.case) for case in cases}
            return assign_splits([s for s in sources if (s.modality, s.case) in usable], preparation, known)
    return splits


def _warn_if_empty(cases: Sequence[Case], splits: dict[str, Split], preparation: PreparationSettings) -> None:
    """A part without a case is not what was asked for: all in validation is refused, an empty validation is said."""
    if all(splits[case.patient] == "validation" for case in cases):
        raise CohortError("All cases are in validation; none is left to train on.", "Put some into training.")
    for modality in ("mr", "ct"):
        parts = {splits[case.patient] for case in cases if case.modality == modality}
        if preparation.validation_fraction > 0 and "validation" not in parts:
            log.warning("No %s is in validation: there are too few patients, or the table says so.", modality.upper())


def _dropped(case: Case, error: CrepsError) -> Failure:
    return Failure(modality=case.modality, case=case.case, source=case.source, reason=error.what, remedy=error.remedy)
