"""Many synthetic CTs against their true CTs: a case at a time, then what they say together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from creps.errors import CrepsError, InputError
from creps.evaluation.alignment import Register, check_register
from creps.evaluation.definitions import worst
from creps.evaluation.evaluate import Evaluation, evaluate
from creps.evaluation.images import label_names_of
from creps.evaluation.matching import Matches, Pair
from creps.metrics.statistics import bootstrap_interval, paired_comparison

__all__ = ["CohortEvaluation", "Comparison", "ScoredCase", "compare", "evaluate_cases", "summary"]

log = logging.getLogger(__name__)

Values = dict[str, float | None]


@dataclass(frozen=True)
class ScoredCase:
    """One case's figures and what they must share with another model's to be compared.

    Attributes:
        values: Flat name → figure.
        missing: Name → why it is None.
        about: Inputs, grid, alignment, mask, tissues, structures, notes, as plain JSON values.
    """

    values: Values
    missing: dict[str, str]
    about: dict[str, Any]

    def basis(self) -> dict[str, Any]:
        """What the figures were measured against."""
        inputs, tissues = self.about.get("inputs", {}), self.about.get("tissues", {})
        return {
            "CT": inputs.get("ct", {}).get("sha256"),
            "mask": inputs.get("mask", {}).get("sha256"),
            "grid": self.about.get("grid"),
            "alignment": self.about.get("alignment", {}).get("kind"),
            "label volume": inputs.get("labels", {}).get("sha256"),
            "table of tissues": tissues.get("numbers") or tissues.get("windows_hu"),
        }


@dataclass(frozen=True)
class CohortEvaluation:
    """A cohort's figures.

    Attributes:
        cases: Name → figures, of every case that could be scored.
        failures: Name → why a case could not be scored, without places on this machine.
        without_ct: Cases with a synthetic CT only.
        without_sct: Cases with a true CT only.
    """

    cases: dict[str, ScoredCase]
    failures: dict[str, CrepsError]
    without_ct: tuple[str, ...] = ()
    without_sct: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every case was matched and scored."""
        return not (self.failures or self.without_ct or self.without_sct)


@dataclass(frozen=True)
class Comparison:
    """Two models on the same patients.

    Attributes:
        patients: The cases that both have and that were measured against the same; there may be none.
        metrics: Name → means of both, mean difference (first - second), interval, p-value, as plain JSON values.
        left_out: Case → why it is not compared.
    """

    patients: tuple[str, ...]
    metrics: dict[str, dict[str, Any]]
    left_out: dict[str, str]


