"""One MR to synthesize, check and report in the worker's process: the outcome is an answer, never an exception."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from creps.errors import CrepsError, InputError
from creps.service.disk import make_private
from creps.service.hashing import Hasher
from creps.service.mr_files import fingerprint_of_file, fingerprint_of_series, loose_files
from creps.service.results import read_qa
from creps.service.settings import Rule

if TYPE_CHECKING:
    from creps.api import Model
    from creps.io.image import ImageSource
    from creps.qa.document import QaReport
    from creps.synthesis.options import OutputOptions, SynthesisOptions

__all__ = ["Answer", "Task", "perform", "regions_of_models"]

log = logging.getLogger(__name__)

MODELS_KEPT = 2


@dataclass(frozen=True)
class Task:
    """One MR to synthesize; pickled on its way to the worker.

    Attributes:
        source: The volume file, or the folder of the DICOM series.
        series: Hash of the SeriesInstanceUID; None for a volume file.
        fingerprint: What the MR consisted of when the job was made.
        target: A volume file, or the folder of the sCT's series.
        rule: What to make.
        hasher: Of the service.
        report: Whether to write a report.
        private: Whether to take the results from other users.
        loose: Whether the files of the series are in `source` itself, among others, and not in a folder of their own.
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
        kind: "made"; "changed": the MR has other images than when the job was added; "refused": a person must decide;
            "later": the machine has too little space or memory now.
        reason: One sentence or two; for an sCT that was made, what its checks found.
        qa: Result of the checks.
    """

    kind: Literal["made", "changed", "refused", "later"]
    reason: str = ""
    qa: str = ""

    @classmethod
    def made(cls, qa: QaReport) -> Answer:
        """The answer for an sCT that was made, with the result of its checks."""
        return cls("made", qa.summary() or "", qa.result)


def perform(task: Task) -> Answer:
    """Synthesize, check, report."""
    before = os.umask(0o077) if task.private else None
    try:
        return _performed(task)
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


def _performed(task: Task) -> Answer:
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
    return Answer.made(read_qa(task.target))


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
    """Write the page, and for DICOM the report as an encapsulated PDF."""
    from creps.io.dicom.write.document import write_document
    from creps.report.pdf import case_pdf
    from creps.report.views import write_beside
    from creps.synthesis.outputs import REPORT_DICOM, picture_file

    series = None if source.series is None else source.series.uid
    report = write_beside(task.target, task.source, series, overwrite=True)
    if source.series is not None:
        pdf = case_pdf(report, picture_file(task.target))
        write_document(task.target / REPORT_DICOM, pdf, like=min(task.target.glob("CT.*.dcm")))
