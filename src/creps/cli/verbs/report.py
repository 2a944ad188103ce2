"""``creps report``."""

from __future__ import annotations

from pathlib import Path

import click

from creps.cli.console import progress_bar
from creps.cli.options import PATH

__all__ = ["report"]


@click.command()
@click.argument("inputs", type=PATH, nargs=-1, required=True)
@click.option("-o", "--output", type=PATH, help="The page, ending with .html; default: beside the input.")
@click.option("--mr", type=PATH, help="The MR of the sCT: a volume file or a DICOM folder.")
@click.option("--ct", type=PATH, help="The true CT of the sCT.")
@click.option("--dose", type=PATH, help="Folder that creps dose wrote for this sCT.")
@click.option("--evaluation", type=PATH, help="JSON that creps evaluate --json wrote; the sCT is found in it.")
@click.option("--title", default="", help="Heading of the page.")
@click.option("--names", is_flag=True, help="Show names of files and cases, and the patient's name and ID.")
@click.option(
    "--cases",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="How many cases of a cohort, the worst first, get a report of their own.",
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier report.")
@click.pass_context
def report(
    ctx: click.Context,
    /,
    inputs: tuple[Path, ...],
    output: Path | None,
    mr: Path | None,
    ct: Path | None,
    dose: Path | None,
    evaluation: Path | None,
    title: str,
    names: bool,
    cases: int,
    overwrite: bool,
) -> None:
    """Write a report of INPUTS: one HTML page that opens offline, and a JSON file beside it.

    INPUTS is an sCT (a file, or the folder of its DICOM series), a folder of sCTs, the folder of a training run, or one
    or two JSON files of creps evaluate. What lies beside an sCT (record, QA, uncertainty) is found; parts of another
    case are left out, and the page says so. For research, not for diagnosis.
    """
    from creps.report.parts import OtherFiles
    from creps.report.sources import ReportOptions, write_report

    others = OtherFiles(mr=mr, ct=ct, dose=dose, evaluation=evaluation)
    options = ReportOptions(title, names, overwrite, cases)
    click.echo(write_report(inputs, output, others, options, progress_bar(ctx.obj["quiet"], "reporting")))
