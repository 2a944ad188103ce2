"""``creps evaluate``."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from creps.cli.console import PARTLY, progress_bar
from creps.cli.options import PATH, slurm
from creps.cli.signals import on_cluster
from creps.errors import SettingsError

if TYPE_CHECKING:
    from creps.evaluation.results import CohortEvaluation

__all__ = ["evaluate"]


@click.command()
@click.argument("sct", type=PATH)
@click.argument("ct", type=PATH)
@click.option("--mask", type=PATH, help="Region to score (one case); default: the body found in the CT.")
@click.option("--truth", help="In folders: name of the true CTs, such as ct_noise_free.  [default: ct]")
@click.option(
    "--labels", help="Label volume for errors by class (in folders: its name); default: HU windows on the CT."
)
@click.option("--label-names", type=PATH, help="JSON file with the name of every label, or a phantom.json.")
@click.option("--resample", is_flag=True, help="Resample the CT onto the sCT's grid.")
@click.option(
    "--register",
    type=click.Choice(["rigid", "rigid-centres"]),
    help="Register the CT to the sCT first, starting from the headers' positions or with the centres aligned.",
)
@click.option("--against", type=PATH, help="Another model's sCTs of the same cases, or its --json: paired comparison.")
@click.option("--json", "json_file", type=PATH, help="Write metrics, summary and provenance.")
@click.option("--csv", "csv_file", type=PATH, help="Write a row per case.")
@click.option("--report", type=PATH, help="Also write a report: FILE.html, with the worst ten cases beside it.")
@click.option("--names", is_flag=True, help="Show names of cases and files in the report.")
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@slurm
@click.pass_context
def evaluate(
    ctx: click.Context,
    /,
    sct: Path,
    ct: Path,
    against: Path | None,
    json_file: Path | None,
    csv_file: Path | None,
    report: Path | None,
    names: bool,
    overwrite: bool,
    slurm: tuple[str, ...],
    **options: Any,
) -> None:
    """Score the synthetic CT SCT (or a folder of them) against the true CT.

    In folders an sCT is CASE_sct.*, CASE/sct.* or CASE.*; its CT is CASE/ct.* (with CASE/mask.*, the layout of
    SynthRAD) or CASE.* (with CASE_mask.*). A single image may be a DICOM folder.

    Exit code 3: some cases were scored, others were not.
    """
    from creps.evaluation.batch import evaluate_folder, evaluate_pair
    from creps.evaluation.matching import holds_cases
    from creps.evaluation.options import EvaluationOptions
    from creps.evaluation.report import table

    cohort = holds_cases(sct)
    _check_report(report, json_file, cohort=cohort, names=names, overwrite=overwrite)
    if slurm and not cohort:
        raise click.UsageError("--slurm goes with folders of cases.")
    try:
        chosen = EvaluationOptions(**options)
        with on_cluster(slurm, "evaluate", sct) as runner:
            result = (partial(evaluate_folder, runner=runner) if cohort else evaluate_pair)(
                sct,
                ct,
                chosen,
                against=against,
                targets=[target for target in (json_file, csv_file) if target is not None],
                overwrite=overwrite,
                progress=progress_bar(ctx.obj["quiet"], "scoring"),
            )
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    try:  # print and write even if the other fails: a full disk, or a closed pipe
        click.echo(table(result))
    finally:
        _write_tables(result, json_file, csv_file)
    if report is not None:
        from creps.report.sources import ReportOptions, pairs_of, write_evaluated

        shown = ReportOptions(names=names, overwrite=overwrite)
        done = progress_bar(ctx.obj["quiet"], "reporting")
        click.echo(write_evaluated(pairs_of(sct, ct, chosen), result, report, shown, done))
    _end(result)


def _end(result: CohortEvaluation) -> None:
    """List the cases without metrics on standard error; with any, end with exit code 3.

    The reason of a failure was logged when it happened.
    """
    for cases, what in (
        (tuple(result.failed), "could not be scored"),
        (result.without_ct, "have no true CT"),
        (result.without_sct, "have no synthetic CT"),
    ):
        if cases:
            click.echo(f"{len(cases)} {what}: {', '.join(cases)}", err=True)
    if not result.complete:
        sys.exit(PARTLY)


def _write_tables(result: CohortEvaluation, json_file: Path | None, csv_file: Path | None) -> None:
    from creps.evaluation.document import document
    from creps.evaluation.report import write_csv
    from creps.io.atomic import write_json

    if json_file is not None:
        write_json(json_file, document(result))
    if csv_file is not None:
        write_csv(csv_file, result)


def _check_report(report: Path | None, json_file: Path | None, *, cohort: bool, names: bool, overwrite: bool) -> None:
    """Refuse a report that cannot be written, before anything is computed."""
    if report is None:
        if names:
            raise click.UsageError("--names goes with --report.")
        return
    from creps.report.page import page_files
    from creps.report.sources import check_report

    check_report(report, cohort=cohort, overwrite=overwrite)
    if json_file is not None and json_file.absolute() in (one.absolute() for one in page_files(report)):
        raise click.UsageError(f"The report writes {json_file.name} itself: name another file with --json.")
