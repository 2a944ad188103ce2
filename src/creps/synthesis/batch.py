"""Synthesis of many MRs: plan the outputs, run case after case, and let one bad MR not stop the others.

`run_batch` does all of it, in this process or through a `Runner`. A service does it in two steps: `plan_cases` once,
then `synthesize_case` for each case, anywhere: model and case travel by pickle.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from creps.errors import CrepsError, InputError
from creps.io.image import ImageSource
from creps.io.itk import suffix
from creps.model import Model
from creps.parallel import Runner
from creps.qa.document import QaReport
from creps.settings import InferenceSettings
from creps.synthesis.inputs import find_mr, find_mrs
from creps.synthesis.options import OutputOptions, SynthesisOptions
from creps.synthesis.outputs import FurtherOutputs, check_free, target_paths
from creps.synthesis.work import Outcome, Progress, SynthesisCase, SynthesisWork, synthesize_and_write

__all__ = [
    "BatchResult",
    "Outcome",
    "SynthesisCase",
    "plan_cases",
    "run_batch",
    "synthesize_batch",
    "synthesize_case",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchResult:
    """Results of a batch.

    Attributes:
        done: The files or folders that were written, in the order of the MRs.
        failed: MR, as it was given → why it has no sCT.
        qa: File or folder that was written → the checks of that sCT; empty if they were not asked for.
    """

    done: tuple[Path, ...] = ()
    failed: dict[Path, CrepsError] = field(default_factory=dict)
    qa: dict[Path, QaReport] = field(default_factory=dict)


def synthesize_batch(
    model: Model,
    mrs: Path | str | Iterable[Path | str],
    output: Path | str,
    settings: InferenceSettings | None = None,
    options: SynthesisOptions | None = None,
    writing: OutputOptions | None = None,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    runner: Runner | None = None,
) -> BatchResult:
    """Synthesize many MRs into a folder: `run_batch`, its outcomes collected and failures logged."""
    done: list[Path] = []
    failed: dict[Path, CrepsError] = {}
    qa: dict[Path, QaReport] = {}
    for outcome in run_batch(
        *(model, mrs, output, settings, options, writing),
        overwrite=overwrite,
        progress=progress,
        runner=runner,
    ):
        if outcome.error is not None:
            failed[outcome.mr] = outcome.error
            log.warning("%s", outcome.error)
        elif outcome.target is not None:
            done.append(outcome.target)
            if outcome.qa is not None:
                qa[outcome.target] = outcome.qa
    return BatchResult(tuple(done), failed, qa)


def run_batch(
    model: Model,
    mrs: Path | str | Iterable[Path | str],
    output: Path | str,
    settings: InferenceSettings | None = None,
    options: SynthesisOptions | None = None,
    writing: OutputOptions | None = None,
    *,
    series: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    runner: Runner | None = None,
) -> Iterator[Outcome]:
    """Synthesize many MRs; yield what became of each, in their order.

    An MR that is missing or cannot be used, and one on which the network fails, is an outcome with an error. A wrong
    setting would end all of them alike and is raised.

    Args:
        model: The trained model.
        mrs: A folder of MRs (see `find_mrs`), or volume files and DICOM folders.
        output: The folder to write into; for a single MR also a volume file.
        settings: Overlap, fusion, device, precision; default: the plan's.
        options: What decides the voxels of every sCT.
        writing: How every sCT is written.
        series: DICOM series of a folder that holds several, see `find_mr`.
        overwrite: Replace what creps wrote there before.
        progress: Called with (patches done, patches of this MR, its name); with a runner, with (MRs done, MRs, name).
        runner: Does the cases elsewhere; None: one after the other in this process.

    Raises:
        InputError: there is no MR, two would be written to one place, or an option belongs to one MR only.
        OutputExistsError: a target is there already.
        SettingsError: a setting does not fit the model.
    """
    options, writing = options or SynthesisOptions(), writing or OutputOptions()
    paths = find_mrs(mrs) if isinstance(mrs, (Path, str)) else [_path(mr) for mr in mrs]
    if not paths:
        raise InputError("There is no MR to synthesize.", "Give volume files, or folders of DICOM series.")
    for name, value in {
        "series": series,
        "mask": options.mask,
        "pseudonym": writing.pseudonym,
        "overrides": options.overrides or None,
    }.items():
        if len(paths) > 1 and value is not None:
            raise InputError(
                f"'{name}' belongs to one MR, but there are {len(paths)}.", "Synthesize that MR by itself."
            )
    found = [_found(path, series) for path in paths]
    sources = [one for one in found if isinstance(one, ImageSource)]
    may_be_there = overwrite or runner is not None
    cases = plan_cases(sources, Path(output), options, writing, overwrite=may_be_there, given=len(paths))
    work = SynthesisWork(model, settings, progress if runner is None else None)
    if runner is not None and not overwrite:
        _check_new([case for case in cases if not runner.knows(work, case)], sources)
    outcomes = map(work.do, cases) if runner is None else _elsewhere(runner, work, cases, progress)
    for path, one in zip(paths, found, strict=True):
        yield Outcome(path, error=one) if isinstance(one, CrepsError) else replace(next(outcomes), mr=path)


def plan_cases(
    sources: Sequence[ImageSource],
    output: Path,
    options: SynthesisOptions,
    writing: OutputOptions,
    *,
    overwrite: bool,
    given: int | None = None,
) -> list[SynthesisCase]:
    """A case for each MR, with its output checked before anything is computed.

    Args:
        sources: The MRs.
        output: A volume file (one MR only) or a folder.
        options: What decides the voxels; a grid that is not named becomes the usual one of each output.
        writing: How every sCT is written.
        overwrite: Whether what creps wrote may be replaced.
        given: How many MRs were given, if some of them cannot be used; default: those in `sources`.

    Raises:
        InputError: several MRs for one file, or options that an output cannot have.
        OutputExistsError: a target is there already, or is an input.
        SettingsError: no such grid.
    """
    cases = []
    targets = target_paths(sources, output, overwrite, FurtherOutputs.requested(options, writing), given=given)
    for source, target in zip(sources, targets, strict=True):
        dicom = not suffix(target)
        writing.check_target(target, dicom_source=source.series is not None, dicom_target=dicom)
        cases.append(SynthesisCase(source, target, replace(options, grid=options.grid_for(dicom=dicom)), writing))
    return cases


def synthesize_case(model: Model, case: SynthesisCase) -> Path:
    """Read, synthesize and write one case with the model's inference settings; both arguments can be pickled.

    Returns:
        Where the sCT was written.

    Raises:
        CrepsError: the MR or a setting cannot be used, or the network fails.
    """
    synthesize_and_write(model, case, None, None)
    return case.target


def _check_new(cases: Sequence[SynthesisCase], sources: Sequence[ImageSource]) -> None:
    """Refuse targets that exist, apart from those that an interrupted run of the same wrote."""
    for case in cases:
        further = FurtherOutputs.requested(case.options, case.output)
        check_free([case.target], sources, overwrite=False, further=further)


def _elsewhere(
    runner: Runner, work: SynthesisWork, cases: Sequence[SynthesisCase], progress: Progress | None
) -> Iterator[Outcome]:
    """The outcomes in the order of the cases; `progress` counts cases."""
    arrived: dict[int, Outcome] = {}
    due = 0
    for done, (index, outcome) in enumerate(runner(work, cases), start=1):
        arrived[index] = outcome
        if progress is not None:
            progress(done, len(cases), cases[index].source.label)
        while due in arrived:
            yield arrived.pop(due)
            due += 1


def _found(path: Path, series: str | None) -> ImageSource | CrepsError:
    try:
        return find_mr(path, series)
    except InputError as error:
        return error


def _path(given: object) -> Path:
    if not isinstance(given, (Path, str)):
        raise InputError(f"An MR is of the type {type(given).__name__}.", "Give the paths of files and folders.")
    return Path(given)
