"""Make one sCT with its report, in the worker's process: what becomes of it is an answer, never an exception."""

from __future__ import annotations

import errno
import glob
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from creps.errors import CrepsError, InputError
from creps.service.disk import make_private
from creps.service.hashing import Hasher
from creps.service.settings import Rule

if TYPE_CHECKING:
    from creps.api import Model
    from creps.io.image import ImageSource
    from creps.qa.document import QaReport
    from creps.synthesis.options import OutputOptions, SynthesisOptions

__all__ = [
    "Answer",
    "Task",
    "fingerprint_of_file",
    "fingerprint_of_series",
    "loose_files",
    "make",
    "regions_of_models",
    "remove_result",
    "result_is_whole",
    "with_data",
]

log = logging.getLogger(__name__)

MODELS_KEPT = 2


@dataclass(frozen=True)
class Task:
    """One MR to synthesize; it travels to the worker by pickle.

    Attributes:
        source: The volume file, or the folder of the DICOM series.
        series: Hash of the SeriesInstanceUID; None for a volume file.
        fingerprint: What the MR consisted of when the job was made.
        target: A volume file, or the folder of the sCT's series.
        rule: What to make.
        hasher: Of the service.
        report: Whether to write a report.
        private: Whether to take the results from other users.
        loose: Whether the series lies among other files in `source` itself, not in a folder of its own.
    """

    source: Path
    series: str | None
    fingerprint: str
    target: Path
    rule: Rule
    hasher: Hasher
    report: bool
    private: bool
    loose: bool = False


@dataclass(frozen=True)
class Answer:
    """What became of a task.

    Attributes:
        kind: "made"; "changed": other images than the job's are there; "refused": a person must look; "later": the
            machine could not, for lack of space or memory.
        reason: One sentence or two; of a made sCT what its checks found.
        qa: Result of the checks.
    """

    kind: Literal["made", "changed", "refused", "later"]
    reason: str = ""
    qa: str = ""


def make(task: Task) -> Answer:
    """Synthesize, check, report."""
    before = os.umask(0o077) if task.private else None
    try:
        return _made(task)
    except CrepsError as error:
        return Answer("later" if _no_space(error) else "refused", str(error))
    except MemoryError:
        return Answer("later", "The machine has too little memory for it now.")
    except OSError as error:
        name = error.filename or "A file"
        return Answer("later", f"{name}: {error.strerror or error}.")
    except Exception as error:
        log.debug("%s", error, exc_info=True)
        reason = " ".join(str(error).split())[:200]
        return Answer("refused", f"Internal error: {type(error).__name__}: {reason}. Report it, with the versions.")
    finally:
        if before is not None:
            os.umask(before)


