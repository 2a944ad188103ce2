"""Synthesis of many MRs: plan the outputs, run case after case, and let one bad MR not stop the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from creps.errors import CrepsError, InputError, ModelError
from creps.io.dicom.write.identity import SourceSeries
from creps.io.image import ImageSource
from creps.io.itk import is_volume_file, stem, suffix
from creps.model import Model
from creps.preprocessing.label_maps import named_as_labels
from creps.settings import InferenceSettings
from creps.synthesis.files import synthesize_source, write_synthesis
from creps.synthesis.inputs import find_mr, target_paths
from creps.synthesis.options import SynthesisOptions

__all__ = [
    "BatchResult",
    "Outcome",
    "SynthesisCase",
    "find_mrs",
    "plan_cases",
    "synthesize_batch",
    "synthesize_case",
    "synthesize_cases",
]

Progress = Callable[[int, int, str], None]

log = logging.getLogger(__name__)

FOR_ONE = ("series", "mask", "pseudonym")
"""Options that belong to one MR."""


@dataclass(frozen=True)
class SynthesisCase:
    """One MR of a batch; it travels to another process or machine by pickle.

    Attributes:
        source: The MR.
        target: Where its sCT goes: a volume file, or the folder of a DICOM series.
        options: Of the synthesis.
    """

    source: ImageSource
    target: Path
    options: SynthesisOptions


@dataclass(frozen=True)
class Outcome:
    """How a case ended.

    Attributes:
        case: The case.
        error: Why there is no sCT; None if there is one.
    """

    case: SynthesisCase
    error: CrepsError | None = None


@dataclass(frozen=True)
class BatchResult:
    """Results of a batch.

    Attributes:
        done: The files or folders that were written, in the order of the MRs.
        failed: MR, as it was given → why it has no sCT.
    """

    done: tuple[Path, ...] = ()
    failed: dict[Path, CrepsError] = field(default_factory=dict)


def synthesize_batch(
    model: Model,
    mrs: Path | str | Iterable[Path | str],
    output: Path | str,
    settings: InferenceSettings | None = None,
    options: SynthesisOptions | None = None,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> BatchResult:
    """Synthesize many MRs into a folder; one that fails does not stop the others.

    Args:
        model: The trained model.
        mrs: A folder of MRs (see `find_mrs`), or volume files and DICOM folders.
        output: The folder to write into.
        settings: Overlap, fusion, device, precision; default: the plan's.
        options: Of every case.
        overwrite: Replace what creps wrote there before.
        progress: Called with (patches done, patches of this MR, its name).

    Raises:
        InputError: there is no MR, two would be written to one place, or an option belongs to one MR only.
        OutputExistsError: a target is there already.
        SettingsError: a setting does not fit the model.
    """
    options = options or SynthesisOptions()
    paths = find_mrs(mrs) if isinstance(mrs, (Path, str)) else [_path(mr) for mr in mrs]
    if not paths:
        raise InputError("There is no MR to synthesize.", "Give volume files, or folders of DICOM series.")
    _refuse_for_many(options, len(paths))
    sources: dict[Path, ImageSource] = {}
    failed: dict[Path, CrepsError] = {}
    for path in paths:
        try:
            sources[path] = find_mr(path, options.series)
        except InputError as error:
            failed[path] = error
            log.warning("%s", error)
    cases = plan_cases(list(sources.values()), Path(output), options, overwrite=overwrite) if sources else []
    done = []
    for path, outcome in zip(sources, synthesize_cases(model, cases, settings, progress), strict=True):
        if outcome.error is None:
            done.append(outcome.case.target)
        else:
            failed[path] = outcome.error
            log.warning("%s", outcome.error)
    return BatchResult(tuple(done), failed)


def find_mrs(folder: Path | str) -> list[Path]:
    """The MRs in a folder: every subfolder and every volume file that is no label map by name.

    A folder with neither is returned itself.

    Raises:
        InputError: it is not a folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder.", "Give a folder of MRs, or a list of files and folders.")
    entries = [one for one in sorted(folder.iterdir()) if not one.name.startswith(".")]
    found = [one for one in entries if one.is_dir() or is_volume_file(one)]
    labels = [one for one in found if not one.is_dir() and named_as_labels(stem(one))]
    if labels and len(labels) < len(found):
        log.warning("Label maps by name, not synthesized: %s.", ", ".join(one.name for one in labels))
        found = [one for one in found if one not in labels]
    return found or ([folder] if entries else [])


def plan_cases(
    sources: Sequence[ImageSource], output: Path, options: SynthesisOptions, *, overwrite: bool
) -> list[SynthesisCase]:
    """A case for each MR, with its output checked before anything is computed.

    Args:
        sources: The MRs.
        output: A volume file (one MR only) or a folder.
        options: Of every case; the grid becomes the usual one of each output.
        overwrite: Whether what creps wrote may be replaced.

    Raises:
        InputError: several MRs for one file, or options that an output cannot have.
        OutputExistsError: a target is there already, or is an input.
        SettingsError: no such grid.
    """
    cases = []
    for source, target in zip(sources, target_paths(sources, output, overwrite), strict=True):
        dicom = not suffix(target)
        options.check_output(target, dicom_source=source.series is not None, dicom_target=dicom)
        cases.append(SynthesisCase(source, target, options.with_grid(dicom=dicom)))
    return cases


def synthesize_cases(
    model: Model,
    cases: Iterable[SynthesisCase],
    settings: InferenceSettings | None = None,
    progress: Progress | None = None,
) -> Iterator[Outcome]:
    """Synthesize case after case; yield how each ended.

    An MR that cannot be used, and one on which the network fails, end their own case only; a wrong setting would end
    all of them alike and is raised.

    Args:
        model: The trained model.
        cases: Of `plan_cases`.
        settings: Overlap, fusion, device, precision; default: the plan's.
        progress: Called with (patches done, patches of this MR, its name).
    """
    for case in cases:
        try:
            synthesize_case(model, case, settings, progress)
        except (InputError, ModelError) as error:
            yield Outcome(case, error)
        else:
            yield Outcome(case)


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
    report = None if progress is None else lambda done, total: progress(done, total, case.source.label)
    series = None if suffix(case.target) else case.source.series
    identity = None if series is None else SourceSeries.of(series)  # an unusable identity is refused before computing
    result = synthesize_source(model, case.source, settings, case.options, report)
    write_synthesis(result, case.target, case.options, identity)
    log.info("%s: %d patches, %.1f s", case.target, result.record["patches"]["count"], result.record["seconds"])
    return case.target


def _refuse_for_many(options: SynthesisOptions, count: int) -> None:
    for name in FOR_ONE:
        if count > 1 and getattr(options, name) is not None:
            raise InputError(f"'{name}' belongs to one MR, but there are {count}.", "Synthesize that MR by itself.")


def _path(given: object) -> Path:
    if not isinstance(given, (Path, str)):
        raise InputError(f"An MR is of the type {type(given).__name__}.", "Give the paths of files and folders.")
    return Path(given)
