"""What a report is made from: an sCT, a folder of them, a training run, or evaluations."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from creps.dose.document import FILE as DOSE_FILE
from creps.errors import CrepsError, InputError, OutputExistsError
from creps.evaluation.batch import TRUTH
from creps.evaluation.comparison import compare
from creps.evaluation.document import read_document
from creps.evaluation.matching import Pair, find_scts, holds_cases, match, one_pair
from creps.evaluation.options import EvaluationOptions
from creps.evaluation.results import CohortEvaluation
from creps.io.atomic import atomic_folder
from creps.io.itk import is_volume_file, stem, suffix
from creps.report.cohort import EXPECTED, CohortCase, CohortParts, evaluated_cases, worst_first, write_cohort
from creps.report.page import check_page, is_report
from creps.report.parts import CaseParts, OtherFiles, gather_case, gather_checks, qa_beside
from creps.report.training import is_run, write_training
from creps.report.views import write_case
from creps.synthesis.outputs import RECORD, REPORT, report_file

__all__ = ["ReportOptions", "check_report", "pairs_of", "write_evaluated", "write_report"]

Progress = Callable[[int, int, str], None]

CASE_PAGE = re.compile(r"case_\d{3,}\.(html|json)")
"""Names of the files in the folder of cases."""


@dataclass(frozen=True)
class ReportOptions:
    """How reports are written.

    Attributes:
        title: Their heading.
        names: Show names of files, cases and patients.
        overwrite: Replace earlier reports.
        cases: Of how many cases of a cohort, the worst first, a report of their own is written.
    """

    title: str = ""
    names: bool = False
    overwrite: bool = False
    cases: int = 10


def write_report(
    inputs: Sequence[Path],
    page: Path | None = None,
    others: OtherFiles | None = None,
    options: ReportOptions | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write the report of what is given.

    Args:
        inputs: An sCT (a file, or the folder of a DICOM series), a folder of sCTs, the folder of a training run, or
            one or two JSON files of `creps evaluate`.
        page: Where; default: beside the input.
        others: MR, CT, dose and evaluation of an sCT.
        options: Title, names, overwriting.
        progress: Called with (cases done, cases in all, case).

    Returns:
        The page.

    Raises:
        InputError: nothing there can be reported.
        OutputExistsError: a report is there already.
    """
    others, options = others or OtherFiles(), options or ReportOptions()
    if not inputs:
        raise InputError("Nothing is given to report.", "Name an sCT, a folder of them, a run, or an evaluation.")
    first = inputs[0]
    missing = next((one for one in inputs if not one.exists()), None)
    if missing is not None:
        raise InputError(f"{missing} does not exist.", "Check the path.")
    if all(one.suffix.lower() == ".json" for one in inputs):
        _refuse(others, f"{first} is an evaluation")
        return _of_evaluations(inputs, page, options)
    if len(inputs) > 1:
        raise InputError(
            "Several inputs are given.", "Give one sCT or folder, or one or two JSON files of evaluations."
        )
    if is_run(first):
        _refuse(others, f"{first} is a training run")
        return write_training(first, page, title=options.title, overwrite=options.overwrite)
    if first.is_file() or _is_series(first):
        return _of_case(first, page, others, options)
    _refuse(others, f"{first} is a folder of cases")
    return _of_folder(first, page, options, progress)


def pairs_of(sct: Path, ct: Path, options: EvaluationOptions) -> tuple[Pair, ...]:
    """The cases that `creps evaluate` scores.

    Args:
        sct: An sCT, or a folder of them.
        ct: The true CT, or a folder of them.
        options: How they were scored.
    """
    if not holds_cases(sct):
        return (one_pair(sct, ct),)
    return match(sct, ct, truth=options.truth or TRUTH).pairs


