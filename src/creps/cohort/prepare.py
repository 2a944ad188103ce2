"""``creps prepare``: from MR and CT of different patients to a prepared cohort."""

from __future__ import annotations

import logging
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from creps.cohort.assumptions import with_warnings
from creps.cohort.case import ONLY_SPLITTING, Outcome, Task, failure_of, fingerprint, prepare_case
from creps.cohort.cohort import Case, Cohort, Failure, Manifest, Split, load_cohort
from creps.cohort.patients import one_patient, patient_key, warn_of_similar_patients
from creps.cohort.screening import Screened, check_usable, drop_badly_scaled, drop_outliers, log_notes, screen
from creps.cohort.sources import Source, find_sources
from creps.cohort.splits import assign_splits
from creps.cohort.staging import Staging
from creps.cohort.table import read_table
from creps.errors import CohortError, CrepsError, InputError, OutputExistsError, SettingsError
from creps.machine import affordable_processes
from creps.parallel import Runner, Work, WorkerDied, run_all
from creps.phantom import REGIONS
from creps.provenance import provenance
from creps.regions import part_of_body
from creps.settings import PreparationSettings, Settings, load_settings

__all__ = ["find_all_sources", "prepare", "sensible_jobs"]

Progress = Callable[[int, int, str], None]

SPLIT_SETTINGS = tuple(f"preparation.{name}" for name in sorted(ONLY_SPLITTING))
"""Settings that may differ from those of a model whose preparation is used."""

log = logging.getLogger(__name__)

SERIAL_VOXELS = 20e6
"""Starting further processes takes longer than preparing a cohort with fewer voxels."""

BYTES_PER_VOXEL = 24
"""Memory per voxel of the original and the resampled grid together (12 to 21 were measured)."""

BYTES_PER_PROCESS = 300e6

WITHOUT_MR = "Every recipe needs MRs like those to synthesize from: add at least one."

WITHOUT_CT = (
    "A cohort needs MR and CT, of different patients. Only recipe anatomy can do without CT, for the regions"
    f" brain, {', '.join(REGIONS)}."
)

PHANTOMS_ONLY = "train on phantoms alone with --simulation.phantom_share 1, or add CTs of any patients."


def prepare(
    sources: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    preset: str | None = None,
    recipe: str | None = None,
    settings: Settings | str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    like: Settings | None = None,
    jobs: int | None = None,
    resume: bool = False,
    series: str | None = None,
    progress: Progress | None = None,
    runner: Runner | None = None,
) -> Cohort:
    """Prepare MR and CT of different patients for training.

    The cohort appears when it is complete. If the run is interrupted, the next one continues with what it finished.

    Args:
        sources: A CSV table (see `read_table`), a folder with one folder per patient, or two folders: MR, then CT
            (see `find_sources`).
        output: Folder of the cohort; must not exist, unless `resume` is set.
        preset: Preset that the settings start from: brain (the default), pelvis, demo or demo-pelvis.
        recipe: Recipe to prepare for; default: anatomy. ``paper`` is the exact preparation of the paper.
        settings: A YAML file, or complete `Settings`.
        overrides: Single settings, such as ``{"preparation.spacing_mm": [1, 1, 1]}``.
        like: Prepare exactly as these settings say, apart from the split: those of a model or of another cohort.
        jobs: Number of processes; default: as many as cores and memory allow.
        resume: Continue a finished cohort in `output`: prepare what is missing or has changed.
        series: Text in the description of the DICOM series to use, for patients with several.
        progress: Called with (cases done, cases in total, name of the case).
        runner: Prepares the cases elsewhere, instead of `jobs` processes.

    Returns:
        The cohort. `Cohort.failures` lists images that could not be prepared.

    Raises:
        InputError: the sources cannot be used, or `output` already exists.
        SettingsError: a setting is wrong, or settings contradict each other.
        CohortError: no MR or no CT can be used.
    """
    folder = _output_folder(output)
    if jobs is not None and (not isinstance(jobs, int) or jobs < 1):
        raise SettingsError(f"{jobs!r} is not a number of jobs.", "Use 1 or more, or None.")
    chosen = _settings(preset, recipe, settings, overrides, like)
    _check_target(folder, chosen, resume)
    found = find_all_sources(sources, series, ct_needed=not _can_do_without_ct(chosen))
    screened = screen(found)
    with Staging(folder) as staging:
        old = _check_target(folder, chosen, resume)  # again: it may have appeared in the meantime
        if old is not None:
            staging.take_over(old)
        tasks = [Task(source, staging.folder, chosen.preparation) for source in screened.sources]
        jobs = sensible_jobs(screened, chosen.preparation) if jobs is None else jobs
        prepared, failures = _prepare_all(tasks, jobs, progress, runner)
        prepared, outliers = drop_outliers(prepared, chosen.preparation)
        prepared, unusable = drop_badly_scaled(prepared, chosen.preparation)
        failures += [_outlier_failure(case, error) for case, error in (*outliers, *unusable)]
        for failure in failures:
            log.warning("%s", failure)
        prepared = with_warnings(prepared, found, chosen)
        log_notes(prepared)
        warn_of_similar_patients(prepared)
        check_usable(prepared, failures, {source.modality for source in found})
        splits = _splits(found, prepared, chosen.preparation, old)
        _check_parts(prepared, splits, chosen.preparation)
        if not any(case.modality == "ct" for case in prepared):
            log.warning("The cohort has no CT: %s", PHANTOMS_ONLY)
        manifest = Manifest(
            preset=chosen.preset,
            recipe=chosen.recipe,
            preparation=chosen.preparation,
            cases=tuple(case.model_copy(update={"split": splits[case.patient]}) for case in prepared),
            provenance=provenance(),
        )
        return staging.publish(manifest, failures)