def evaluate_cases(
    matches: Matches,
    *,
    label_names: Mapping[int, str] | Path | str | None = None,
    resample: bool = False,
    register: Register | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> CohortEvaluation:
    """Score every pair; one that cannot be scored does not stop the others.

    Args:
        matches: What belongs together.
        label_names: Names of the class numbers, if the pairs have labels.
        resample: As in `evaluate`.
        register: As in `evaluate`.
        progress: Called with (cases done, cases in all, case).

    Raises:
        InputError: no case could be scored; the first one's reason.
        SettingsError: another word for `register`.
    """
    check_register(register)
    names = None if label_names is None else label_names_of(label_names)
    cases: dict[str, ScoredCase] = {}
    failures: dict[str, CrepsError] = {}
    for done, pair in enumerate(matches.pairs, start=1):
        try:
            cases[pair.case] = _score(pair, names, resample, register)
        except CrepsError as error:
            failures[pair.case] = error
            if len(matches.pairs) > 1:  # the reason of a single one is what is raised
                log.warning("%s is not scored: %s", pair.case, error)
        if progress is not None:
            progress(done, len(matches.pairs), pair.case)
    if not cases:
        first = next(iter(failures.values()))
        if len(failures) == 1:
            raise first
        raise InputError(f"None of {len(failures)} cases could be scored; the first one: {first.what}", first.remedy)
    shown = {pair.case: _without_places(failures[pair.case], pair) for pair in matches.pairs if pair.case in failures}
    return CohortEvaluation(cases, shown, matches.without_ct, matches.without_sct)


def summary(cases: Mapping[str, ScoredCase]) -> dict[str, dict[str, Any]]:
    """Over the patients: count, mean, sample standard deviation, median, 95 % interval of the mean, worst case.

    Returns:
        Name of the metric → plain JSON values; what cannot be said is None, with the reason where it is not plain.
    """
    found = {}
    for name in _names(cases.values()):
        values = {case: value for case, one in cases.items() if (value := one.values.get(name)) is not None}
        found[name] = {"n": len(values), "missing": len(cases) - len(values), **_spread(name, values)}
    return found


def compare(first: Mapping[str, ScoredCase], second: Mapping[str, ScoredCase]) -> Comparison:
    """Compare two models on the patients that both have, measured against the same truth in the same way."""
    left_out = {case: "has no figures of the other model" for case in first if case not in second}
    left_out |= {case: "has figures of the other model only" for case in second if case not in first}
    patients = []
    for case in (case for case in first if case in second):
        mine, other = first[case].basis(), second[case].basis()
        differing = next((what for what in mine if mine[what] != other[what]), None)
        if differing is None:
            patients.append(case)
        else:
            left_out[case] = f"was scored with another {differing}"
    metrics = {}
    for name in _names([first[case] for case in patients]):
        pairs = [(first[case].values.get(name), second[case].values.get(name)) for case in patients]
        both = [(a, b) for a, b in pairs if a is not None and b is not None]
        if both:
            metrics[name] = _compared([a for a, _ in both], [b for _, b in both])
    return Comparison(tuple(patients), metrics, left_out)


def _score(pair: Pair, names: Mapping[int, str] | None, resample: bool, register: Register | None) -> ScoredCase:
    if names is not None and pair.labels is None:
        raise InputError(f"{pair.case} has no labels beside its CT.", "Add them, or leave out --labels.")
    result = evaluate(
        pair.sct, pair.ct, pair.mask, labels=pair.labels, label_names=names, resample=resample, register=register,
        name=pair.case,
    )  # fmt: skip
    return _case(result)


def _case(result: Evaluation) -> ScoredCase:
    shared = ("inputs", "grid", "alignment", "mask", "tissues", "structures", "notes", "seconds")
    return ScoredCase(result.values, result.missing, {name: result.record[name] for name in shared})


def _spread(name: str, values: dict[str, float]) -> dict[str, Any]:
    empty: dict[str, Any] = dict.fromkeys(("mean", "sd", "median", "worst", "ci95"))
    if not values:
        return empty | {"ci95_missing": "no case has a value"}
    array = np.array(list(values.values()))
    case = worst(name, values)
    found = empty | {
        "mean": float(array.mean()),
        "sd": float(array.std(ddof=1)) if len(array) > 1 else None,
        "median": float(np.median(array)),
        "worst": {"case": case, "value": values[case]},
    }
    try:
        found["ci95"] = asdict(bootstrap_interval(array.tolist()))
    except ValueError as error:
        found["ci95_missing"] = str(error)
    return found


def _compared(first: list[float], second: list[float]) -> dict[str, Any]:
    found = asdict(paired_comparison(first, second))
    found["ci95"] = found.pop("interval")
    return {"mean_first": float(np.mean(first)), "mean_second": float(np.mean(second)), **found}


def _names(cases: Iterable[ScoredCase]) -> list[str]:
    """Every figure's name, in the order of the first case that has it."""
    return list(dict.fromkeys(name for one in cases for name in one.values))


def _without_places(error: CrepsError, pair: Pair) -> CrepsError:
    """An error whose sentences name files, not where they lie."""
    what = error.what
    for path in (pair.sct, pair.ct, pair.mask, pair.labels):
        if path is not None:
            what = what.replace(str(path), path.name)
    return InputError(what, error.remedy)