def write_evaluated(
    pairs: Sequence[Pair],
    result: CohortEvaluation,
    page: Path,
    options: ReportOptions,
    progress: Progress | None = None,
) -> Path:
    """Write the report of an evaluation: of the one case, or of the cohort with its worst cases.

    Args:
        pairs: The cases with their files.
        result: Their metrics.
        page: Where, ending with .html.
        options: Title, names, overwriting, how many cases.
        progress: Called with (cases done, cases in all, case).
    """

    def parts_of(name: str) -> CaseParts:
        pair = next(one for one in pairs if one.case == name)
        return replace(
            gather_case(pair.sct, OtherFiles(mr=_mr_beside(pair), ct=pair.ct)), evaluation=result.cases[name]
        )

    if len(pairs) == 1:
        (name,) = result.cases
        write_case(parts_of(name), page, title=options.title, names=options.names, overwrite=options.overwrite)
        return page
    checked = {pair.case: qa.result for pair in pairs if (qa := qa_beside(pair.sct)) is not None}
    scored = [
        replace(one, result=checked.get(one.name, "not checked"))
        for one in evaluated_cases(result.cases, names=options.names)
    ]
    second = {} if result.comparison is None else result.comparison.second
    parts = CohortParts(
        tuple(scored),
        other=evaluated_cases(second, names=options.names),
        comparison=result.comparison,
        unscored=tuple(_unscored(result, options)),
    )
    return _write_with_cases(parts, parts_of, page, options, progress)


def check_report(page: Path, *, cohort: bool, overwrite: bool) -> None:
    """Refuse a place where no report can be written, before anything is computed.

    Args:
        page: Where, ending with .html.
        cohort: Whether it is a cohort's, with a folder of cases beside it.
        overwrite: Whether an earlier report may be replaced.

    Raises:
        OutputExistsError: something is there; only an earlier report is ever replaced.
        InputError: the place cannot be written to.
    """
    check_page(page, overwrite=overwrite)
    folder = _cases_folder(page)
    if not cohort or not folder.exists():
        return
    if not overwrite:
        raise OutputExistsError(f"{folder} already exists.", "Pass overwrite=True, or name another page.")
    foreign = [one.name for one in sorted(folder.iterdir()) if not (CASE_PAGE.fullmatch(one.name) and is_report(one))]
    if foreign:
        raise OutputExistsError(f"{folder} holds {foreign[0]}, which is no report of creps.", "Name another page.")


def _unscored(result: CohortEvaluation, options: ReportOptions) -> Iterator[str]:
    """A sentence for each reason why cases are missing; errors name cases and files."""
    if options.names:
        yield from (f"{name} could not be scored. {error}" for name, error in result.failed.items())
    left_out = {} if result.comparison is None else result.comparison.left_out
    for cases, what in (
        (() if options.names else tuple(result.failed), "could not be scored"),
        (result.without_ct, "without a true CT"),
        (result.without_sct, "without a synthetic CT"),
        (tuple(left_out), "not compared with the other model"),
    ):
        if cases:
            which = f": {', '.join(cases)}" if options.names else ""
            yield f"{len(cases)} {'case' if len(cases) == 1 else 'cases'} {what}{which}."


def _mr_beside(pair: Pair) -> Path | None:
    """The MR in the folder of a true CT, in the layout of the SynthRAD challenges."""
    if pair.ct.is_dir():
        return None
    found = [one for one in sorted(pair.ct.parent.iterdir()) if is_volume_file(one) and stem(one).lower() == "mr"]
    return found[0] if found else None


def _of_evaluations(inputs: Sequence[Path], page: Path | None, options: ReportOptions) -> Path:
    if len(inputs) > 2:
        raise InputError(f"{len(inputs)} evaluations are given.", "Give one, or two to compare.")
    page = inputs[0].with_name(f"{inputs[0].stem}_report.html") if page is None else page
    check_page(page, overwrite=options.overwrite)
    first, *rest = (read_document(one) for one in inputs)
    comparison = compare(first, rest[0]) if rest else None
    left_out = 0 if comparison is None else len(comparison.left_out)
    parts = CohortParts(
        evaluated_cases(first, names=options.names),
        other=evaluated_cases(rest[0], names=options.names) if rest else (),
        comparison=comparison,
        unscored=(f"{left_out} cases are not compared: the evaluations lack them or differ.",) if left_out else (),
    )
    write_cohort(parts, page, title=options.title, names=options.names, overwrite=options.overwrite)
    return page