def find_all_sources(
    sources: str | Path | Sequence[str | Path], series: str | None = None, *, ct_needed: bool = True
) -> list[Source]:
    """Find the MR and CT in a table, a folder of patients, or a folder of MR and one of CT.

    Args:
        sources: One path or two.
        series: Text in the description of the DICOM series to use, for patients with several.
        ct_needed: Refuse sources without CT.

    Raises:
        InputError: the sources cannot be used.
        CohortError: they contain no MR, or no CT.
    """
    paths = [sources] if isinstance(sources, str | Path) else sources
    if not isinstance(paths, Sequence) or not 1 <= len(paths) <= 2 or not all(isinstance(p, str | Path) for p in paths):
        raise InputError(
            f"{reprlib.repr(sources)} are not the sources of a cohort.",
            "Give a CSV table, a folder of patients, or a folder of MR and one of CT.",
        )
    first, second = Path(paths[0]), Path(paths[-1])
    if first.suffix.lower() == ".csv":
        if len(paths) == 2:
            raise InputError(f"{first} lists MR and CT, but {second} is given as well.", "Give the CSV file alone.")
        if series is not None:
            raise InputError(f"{first} lists images, but a series is chosen as well.", "Use its column 'series'.")
        found = read_table(first)
    elif second.resolve() == first.resolve():
        found = find_sources(first, None, series)
    else:
        found = find_sources(first, "mr", series) + find_sources(second, "ct", series)
    there = {source.modality for source in found}
    if "mr" not in there:
        raise CohortError(f"{first} holds no MR.", WITHOUT_MR)
    if "ct" not in there and ct_needed:
        raise CohortError(f"{first} holds no CT.", WITHOUT_CT)
    return one_patient(found)


def _can_do_without_ct(settings: Settings) -> bool:
    """Whether a recipe can learn from phantoms alone."""
    return settings.simulates_only and part_of_body(settings.preparation.region) in REGIONS


def sensible_jobs(screened: Screened, preparation: PreparationSettings) -> int:
    """The number of processes that cores and memory allow; one for a small cohort."""
    if screened.voxels < SERIAL_VOXELS:
        return 1
    d, h, w = preparation.spacing_mm
    voxels = screened.largest_voxels + screened.largest_mm3 / (d * h * w)
    return affordable_processes(BYTES_PER_PROCESS + BYTES_PER_VOXEL * voxels)


def _output_folder(output: str | Path) -> Path:
    if not isinstance(output, str | Path):
        raise InputError(f"{output!r} is not a folder.", "Give the path of the cohort to write.")
    return Path(output).resolve()


def _settings(
    preset: str | None,
    recipe: str | None,
    settings: Settings | str | Path | None,
    overrides: Mapping[str, Any] | None,
    like: Settings | None,
) -> Settings:
    """The settings to prepare with, from whatever the caller gave."""
    given = [name for name, value in (("preset", preset), ("recipe", recipe)) if value is not None]
    if like is not None:
        given += ["settings"] if settings is not None else []
        given += [key for key in overrides or () if key not in SPLIT_SETTINGS]
        if given:
            raise SettingsError(
                f"The preparation of a model is used, but {given[0]} is given as well.", "Give one of them."
            )
        preparation = {f"preparation.{name}": value for name, value in like.preparation.model_dump().items()}
        return load_settings(like.preset, recipe=like.recipe, overrides=preparation | dict(overrides or {}))
    if isinstance(settings, Settings):
        given += list(overrides or ())
        if given:
            raise SettingsError(f"Complete settings are given, but {given[0]} is given as well.", "Give one of them.")
        return settings
    return load_settings(preset, settings, overrides, recipe=recipe)


