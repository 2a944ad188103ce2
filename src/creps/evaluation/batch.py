"""Score many synthetic CTs against their true CTs, and compare two models."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from creps.errors import CrepsError, InputError
from creps.evaluation.comparison import compare
from creps.evaluation.document import read_document
from creps.evaluation.evaluate import evaluate
from creps.evaluation.images import label_names_of
from creps.evaluation.matching import Matches, Pair, holds_cases, match, one_pair, sct_of
from creps.evaluation.options import EvaluationOptions
from creps.evaluation.results import CohortEvaluation, Evaluation
from creps.io.outputs import check_targets
from creps.io.stamp import stamp
from creps.parallel import Runner, Work, WorkerDied

__all__ = ["evaluate_cases", "evaluate_folder", "evaluate_pair"]

log = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]

TRUTH = "ct"
"""Default stem of the true CTs in folders."""

Scored = dict[str, Evaluation]
"""Case → its metrics."""


def evaluate_folder(
    scts: Path | str,
    cts: Path | str,
    options: EvaluationOptions | None = None,
    *,
    against: Path | str | None = None,
    targets: Iterable[Path | str] = (),
    overwrite: bool = False,
    progress: Progress | None = None,
    runner: Runner | None = None,
) -> CohortEvaluation:
    """Score a folder of synthetic CTs; a case that cannot be scored does not stop the others.

    Args:
        scts: Folder of synthetic CTs: ``CASE_sct.*``, ``CASE/sct.*`` or ``CASE.*``.
        cts: Folder of true CTs: ``CASE/ct.*`` with ``CASE/mask.*``, or ``CASE.*`` with ``CASE_mask.*``.
        options: How to score; default: `EvaluationOptions()`.
        against: Another model's folder of sCTs of the same cases, or the JSON of its evaluation, to compare with.
        targets: Files that the caller will write; checked before anything is computed.
        overwrite: Whether existing targets may be replaced.
        progress: Called with (cases done, total cases, case).
        runner: Scores the cases elsewhere; None: one after the other in this process.

    Returns:
        The metrics of every case, and why the others have none.

    Raises:
        InputError: no case matches or could be scored, the other model shares no case, or a target cannot be written.
        SettingsError: options that only a single pair has.
    """
    options = options or EvaluationOptions()
    options.check_folder()
    scts, cts = Path(scts), Path(cts)
    if cts.is_file():
        raise InputError(f"{scts} is a folder, but {cts} is a file.", "Give two files, or two folders.")
    matches = _matches(scts, cts, options)
    other: Matches | Scored | None = None
    if against is not None:
        against = Path(against)
        other = _earlier(against)
        if other is None and against.is_file():
            raise InputError(f"{scts} is a folder, but {against} is a file.", "Compare two folders, or two files.")
        other = _matches(against, cts, options) if other is None else other
    _check(matches, other, options, against, targets, overwrite)
    result = _evaluate_both(matches, other, options, progress, runner)
    asked: dict[str, str | None] = {"sct": scts.name, "ct": cts.name, "truth": options.truth or TRUTH}
    return replace(result, asked=asked | {"against": None if against is None else against.name})


def evaluate_pair(
    sct: Path | str,
    ct: Path | str,
    options: EvaluationOptions | None = None,
    *,
    against: Path | str | None = None,
    targets: Iterable[Path | str] = (),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> CohortEvaluation:
    """Score one synthetic CT as a cohort of one, as ``creps evaluate`` reports it.

    Args:
        sct: File, or folder of a DICOM series.
        ct: File, or folder of a DICOM series.
        options: How to score; default: `EvaluationOptions()`.
        against: Another model's sCT of the same case, its folder of sCTs, or the JSON of its evaluation.
        targets: As in `evaluate_folder`.
        overwrite: As in `evaluate_folder`.
        progress: As in `evaluate_folder`.

    Raises:
        InputError: an image cannot be used, the other model does not have the case, or a target cannot be written.
        SettingsError: options that only folders have.
    """
    options = options or EvaluationOptions()
    options.check_pair()
    pair = one_pair(Path(sct), Path(ct), options.mask, options.labels)
    matches = Matches((pair,), (), ())
    other: Matches | Scored | None = None
    if against is not None:
        against = Path(against)
        other = _earlier(against)
        if other is None and holds_cases(against):
            other = Matches((replace(pair, sct=sct_of(pair, against)),), (), ())
        elif other is None:
            second = one_pair(against, pair.ct, pair.mask, pair.labels)
            nameless = Path(sct).is_dir() or against.is_dir()  # the folder of a DICOM series says nothing of the case
            other = Matches((replace(second, case=pair.case) if nameless else second,), (), ())
    _check(matches, other, options, against, targets, overwrite)
    result = _evaluate_both(matches, other, options, progress, None)
    return replace(result, asked={"against": None if against is None else against.name})


def evaluate_cases(
    matches: Matches,
    options: EvaluationOptions | None = None,
    *,
    progress: Progress | None = None,
    runner: Runner | None = None,
) -> CohortEvaluation:
    """Score every pair; one that cannot be scored does not stop the others.

    Args:
        matches: The pairs; their masks and labels replace those of the options.
        options: How to score; default: `EvaluationOptions()`.
        progress: Called with (cases done, total cases, case).
        runner: Scores the pairs elsewhere; None: one after the other in this process.

    Raises:
        InputError: no case could be scored; gives the first one's reason.
    """
    options = options or EvaluationOptions()
    names = None if options.label_names is None else label_names_of(options.label_names)
    scoring = _Scoring(names, options)
    found = enumerate(map(scoring.do, matches.pairs)) if runner is None else runner(scoring, matches.pairs)
    results: dict[str, Evaluation | CrepsError] = {}
    for done, (index, result) in enumerate(found, start=1):
        case = matches.pairs[index].case
        results[case] = result
        if isinstance(result, CrepsError) and len(matches.pairs) > 1:  # the error of a single pair is raised
            log.warning("%s was not evaluated: %s", case, result)
        if progress is not None:
            progress(done, len(matches.pairs), case)
    in_order = {pair.case: results[pair.case] for pair in matches.pairs}
    cases: Scored = {case: result for case, result in in_order.items() if isinstance(result, Evaluation)}
    failed = {case: result for case, result in in_order.items() if isinstance(result, CrepsError)}
    if failed and not cases:
        first = next(iter(failed.values()))
        if len(failed) == 1:
            raise first
        raise InputError(f"None of {len(failed)} cases could be evaluated; the first error: {first.what}", first.remedy)
    listed = {pair.case: _without_folders(failed[pair.case], pair) for pair in matches.pairs if pair.case in failed}
    return CohortEvaluation(cases, listed, matches.without_ct, matches.without_sct)


def _matches(scts: Path, cts: Path, options: EvaluationOptions) -> Matches:
    labels = None if options.labels is None else str(options.labels)
    return match(scts, cts, truth=options.truth or TRUTH, labels=labels)


def _earlier(against: Path) -> Scored | None:
    """The other model's metrics if they were computed earlier."""
    if not against.exists():
        raise InputError(
            f"{against} does not exist.",
            "Name the folder of the other model's sCTs, or the JSON file of its evaluation.",
        )
    return read_document(against) if against.is_file() and against.suffix.lower() == ".json" else None