def _of_case(sct: Path, page: Path | None, others: OtherFiles, options: ReportOptions) -> Path:
    if sct.is_file() and not suffix(sct):
        raise InputError(f"{sct} is no sCT, run or evaluation.", "Name the volume file or the folder of an sCT.")
    page = report_file(sct) if page is None else page
    check_page(page, overwrite=options.overwrite)
    parts = gather_case(sct, others)
    write_case(parts, page, title=options.title, names=options.names, overwrite=options.overwrite)
    return page


def _of_folder(folder: Path, page: Path | None, options: ReportOptions, progress: Progress | None) -> Path:
    """Of many sCTs without CTs: their checks and expected errors."""
    if (folder / DOSE_FILE).is_file():
        raise InputError(f"{folder} holds doses, and no sCT.", f"Use: creps report SCT --dose {folder}")
    files: dict[str, Path] = {one.name: one for one in sorted(folder.iterdir()) if one.is_dir() and _is_series(one)}
    try:
        files |= find_scts(folder)
    except InputError:
        if not files:
            raise InputError(
                f"{folder} holds no sCT, run or evaluation of creps.",
                "Name the folder that synthesize or train wrote, an sCT, or the JSON of an evaluation.",
            ) from None
    page = folder / REPORT if page is None else page
    check_report(page, cohort=True, overwrite=options.overwrite)
    cases, unread = [], []
    for name, file in files.items():
        try:
            cases.append(_synthesized(name, gather_checks(file)))
        except CrepsError as error:
            unread.append(f"{name} cannot be read. {error}" if options.names else "The sCT of a case cannot be read.")
    parts = CohortParts(tuple(cases), unscored=tuple(unread))
    return _write_with_cases(parts, lambda name: gather_case(files[name]), page, options, progress)


def _synthesized(name: str, parts: CaseParts) -> CohortCase:
    about = (parts.record or {}).get("uncertainty")
    expected = about.get("predicted_mae_hu") if isinstance(about, dict) else None
    values = {EXPECTED: float(expected)} if isinstance(expected, int | float) else {}
    if parts.qa is None:
        return CohortCase(name, values, notes=tuple(note.text for note in parts.notes if note.part == "qa"))
    found = [check.name.replace("_", " ") for check in parts.qa.checks if check.result in ("fail", "warn")]
    return CohortCase(name, values, parts.qa.result, (", ".join(found),) if found else ())


def _write_with_cases(
    parts: CohortParts,
    parts_of: Callable[[str], CaseParts],
    page: Path,
    options: ReportOptions,
    progress: Progress | None,
) -> Path:
    """Write a report of each of the worst cases into a folder beside the page, then the page that links to them."""
    check_report(page, cohort=True, overwrite=options.overwrite)
    folder, pages = _cases_folder(page), dict[str, str]()
    chosen = worst_first(parts.cases)[: options.cases]
    if folder.exists() and not chosen:
        shutil.rmtree(folder)
    with atomic_folder(folder) if chosen else nullcontext(folder) as building:
        for number, one in enumerate(chosen, start=1):
            target = building / f"case_{number:03d}.html"
            title = one.name if options.names else f"case {number}"
            write_case(parts_of(one.name), target, title=title, names=options.names)
            pages[one.name] = quote(f"{folder.name}/{target.name}")
            if progress is not None:
                progress(number, len(chosen), title)
    cases = tuple(replace(one, page=pages.get(one.name, "")) for one in parts.cases)
    write_cohort(
        replace(parts, cases=cases), page, title=options.title, names=options.names, overwrite=options.overwrite
    )
    return page


def _cases_folder(page: Path) -> Path:
    return page.with_name(f"{page.stem}_cases")


def _is_series(folder: Path) -> bool:
    """Whether a folder holds the DICOM series of an sCT that creps wrote."""
    return folder.is_dir() and (folder / RECORD).is_file() and any(folder.glob("CT.*.dcm"))


def _refuse(others: OtherFiles, what: str) -> None:
    given = next((name for name in ("mr", "ct", "dose", "evaluation") if getattr(others, name) is not None), None)
    if given is not None:
        raise InputError(f"{what}, and --{given} goes with one sCT.", f"Leave --{given} ({given}=…) out.")
