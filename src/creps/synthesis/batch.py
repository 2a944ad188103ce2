"""Synthesis of many MRs: plan the outputs, run case after case, and let one bad MR not stop the others.

`run_batch` does all of it in this process. A service or a cluster does it in two steps: `plan_cases` once, then
`synthesize_case` for each case, anywhere: model and case travel by pickle.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from creps.errors import CrepsError, InputError, ModelError
from creps.io.dicom.write.identity import SourceSeries
from creps.io.image import ImageSource
from creps.io.itk import suffix
from creps.model import Model
from creps.qa.document import QaReport
from creps.settings import InferenceSettings
from creps.synthesis.inputs import find_mr, find_mrs
from creps.synthesis.options import OutputOptions, SynthesisOptions
from creps.synthesis.outputs import target_paths
from creps.synthesis.synthesize import synthesize_source
from creps.synthesis.writing import write_synthesis

__all__ = [
    "BatchResult",
    "Outcome",
    "SynthesisCase",
    "plan_cases",
    "run_batch",
    "synthesize_batch",
    "synthesize_case",
]

Progress = Callable[[int, int, str], None]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SynthesisCase:
    """One MR of a batch; it travels to another process or machine by pickle.

    Attributes:
        source: The MR.
        target: Where its sCT goes: a volume file, or the folder of a DICOM series.
        options: What decides its voxels; the grid is named.
        output: How it is written.
    """

    source: ImageSource
    target: Path
    options: SynthesisOptions
    output: OutputOptions


@dataclass(frozen=True)
class Outcome:
    """What became of one MR.

    Attributes:
        mr: The MR, as it was given.
        target: The file or folder that was written; None if the MR failed.
        error: Why there is no sCT; None if there is one.
        qa: The checks of the sCT; None if there is no sCT, or they were not asked for.
    """

    mr: Path
    target: Path | None = None
    error: CrepsError | None = None
    qa: QaReport | None = None


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
    series: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> BatchResult:
    """Synthesize many MRs into a folder: `run_batch`, its outcomes collected and failures logged."""
    done: list[Path] = []
    failed: dict[Path, CrepsError] = {}
    qa: dict[Path, QaReport] = {}
    for outcome in run_batch(
        model, mrs, output, settings, options, writing, series=series, overwrite=overwrite, progress=progress
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
) -> Iterator[Outcome]:
    """Synthesize many MRs, one after the other; yield what became of each, in their order.

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
        progress: Called with (patches done, patches of this MR, its name).

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
    cases = iter(plan_cases(sources, Path(output), options, writing, overwrite=overwrite, given=len(paths)))
    for path, one in zip(paths, found, strict=True):
        if isinstance(one, CrepsError):
            yield Outcome(path, error=one)
            continue
        try:
            case = next(cases)
            yield Outcome(path, case.target, qa=_synthesized(model, case, settings, progress))
        except (InputError, ModelError) as error:
            yield Outcome(path, error=error)


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
    targets = target_paths(
        sources,
        output,
        overwrite,
        given=given,
        uncertainty=options.uncertainty,
        bulk=writing.bulk is not None,
        report=writing.report,
        derived=[one.folder for one in options.derived],
    )
    for source, target in zip(sources, targets, strict=True):
        dicom = not suffix(target)
        writing.check_target(target, dicom_source=source.series is not None, dicom_target=dicom)
        cases.append(SynthesisCase(source, target, replace(options, grid=options.grid_for(dicom=dicom)), writing))
    return cases


def synthesize_case(
    model: Model,
    case: SynthesisCase,
    settings: InferenceSettings | None = None,
    progress: Progress | None = None,
) -> Path:
    """Read, synthesize and write one case; every argument but `progress` can be pickled.

    Returns:
        Where the sCT was written.

    Raises:
        CrepsError: the MR or a setting cannot be used, or the network fails.
    """
    _synthesized(model, case, settings, progress)
    return case.target


def _synthesized(
    model: Model, case: SynthesisCase, settings: InferenceSettings | None, progress: Progress | None
) -> QaReport | None:
    """Read, synthesize, write and check one case."""
    report = None if progress is None else lambda done, total: progress(done, total, case.source.label)
    series = None if suffix(case.target) else case.source.series
    identity = None if series is None else SourceSeries.of(series)  # an unusable identity is refused before computing
    result = synthesize_source(model, case.source, settings, case.options, report)
    write_synthesis(result, case.target, case.output, identity)
    log.info("%s: %.1f s", case.target, result.record["seconds"])
    if not case.output.qa:
        return None
    if (told := result.qa.summary()) is not None:
        log.warning("%s: %s", case.target, told)
    return result.qa


def _found(path: Path, series: str | None) -> ImageSource | CrepsError:
    try:
        return find_mr(path, series)
    except InputError as error:
        return error


def _path(given: object) -> Path:
    if not isinstance(given, (Path, str)):
        raise InputError(f"An MR is of the type {type(given).__name__}.", "Give the paths of files and folders.")
    return Path(given)
