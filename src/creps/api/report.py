"""`write_report`: a report as one HTML page, with a JSON beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from creps.api.arguments import Progress, as_paths, check_flags, check_progress, optional_path
from creps.errors import InputError, file_errors_explained

__all__ = ["write_report"]


@file_errors_explained
def write_report(
    source: Path | str | Sequence[Path | str],
    page: Path | str | None = None,
    *,
    mr: Path | str | None = None,
    ct: Path | str | None = None,
    dose: Path | str | None = None,
    evaluation: Path | str | None = None,
    title: str = "",
    names: bool = False,
    cases: int = 10,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write a report: one HTML page that opens offline and loads nothing, and a JSON file beside it.

    Args:
        source: An sCT (a file, or the folder of its DICOM series), a folder of sCTs, the folder of a training run, or
            one or two JSON files of ``creps evaluate``.
        page: The page, ending with ``.html``; default: beside the source.
        mr: The MR of the sCT.
        ct: The true CT of the sCT.
        dose: Folder that ``creps dose`` wrote for this sCT.
        evaluation: JSON of ``creps evaluate``; the sCT is found in it by its hash.
        title: Heading of the page.
        names: Show names of files and cases, and the patient's name and ID.
        cases: Of how many cases of a cohort, the worst first, a report of their own is written.
        overwrite: Replace an earlier report; nothing else is ever replaced.
        progress: Called with (cases done, cases in all, case).

    Returns:
        The page.

    Raises:
        InputError: nothing there can be reported. A part that is damaged, or of another case, is left out instead,
            and the page says so.
        OutputExistsError: a report is there already.

    Examples:
        >>> creps.load("model").synthesize("mr.nii.gz").save("reported/sct.nii.gz").name
        'sct.nii.gz'
        >>> creps.write_report("reported/sct.nii.gz", mr="mr.nii.gz").name
        'sct_report.html'
    """
    from creps.report.parts import OtherFiles
    from creps.report.sources import ReportOptions
    from creps.report.sources import write_report as run

    check_flags(names=names, overwrite=overwrite)
    check_progress(progress)
    if not isinstance(title, str):
        raise InputError(f"'title' is of the type {type(title).__name__}.", "Give it as text.")
    if isinstance(cases, bool) or not isinstance(cases, int) or cases < 0:
        raise InputError(f"'cases' is {cases!r}.", "Give a number of cases, 0 or more.")
    sources = as_paths(source, "The source")
    inputs = sources if isinstance(sources, list) else [sources]
    others = OtherFiles(
        mr=optional_path(mr, "The MR"),
        ct=optional_path(ct, "The CT"),
        dose=optional_path(dose, "The dose"),
        evaluation=optional_path(evaluation, "The evaluation"),
    )
    options = ReportOptions(title, names, overwrite, cases)
    return run(inputs, optional_path(page, "The page"), others, options, progress)
