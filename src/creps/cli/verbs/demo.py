"""``creps demo``."""

from __future__ import annotations

from pathlib import Path

import click

from creps.cli.console import progress_bar
from creps.cli.options import PATH

__all__ = ["demo"]

SCANNERS = ("north", "east", "south")


@click.command()
@click.option("-o", "--output", type=PATH, required=True, help="Output folder; must not exist.")
@click.option(
    "--region",
    type=click.Choice(["head", "pelvis", "both"]),
    default="both",
    show_default=True,
    help="Region of the models to try, or to train with --full.",
)
@click.option("--full", is_flag=True, help="Train from scratch instead, recipes anatomy and paper: takes an hour.")
@click.option(
    "--scanner",
    type=click.Choice([*SCANNERS, "none"]),
    help=f"Adapt to this one; default: {SCANNERS[0]}.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the phantoms.")
@click.option("--steps", type=click.IntRange(min=1), help="Number of training steps, for a quick test.")
@click.pass_context
def demo(
    ctx: click.Context, output: Path, region: str, full: bool, scanner: str | None, seed: int, steps: int | None
) -> None:
    """Synthesize digital phantoms with the shipped models, and adapt one to a new scanner; takes minutes.

    Scores are against the known truth. The adaptation trains the shipped model of heads further, on phantoms and on
    CTs of another site, and scores it on a scanner that it has not seen.
    """
    from creps.errors import SettingsError
    from creps.io.outputs import check_new

    check_new(output, "Name another folder, or delete this one first.")
    if full and scanner is not None:
        raise SettingsError("--scanner is for the adaptation, and --full adapts nothing.", "Give one of them.")
    if scanner == "none" and steps is not None:
        raise SettingsError("--steps are those of a training, and --scanner none trains nothing.", "Leave one out.")
    if full:
        _train_from_scratch(ctx, output, region, seed, steps)
        return
    from creps.demo.adaptation import AdaptationOptions
    from creps.demo.first_look import first_look, models_of
    from creps.demo.scanners import unseen_scanner

    options = AdaptationOptions() if steps is None else AdaptationOptions(steps=steps)
    unseen = None if scanner == "none" else unseen_scanner(scanner or SCANNERS[0])
    look = first_look(output, models_of(region), unseen, seed=seed, options=options)
    click.echo(look.text() + "\n")
    for picture in look.pictures:
        click.echo(f"picture: {picture}")


def _train_from_scratch(ctx: click.Context, output: Path, region: str, seed: int, steps: int | None) -> None:
    from creps.demo.full import DemoCohort, run_demo
    from creps.demo.patients import score_table

    overrides = {} if steps is None else {"training.steps": steps}
    progress = progress_bar(ctx.obj["quiet"], "phantoms")
    for name in ("head", "pelvis") if region == "both" else (region,):
        cohort = DemoCohort(region=name, seed=seed)
        result = run_demo(output / name, cohort=cohort, overrides=overrides, progress=progress)
        click.echo(f"{name}, {score_table(result.scores)}\npicture: {result.picture}\n")
