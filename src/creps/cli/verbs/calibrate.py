"""``creps calibrate``."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from creps.cli.console import progress_bar
from creps.cli.options import MODEL, PATH

__all__ = ["calibrate"]


@click.command()
@click.argument("model", type=MODEL)
@click.option("-o", "--output", type=PATH, help="Write a calibrated copy of the model to this folder instead.")
@click.option(
    "--pairs", type=PATH, help="Folder of real pairs: CASE/mr.* and the aligned CASE/ct.* (default: phantoms)."
)
@click.option("--phantoms", type=int, default=10, show_default=True, help="Number of phantoms.")
@click.option("--seed", type=int, default=505001, show_default=True, help="Seed of the phantoms.")
@click.option("--overwrite", is_flag=True, help="Overwrite an existing calibration or copy.")
@click.pass_context
def calibrate(
    ctx: click.Context,
    /,
    model: str,
    output: Path | None,
    pairs: Path | None,
    phantoms: int,
    seed: int,
    overwrite: bool,
) -> None:
    """Measure how far the sCTs of MODEL may be off, for synthesize --uncertainty.

    Synthesizes cases with known CT, digital phantoms unless --pairs names real ones, and writes calibration.json into
    the model's folder. An interval holds the stated share of true values for patients like these cases, and promises
    nothing about others.
    """
    from creps.api import load
    from creps.io.outputs import check_new
    from creps.synthesis.calibration import calibration_target, write_calibration

    given = [name for name in ("phantoms", "seed") if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if pairs is not None and given:
        raise click.UsageError(f"--{given[0]} is of phantoms, and --pairs uses none.")
    if output is not None:
        check_new(output, "Pass --overwrite, or name another folder.", overwrite=overwrite)
    target = None if output is not None else calibration_target(model, overwrite=overwrite)
    loaded = load(model)
    progress = progress_bar(ctx.obj["quiet"], "calibrating")
    found = loaded.calibrate(pairs, phantoms=phantoms, seed=seed, progress=progress)
    if target is not None:
        write_calibration(target, found)
        click.echo(target)
    elif output is not None:
        click.echo(loaded.save(output, overwrite=overwrite))