def _check(
    matches: Matches,
    other: Matches | Scored | None,
    options: EvaluationOptions,
    against: Path | None,
    targets: Iterable[Path | str],
    overwrite: bool,
) -> None:
    """Refuse targets that cannot be written and models without a common case, before anything is computed."""
    pairs = (*matches.pairs, *(other.pairs if isinstance(other, Matches) else ()))
    inputs = [image for pair in pairs for image in pair.inputs()]
    if isinstance(options.label_names, (Path, str)):
        inputs.append(Path(options.label_names))
    if against is not None and against.is_file():
        inputs.append(against)
    check_targets([Path(target) for target in targets], inputs, overwrite=overwrite)
    if other is not None:
        others = {pair.case for pair in other.pairs} if isinstance(other, Matches) else set(other)
        if not others & {pair.case for pair in matches.pairs}:
            raise InputError(f"{against} contains none of the cases to evaluate.", "Use the same case names.")


def _evaluate_both(
    matches: Matches,
    other: Matches | Scored | None,
    options: EvaluationOptions,
    progress: Progress | None,
    runner: Runner | None,
) -> CohortEvaluation:
    """Score a model and, if it is not scored yet, the other one; compare them."""
    total = len(matches.pairs) + (len(other.pairs) if isinstance(other, Matches) else 0)

    def reporter(before: int) -> Progress | None:
        return None if progress is None else lambda done, _, case: progress(before + done, total, case)

    result = evaluate_cases(matches, options, progress=reporter(0), runner=runner)
    if other is None:
        return result
    if isinstance(other, Matches):
        other = evaluate_cases(other, options, progress=reporter(len(matches.pairs)), runner=runner).cases
    return replace(result, comparison=compare(result.cases, other))


@dataclass(frozen=True)
class _Scoring(Work[Pair, Evaluation | CrepsError]):
    """Scores a pair; one that cannot be scored gives the error.

    Attributes:
        names: Name of every class number, if errors are scored by label.
        options: How to score.
    """

    names: Mapping[int, str] | None
    options: EvaluationOptions

    def do(self, task: Pair) -> Evaluation | CrepsError:
        """Score one pair."""
        try:
            return _score(task, self.names, self.options)
        except CrepsError as error:
            return error

    def lost(self, task: Pair, died: WorkerDied) -> CrepsError:
        """Why the pair has no metrics."""
        return InputError(f"The process that scored {task.case} {died.how}.", died.remedy)

    def key(self, task: Pair) -> str:
        """The options, and the files of the pair as they are now."""
        return "\n".join([repr(self), task.case, *(stamp(path) for path in task.inputs())])

    def failed(self, result: Evaluation | CrepsError) -> bool:
        """Whether the pair could not be scored."""
        return isinstance(result, CrepsError)


def _score(pair: Pair, names: Mapping[int, str] | None, options: EvaluationOptions) -> Evaluation:
    if names is not None and pair.labels is None:
        raise InputError(f"{pair.case} has no labels beside its CT.", "Add them, or leave out --labels (labels=None).")
    chosen = replace(options, mask=pair.mask, labels=pair.labels, label_names=names, truth=None)
    return evaluate(pair.sct, pair.ct, chosen, name=pair.case)


def _without_folders(error: CrepsError, pair: Pair) -> CrepsError:
    """The error with the names of files instead of their paths."""
    what = error.what
    for path in pair.inputs():
        what = what.replace(str(path), path.name)
    return InputError(what, error.remedy)
