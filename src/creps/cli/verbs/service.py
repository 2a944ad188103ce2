"""``creps service``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from creps.cli.options import PATH

__all__ = ["service"]


@click.command()
@click.argument("folder", type=PATH)
@click.option("--retry", metavar="JOB", type=int, multiple=True, help="Try a parked job again.")
@click.option("--release", metavar="JOB", type=int, multiple=True, help="Send the sCT of a job that a check held.")
@click.option("--uid", metavar="UID", help="Show the jobs of the series with this SeriesInstanceUID.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def service(folder: Path, retry: tuple[int, ...], release: tuple[int, ...], uid: str | None, as_json: bool) -> None:
    """Show what the service of FOLDER did: parked jobs with their reasons, and what waits.

    FOLDER is that of a node, or OUT of a watch. The service may be running.
    """
    from creps.service.overview import overview, release_job, retry_job

    for number in retry:
        retry_job(folder, number)
    for number in release:
        release_job(folder, number)
    found = overview(folder, uid=uid)
    click.echo(json.dumps(found.document(), indent=2) if as_json else found.text())
