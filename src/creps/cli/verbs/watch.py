"""``creps watch``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from creps.cli.console import PARTLY
from creps.cli.options import MODEL, PATH
from creps.cli.signals import stop_on_signals

__all__ = ["watch"]


@click.command()
@click.argument("source", metavar="IN", type=PATH)
@click.argument("output", metavar="OUT", type=PATH)
@click.option("-m", "--model", type=MODEL, help="One model for every MR.")
@click.option("-s", "--settings", type=PATH, help="Instead: a YAML file with rules, destinations and limits.")
@click.option(
    "--settle",
    "settle_seconds",
    type=click.FloatRange(min=0),
    help="An MR is complete when nothing of it has changed for as many seconds; default: the settings', or 30.",
)
@click.option("--once", is_flag=True, help="End when nothing can be done now; exit code 3 if an MR is left.")
def watch(
    source: Path, output: Path, model: str | None, settings: Path | None, settle_seconds: float | None, once: bool
) -> None:
    """Synthesize every MR that is put into the folder IN; sCTs go to OUT.

    An MR is a volume file, or a DICOM series in a subfolder. Nothing in IN is changed. OUT also holds the state of the
    service and its audit log; started again, it goes on where it was. What cannot be synthesized is parked with the
    reason: creps service OUT. For research, not for diagnosis.
    """
    from creps.service.overview import unfinished_jobs
    from creps.service.run import settings_of
    from creps.service.run import watch as run

    chosen = settings_of(settings, model)
    if settle_seconds is not None:
        chosen = chosen.model_copy(update={"settle_seconds": settle_seconds})
    with stop_on_signals() as stop:
        run(source, output, chosen, once=once, stop=stop)
    left = unfinished_jobs(output, source) if once else []
    if left:
        click.echo(f"MRs without an sCT, or not sent: {len(left)}. See why: creps service {output}", err=True)
        sys.exit(PARTLY)