def _no_space(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__
    return False


def _made(task: Task) -> Answer:
    from creps.synthesis.batch import plan_cases, synthesize_case
    from creps.synthesis.outputs import EVERYTHING, beside

    source, found = _source(task)
    if found != task.fingerprint:
        return Answer("changed")
    model = _model(task.rule.model)
    options, writing = _options(task, dicom=source.series is not None)
    (case,) = plan_cases([source], task.target, options, writing, overwrite=True)
    synthesize_case(model, case)
    if task.report:
        _write_reports(task, source)
    if task.private:
        for one in beside(task.target, EVERYTHING):
            make_private(one)
    qa = _qa(task.target)
    return Answer("made", qa.summary() or "", qa.result)


def _source(task: Task) -> tuple[ImageSource, str]:
    """The MR, and the fingerprint of what it consists of now."""
    from creps.io.dicom.read.series import find_series
    from creps.io.image import ImageSource

    if task.series is None:
        return ImageSource(task.source), fingerprint_of_file(task.source, task.hasher)
    place = loose_files(task.source) if task.loose else task.source
    found = [one for one in find_series(place) if task.hasher.of(one.uid) == task.series]
    if not found:
        raise InputError("The series is gone from its folder.", "Send or copy it again.")
    return ImageSource(task.source, found[0], name="the series"), fingerprint_of_series(found[0].files, task.hasher)


def loose_files(folder: Path) -> list[Path]:
    """The files in a folder itself that are neither hidden nor volumes nor the data of one: single DICOM files."""
    from creps.io.itk import is_volume_file

    files = [one for one in sorted(folder.iterdir()) if one.is_file() and not one.name.startswith(".")]
    volumes = {data for one in files if is_volume_file(one) for data in with_data(one)}
    return [one for one in files if one not in volumes]


HEADERS = (".mhd", ".nhdr")
"""Volume files whose voxels lie in another file."""


def with_data(path: Path) -> list[Path]:
    """A volume file; of a header also the files of its name beside it, of which one has the voxels."""
    if path.suffix.lower() not in HEADERS:
        return [path]
    others = path.parent.glob(f"{glob.escape(path.stem)}.*")
    return [path, *sorted(one for one in others if one.is_file() and one.suffix.lower() not in (*HEADERS, ".json"))]


def fingerprint_of_file(path: Path, hasher: Hasher) -> str:
    """What stands for the content of a volume file; of a header also for its data file."""
    from creps.provenance import sha256_file

    return hasher.fingerprint(sha256_file(one) for one in with_data(path))


def fingerprint_of_series(files: Sequence[Path], hasher: Hasher) -> str:
    """What stands for the images of a series: their SOPInstanceUIDs, however their files are named.

    Raises:
        InputError: a file cannot be read.
    """
    from creps.io.dicom.read.headers import read_header

    headers = [header for path in files if (header := read_header(path)) is not None]
    return hasher.fingerprint(hasher.of(str(header.dataset.get("SOPInstanceUID", ""))) for header in headers)


@lru_cache(MODELS_KEPT)
def _model(name: str) -> Model:
    from creps.api import load

    return load(name)


def regions_of_models(names: Sequence[str]) -> dict[str, str]:
    """Model → region of its plan: every model is loaded once.

    Raises:
        CrepsError: one is gone or cannot be used.
    """
    return {name: _model(name).plan.preparation.region for name in names}


def _options(task: Task, *, dicom: bool) -> tuple[SynthesisOptions, OutputOptions]:
    from creps.synthesis.bulk import BulkDensities
    from creps.synthesis.options import OutputOptions, SynthesisOptions

    rule = task.rule
    writing = OutputOptions(
        structures=rule.structures if dicom else None,
        stable_uids=dicom,  # made again after a crash, it is the same series and not a second one
        bulk=BulkDensities.of(rule.bulk_density),
        report=task.report,
    )
    return SynthesisOptions(uncertainty=rule.uncertainty), writing


def _write_reports(task: Task, source: ImageSource) -> None:
    """The page, and for DICOM the report as an encapsulated PDF."""
    from creps.io.dicom.write.document import write_document
    from creps.report.parts import OtherFiles, gather_case
    from creps.report.pdf import case_pdf
    from creps.report.views import write_case
    from creps.synthesis.outputs import PICTURE, REPORT_DICOM, report_file

    series = None if source.series is None else source.series.uid
    parts = gather_case(task.target, OtherFiles(mr=task.source, series=series))
    report = write_case(parts, report_file(task.target), overwrite=True)
    if source.series is not None:
        pdf = case_pdf(report, task.target / PICTURE)
        write_document(task.target / REPORT_DICOM, pdf, like=min(task.target.glob("CT.*.dcm")))


def _qa(target: Path) -> QaReport:
    from creps.qa.document import read_report
    from creps.synthesis.outputs import qa_file

    return read_report(qa_file(target))


def result_is_whole(target: Path, *, report: bool) -> Answer | None:
    """What a process that was killed had made, if it is whole; None otherwise."""
    from creps.io.itk import suffix
    from creps.synthesis.outputs import REPORT_DICOM, report_file

    last = report_file(target) if suffix(target) else target / REPORT_DICOM
    if not target.exists() or (report and not last.exists()):
        return None
    try:
        qa = _qa(target)
    except CrepsError:
        return None
    return Answer("made", qa.summary() or "", qa.result)


def remove_result(target: Path) -> None:
    """Delete an sCT and what lies beside it."""
    from creps.io.itk import suffix
    from creps.synthesis.outputs import remove_beside

    if suffix(target):
        remove_beside(target)
    else:
        shutil.rmtree(target, ignore_errors=True)
