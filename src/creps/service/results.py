"""The results of a job on the disk: where they go, whether they are whole, and their removal."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from creps.errors import CrepsError
from creps.service.state import Job

if TYPE_CHECKING:
    from creps.qa.document import QaReport

__all__ = ["can_be_sent", "qa_if_whole", "read_qa", "remove_result", "target_of"]

DIGITS = 8
"""Of a hash, in the name of a result."""


def target_of(job: Job, source: Path, series: str | None, *, first: bool) -> Path:
    """Where the sCT of a job goes, relative to the folder of the results.

    Args:
        job: The job.
        source: The volume file, or the folder of the series.
        series: Hash of the SeriesInstanceUID; None for a volume file.
        first: Whether it is the first job of this MR; after a change of the MR, the file name carries a hash.
    """
    from creps.io.itk import stem, suffix

    mark = job.fingerprint[:DIGITS]
    if series is None:
        name = stem(source) if first else f"{stem(source)}-{mark}"
        return Path(job.source).parent / f"{name}_sct{suffix(source)}"
    return Path(f"mr-{series[:DIGITS]}-{mark}_sct")


def can_be_sent(target: Path | str) -> bool:
    """Whether results are DICOM: volume files cannot be sent."""
    from creps.io.itk import suffix

    return not suffix(Path(target))


def read_qa(target: Path) -> QaReport:
    """The checks of an sCT.

    Raises:
        InputError: they are missing or damaged.
    """
    from creps.qa.document import read_report
    from creps.synthesis.outputs import qa_file

    return read_report(qa_file(target))


def qa_if_whole(target: Path, *, report: bool) -> QaReport | None:
    """The checks of a result that a killed process left; None if the result is not whole.

    Args:
        target: The volume file, or the folder of the series.
        report: Whether a report belongs to it.
    """
    from creps.synthesis.outputs import REPORT_DICOM, report_file

    last = target / REPORT_DICOM if can_be_sent(target) else report_file(target)
    if not target.exists() or (report and not last.exists()):
        return None
    try:
        return read_qa(target)
    except CrepsError:
        return None


def remove_result(target: Path) -> None:
    """Delete an sCT and what was written with it."""
    from creps.synthesis.outputs import remove_beside

    if can_be_sent(target):
        shutil.rmtree(target, ignore_errors=True)
    else:
        remove_beside(target)
