"""What a report is made from: an sCT, a folder of them, a training run, or evaluations."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from creps.errors import CrepsError, InputError
from creps.evaluation.batch import TRUTH
from creps.evaluation.comparison import compare
from creps.evaluation.document import read_document
from creps.evaluation.matching import Pair, find_scts, holds_cases, match, one_pair
from creps.evaluation.options import EvaluationOptions
from creps.evaluation.results import CohortEvaluation
from creps.io.itk import is_volume_file, stem, suffix
from creps.report.cohort import EXPECTED, CohortCase, CohortParts, evaluated_cases, worst_first, write_cohort
from creps.report.parts import CaseParts, OtherFiles, gather_case, qa_beside
from creps.report.training import is_run, write_training
from creps.report.views import write_case
from creps.synthesis.outputs import RECORD, REPORT, report_file

__all__ = ["ReportOptions", "pairs_of", "write_evaluated", "write_report"]

Progress = Callable[[int, int, str], None]


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
    unscored = [f"{_called(name, options)} could not be scored. {error}" for name, error in result.failed.items()]
    for without, what in ((result.without_ct, "no true CT"), (result.without_sct, "no synthetic CT")):
        if without:
            which = f": {', '.join(without)}" if options.names else ""
            unscored.append(f"{len(without)} {'case has' if len(without) == 1 else 'cases have'} {what}{which}.")
    checked = {pair.case: qa.result for pair in pairs if (qa := qa_beside(pair.sct)) is not None}
    scored = [replace(one, result=checked.get(one.name, "not checked")) for one in evaluated_cases(result.cases)]
    cases = _with_pages(scored, parts_of, page, options, progress)
    parts = CohortParts(cases, comparison=result.comparison, unscored=tuple(unscored))
    write_cohort(parts, page, title=options.title, names=options.names, overwrite=options.overwrite)
    return page


def _mr_beside(pair: Pair) -> Path | None:
    """The MR in the folder of a true CT, in the layout of the SynthRAD challenges."""
    if pair.ct.is_dir():
        return None
    found = [one for one in sorted(pair.ct.parent.iterdir()) if is_volume_file(one) and stem(one).lower() == "mr"]
    return found[0] if found else None


def _called(name: str, options: ReportOptions) -> str:
    return name if options.names else "A case"


def _of_evaluations(inputs: Sequence[Path], page: Path | None, options: ReportOptions) -> Path:
    if len(inputs) > 2:
        raise InputError(f"{len(inputs)} evaluations are given.", "Give one, or two to compare.")
    page = inputs[0].with_name(f"{inputs[0].stem}_report.html") if page is None else page
    first, *rest = (read_document(one) for one in inputs)
    parts = CohortParts(
        evaluated_cases(first),
        other=evaluated_cases(rest[0]) if rest else (),
        comparison=compare(first, rest[0]) if rest else None,
    )
    write_cohort(parts, page, title=options.title, names=options.names, overwrite=options.overwrite)
    return page


def _of_case(sct: Path, page: Path | None, others: OtherFiles, options: ReportOptions) -> Path:
    if sct.is_file() and not suffix(sct):
        raise InputError(f"{sct} is no sCT, run or evaluation.", "Name the volume file or the folder of an sCT.")
    page = report_file(sct) if page is None else page
    parts = gather_case(sct, others)
    write_case(parts, page, title=options.title, names=options.names, overwrite=options.overwrite)
    return page


def _of_folder(folder: Path, page: Path | None, options: ReportOptions, progress: Progress | None) -> Path:
    """Of many sCTs without CTs: their checks and expected errors."""
    if (folder / "dose.json").is_file():
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
    cases, unread = [], []
    for name, file in files.items():
        try:
            cases.append(_synthesized(name, gather_case(file)))
        except CrepsError as error:
            unread.append(f"{_called(name, options)} cannot be read." + (f" {error}" if options.names else ""))
    done = _with_pages(tuple(cases), lambda name: gather_case(files[name]), page, options, progress)
    parts = CohortParts(done, unscored=tuple(unread))
    write_cohort(parts, page, title=options.title, names=options.names, overwrite=options.overwrite)
    return page


def _synthesized(name: str, parts: CaseParts) -> CohortCase:
    about = (parts.record or {}).get("uncertainty")
    expected = about.get("predicted_mae_hu") if isinstance(about, dict) else None
    values = {EXPECTED: float(expected)} if isinstance(expected, int | float) else {}
    if parts.qa is None:
        return CohortCase(name, values, notes=parts.notes)
    found = [check.name.replace("_", " ") for check in parts.qa.checks if check.result in ("fail", "warn")]
    return CohortCase(name, values, parts.qa.result, (", ".join(found),) if found else ())


def _with_pages(
    cases: Sequence[CohortCase],
    parts_of: Callable[[str], CaseParts],
    page: Path,
    options: ReportOptions,
    progress: Progress | None,
) -> tuple[CohortCase, ...]:
    """Write a report of each of the worst cases into a folder beside the page, and name it in the case."""
    folder = page.with_name(f"{page.stem}_cases")
    pages: Mapping[str, str] = {}
    chosen = worst_first(cases)[: options.cases]
    if options.overwrite and folder.is_dir():
        _clear(folder)
    for number, one in enumerate(chosen, start=1):
        target = folder / f"case_{number:03d}.html"
        title = one.name if options.names else f"case {number}"
        write_case(parts_of(one.name), target, title=title, names=options.names, overwrite=options.overwrite)
        pages = {**pages, one.name: f"{folder.name}/{target.name}"}
        if progress is not None:
            progress(number, len(chosen), title)
    return tuple(replace(one, page=pages.get(one.name, "")) for one in cases)


def _clear(folder: Path) -> None:
    """Remove the case reports of an earlier cohort report, and the folder if nothing else is in it."""
    for file in (*folder.glob("case_*.html"), *folder.glob("case_*.json")):
        file.unlink()
    if not any(folder.iterdir()):
        shutil.rmtree(folder)


def _is_series(folder: Path) -> bool:
    """Whether a folder holds the DICOM series of an sCT that creps wrote."""
    return folder.is_dir() and (folder / RECORD).is_file() and any(folder.glob("CT.*.dcm"))


def _refuse(others: OtherFiles, what: str) -> None:
    given = next((name for name, value in vars(others).items() if value is not None), None)
    if given is not None:
        raise InputError(f"{what}, and --{given} goes with one sCT.", f"Leave --{given} ({given}=…) out.")
