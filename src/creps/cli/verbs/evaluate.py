"""``creps evaluate``."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from creps.cli.options import PATH, progress_bar
from creps.errors import InputError

if TYPE_CHECKING:
    from creps.evaluation.batch import CohortEvaluation, Comparison, ScoredCase
    from creps.evaluation.matching import Matches

__all__ = ["evaluate"]

PARTLY = 3
"""Exit code: figures were found, but some cases have none."""


@click.command()
@click.argument("sct", type=PATH)
@click.argument("ct", type=PATH)
@click.option("--mask", type=PATH, help="Where figures count (one case); default: the body found in the CT.")
@click.option("--truth", default="ct", show_default=True, help="In folders: name of the true CTs, as ct_noise_free.")
@click.option(
    "--labels", help="Label volume for errors by class (in folders: its name); default: HU windows on the CT."
)
@click.option("--label-names", type=PATH, help="JSON file with the name of every label, or a phantom.json.")
@click.option("--resample", is_flag=True, help="Bring the CT onto the sCT's grid.")
@click.option(
    "--register",
    type=click.Choice(["rigid", "rigid-centres"]),
    help="Align the CT to the sCT first, from where they lie or with their centres brought together.",
)
@click.option("--against", type=PATH, help="Another model's sCTs of the same cases, or its --json: paired comparison.")
@click.option("--json", "json_file", type=PATH, help="Write figures, summary and provenance.")
@click.option("--csv", "csv_file", type=PATH, help="Write a row per case.")
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
@click.pass_context
def evaluate(ctx: click.Context, /, sct: Path, ct: Path, **options: Any) -> None:
    """Score the synthetic CT SCT (or a folder of them) against the true CT.

    In folders an sCT is CASE_sct.*, CASE/sct.* or CASE.*; its CT is CASE/ct.* (with CASE/mask.*, the layout of
    SynthRAD) or CASE.* (with CASE_mask.*). A single CT may be a DICOM folder.
    """
    from creps.evaluation.batch import compare, evaluate_cases
    from creps.evaluation.report import comparison_table, document, table, write_csv
    from creps.io.atomic import write_json

    _check_usage(sct, ct, options, truth_given=ctx.get_parameter_source("truth") is not ParameterSource.DEFAULT)
    json_file, csv_file = options["json_file"], options["csv_file"]
    scoring = {name: options[name] for name in ("label_names", "resample", "register")}
    matches = _matches(sct, ct, options)
    other = None if options["against"] is None else _other(matches, sct, ct, options)
    _check_targets(matches, other, options)
    _check_shared(matches, other, options["against"])
    quiet = ctx.obj["quiet"]
    result = evaluate_cases(matches, progress=progress_bar(quiet, "scoring"), **scoring)
    comparison: Comparison | None = None
    if other is not None:
        second = other if isinstance(other, dict) else _scored(other, progress_bar(quiet, "the other model"), scoring)
        comparison = compare(result.cases, second)
    try:  # a full disk must not cost the table, a reader that has gone not the files
        click.echo(table(result))
        if comparison is not None:
            click.echo(f"\n{comparison_table(comparison)}")
    finally:
        if json_file is not None:
            write_json(json_file, document(result, comparison, asked=_asked(sct, ct, options)))
        if csv_file is not None:
            write_csv(csv_file, result)
    _tell_unscored(result)
    if not result.complete or (comparison is not None and comparison.left_out):
        sys.exit(PARTLY)


def _check_usage(sct: Path, ct: Path, options: dict[str, Any], *, truth_given: bool) -> None:
    if truth_given and sct.is_file():
        raise click.UsageError("--truth names the CTs of a folder; of one sCT the CT is given itself.")
    if options["mask"] is not None and sct.is_dir():
        raise click.UsageError("--mask goes with one sCT; in folders it is CASE/mask.* beside the CT.")
    if (options["labels"] is None) != (options["label_names"] is None):
        raise click.UsageError("--labels and --label-names go together.")
    if options["resample"] and options["register"]:
        raise click.UsageError("--register brings the CT onto the sCT's grid as well: leave out --resample.")
    if sct.is_dir() and ct.is_file():
        raise InputError(f"{sct} is a folder, but {ct} is a file.", "Give two files, or two folders.")


def _check_targets(matches: Matches, other: Matches | dict[str, ScoredCase] | None, options: dict[str, Any]) -> None:
    """Before anything is computed."""
    from creps.io.outputs import check_targets

    pairs = (*matches.pairs, *(() if other is None or isinstance(other, dict) else other.pairs))
    inputs = [path for pair in pairs for path in (pair.sct, pair.ct, pair.mask, pair.labels)]
    if options["against"] is not None and not options["against"].is_dir():
        inputs.append(options["against"])
    targets = [options[name] for name in ("json_file", "csv_file") if options[name] is not None]
    check_targets(
        targets,
        [path for path in (*inputs, options["label_names"]) if path is not None],
        overwrite=options["overwrite"],
    )


def _matches(sct: Path, ct: Path, options: dict[str, Any]) -> Matches:
    from creps.evaluation.matching import match, one_pair

    if sct.is_dir():
        return match(sct, ct, truth=options["truth"], labels=options["labels"])
    return one_pair(sct, ct, options["mask"], None if options["labels"] is None else Path(options["labels"]))


def _other(matches: Matches, sct: Path, ct: Path, options: dict[str, Any]) -> Matches | dict[str, ScoredCase]:
    """The other model's cases, still to score or scored earlier."""
    from creps.evaluation.matching import sct_of
    from creps.evaluation.report import read_document

    against: Path = options["against"]
    if not against.exists():
        raise InputError(f"{against} does not exist.", "Name the other model's sCTs, or its --json.")
    if against.is_file() and against.suffix.lower() == ".json":
        return read_document(against)
    if sct.is_dir() and against.is_file():
        raise InputError(f"{sct} is a folder, but {against} is a file.", "Compare two folders, or two files.")
    if sct.is_dir() or against.is_file():
        return _matches(against, ct, options)
    (pair,) = matches.pairs
    return type(matches)((replace(pair, sct=sct_of(pair, against)),), (), ())


def _check_shared(matches: Matches, other: Matches | dict[str, ScoredCase] | None, against: Path | None) -> None:
    """Two models without a case in common: said before anything is computed."""
    if other is None:
        return
    theirs = set(other) if isinstance(other, dict) else {pair.case for pair in other.pairs}
    if not theirs & {pair.case for pair in matches.pairs}:
        raise InputError(f"{against} has none of the cases that are to be scored.", "Name the cases alike.")


def _scored(matches: Matches, progress: Any, scoring: dict[str, Any]) -> dict[str, ScoredCase]:
    from creps.evaluation.batch import evaluate_cases

    return evaluate_cases(matches, progress=progress, **scoring).cases


def _asked(sct: Path, ct: Path, options: dict[str, Any]) -> dict[str, str | None]:
    """Names of what was given; a single CT may be a DICOM folder, whose name may be the patient's."""
    against = None if options["against"] is None else options["against"].name
    if not sct.is_dir():
        return {"against": against}
    return {"sct": sct.name, "ct": ct.name, "truth": options["truth"], "against": against}


def _tell_unscored(result: CohortEvaluation) -> None:
    """What has no figures, on standard error; why a case failed was said when it did."""
    for cases, what in (
        (tuple(result.failures), "could not be scored"),
        (result.without_ct, "have no true CT"),
        (result.without_sct, "have no synthetic CT"),
    ):
        if cases:
            click.echo(f"{len(cases)} {what}: {', '.join(cases)}", err=True)
