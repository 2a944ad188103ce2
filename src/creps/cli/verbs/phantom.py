"""``creps phantom``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from creps.cli.console import progress_bar
from creps.cli.options import PATH

__all__ = ["phantom"]

_REGIONS = ("head", "pelvis")


@click.command()
@click.argument("output", type=PATH)
@click.option(
    "--region", type=click.Choice(_REGIONS), default="head", show_default=True, help="Body region of the phantoms."
)
@click.option(
    "--mr", "mr_patients", type=int, default=12, show_default=True, help="Number of training patients with an MR."
)
@click.option(
    "--ct", "ct_patients", type=int, default=12, show_default=True, help="Number of other training patients, with a CT."
)
@click.option("--test", "test_patients", type=int, default=4, show_default=True, help="Test patients: MR and true CT.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the anatomy and of the scanners.")
@click.option("--spacing", "spacing_mm", type=float, default=2.0, show_default=True, help="Voxel spacing in mm.")
@click.pass_context
def phantom(ctx: click.Context, /, output: Path, **options: Any) -> None:
    """Write a cohort of digital phantoms with known truth to OUTPUT.

    Training MR and CT belong to different people; OUTPUT/train.csv lists them with their centres. A
    test patient's ct is aligned to its mr. A pelvis has a ct_planning too: the same person in another
    sitting, bladder and rectum filled otherwise.
    """
    from creps.phantom import write_cohort

    cases = write_cohort(output, progress=progress_bar(ctx.obj["quiet"], "phantoms"), **options)
    click.echo(f"{len(cases)} patients in {output}")
