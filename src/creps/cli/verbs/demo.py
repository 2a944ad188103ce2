"""``creps demo``."""

from __future__ import annotations

from pathlib import Path

import click

from creps.cli.options import PATH, progress_bar

__all__ = ["demo"]


@click.command()
@click.option("-o", "--output", type=PATH, required=True, help="Folder for everything the demo makes; must not exist.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the phantoms.")
@click.option("--steps", type=int, help="Training steps of both recipes, for a quick look.")
@click.pass_context
def demo(ctx: click.Context, output: Path, seed: int, steps: int | None) -> None:
    """Train and synthesize digital phantoms with known truth, score, draw.

    Two recipes are trained: the demo's own and the paper's at the same size.
    """
    from creps.demo import DemoCohort, run_demo, score_table

    overrides = {} if steps is None else {"training.steps": steps}
    result = run_demo(
        output, cohort=DemoCohort(seed=seed), overrides=overrides, progress=progress_bar(ctx.obj["quiet"], "phantoms")
    )
    click.echo(score_table(result.scores))
    click.echo(f"picture: {result.picture}")