def _check_target(folder: Path, settings: Settings, resume: bool) -> Cohort | None:
    """Check that the cohort may be written; return the one to continue, if there is one."""
    if not folder.exists():
        return None
    if not resume:
        raise OutputExistsError(
            f"{folder} already exists.",
            "Name another folder, delete this one, or add --resume (resume=True) to continue a cohort.",
        )
    if folder == Path.cwd() or folder in Path.cwd().parents:
        raise InputError(
            f"{folder} is the current folder or contains it.", "Change to another folder, since this one is replaced."
        )
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


class _Preparing(Work[Task, Outcome]):
    """Prepares a case; the records in the staging folder let a later run reuse it."""

    def do(self, task: Task) -> Outcome:
        """Prepare one case."""
        return prepare_case(task)

    def lost(self, task: Task, died: WorkerDied) -> Outcome:
        """The case as a failure."""
        reason = InputError(f"The process that prepared {task.source.name} {died.how}.", died.remedy)
        return Outcome(failure=failure_of(task.source, reason))


def _outcomes(tasks: Sequence[Task], jobs: int, runner: Runner | None) -> Iterator[tuple[int, Outcome]]:
    """Index and outcome of each task, as they arrive."""
    preparing = _Preparing()
    if runner is not None:
        yield from runner(preparing, tasks)
        return
    for index, result in run_all(prepare_case, tasks, jobs):
        yield index, preparing.lost(tasks[index], result) if isinstance(result, WorkerDied) else result


def _prepare_all(
    tasks: Sequence[Task], jobs: int, progress: Progress | None, runner: Runner | None
) -> tuple[list[Case], list[Failure]]:
    """Prepare every case; return cases and failures in the order of the tasks."""
    cases: dict[int, Case] = {}
    failures: dict[int, Failure] = {}
    reused = 0
    if progress is not None:
        progress(0, len(tasks), "")
    for done, (index, outcome) in enumerate(_outcomes(tasks, jobs, runner), start=1):
        source = tasks[index].source
        if outcome.case is not None:
            cases[index] = outcome.case.model_copy(
                update={
                    "patient": source.patient,
                    "centre": source.centre,
                    "source": source.shown,
                    "patient_from": source.patient_from,
                }
            )
            reused += outcome.reused
        elif outcome.failure is not None:
            failures[index] = outcome.failure
        if progress is not None:
            progress(done, len(tasks), f"{source.modality} {source.case}")
    if reused:
        log.info("%d of %d cases had been prepared before", reused, len(tasks))
    return [cases[i] for i in sorted(cases)], [failures[i] for i in sorted(failures)]


def _splits(
    sources: Sequence[Source], cases: Sequence[Case], preparation: PreparationSettings, old: Cohort | None
) -> dict[str, Split]:
    """Split all patients that were found, including those whose images failed, so that repairing a file moves nobody.

    Patients of a continued cohort keep their split. If failures emptied a part, only usable cases are split.
    """
    known: dict[str, Split] = {}
    if old is not None:
        before = {patient_key(case.patient): case.split for case in old.manifest.cases}
        known = {s.patient: before[key] for s in sources if (key := patient_key(s.patient)) in before}
        known |= {case.patient: case.split for case in old.manifest.cases}
    splits = assign_splits(sources, preparation, known)
    for modality in ("mr", "ct"):
        intended = {splits[source.patient] for source in sources if source.modality == modality}
        left = {splits[case.patient] for case in cases if case.modality == modality}
        if intended != left:
            usable = {(case.modality, case.case) for case in cases}
            return assign_splits([s for s in sources if (s.modality, s.case) in usable], preparation, known)
    return splits


def _check_parts(cases: Sequence[Case], splits: dict[str, Split], preparation: PreparationSettings) -> None:
    """Refuse an empty training part; warn about an empty validation part."""
    if all(splits[case.patient] == "validation" for case in cases):
        raise CohortError("All cases are in validation, so none is left for training.", "Put some into training.")
    for modality in ("mr", "ct"):
        parts = {splits[case.patient] for case in cases if case.modality == modality}
        if parts and preparation.validation_fraction > 0 and "validation" not in parts:
            log.warning("No %s is in validation: too few patients, or the table puts none there.", modality.upper())


def _outlier_failure(case: Case, error: CrepsError) -> Failure:
    return Failure(modality=case.modality, case=case.case, source=case.source, reason=error.what, remedy=error.remedy)
