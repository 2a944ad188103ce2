"""``creps demo``."""

from __future__ import annotations

from pathlib import Path

import click

from creps.cli.options import PATH, progress_bar

__all__ = ["demo"]


@click.command()
@click.option("-o", "--output", type=PATH, required=True, help="Output folder; must not exist.")
@click.option(
    "--region", type=click.Choice(["head", "pelvis", "both"]), default="both", show_default=True, help="Body region."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the phantoms.")
@click.option("--steps", type=int, help="Number of training steps, for a quick test.")
@click.pass_context
def demo(ctx: click.Context, output: Path, region: str, seed: int, steps: int | None) -> None:
    """Train and synthesize digital phantoms with known truth, score, draw.

    Heads and pelves, with the recipe anatomy. Results are in OUTPUT/head and OUTPUT/pelvis.
    """
    from creps.demo.run import DemoCohort, run_demo, score_table
    from creps.io.outputs import check_new

    check_new(output, "Name another folder, or delete this one first.")
    overrides = {} if steps is None else {"training.steps": steps}
    progress = progress_bar(ctx.obj["quiet"], "phantoms")
    for name in ("head", "pelvis") if region == "both" else (region,):
        cohort = DemoCohort(region=name, seed=seed)
        result = run_demo(output / name, cohort=cohort, overrides=overrides, progress=progress)
        click.echo(f"{name}, {score_table(result.scores)}\npicture: {result.picture}\n")
