"""``creps train``."""

from __future__ import annotations

from pathlib import Path

import click

from creps.cli.options import MODEL, PATH, SettingsCommand, chosen_overrides, recipe, settings_file

__all__ = ["train"]


@click.command(cls=SettingsCommand, without=("preparation",))
@click.argument("cohort", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="Run folder: model, checkpoints, curves, pictures.")
@click.option("--resume", type=click.Choice(["auto"]), help="Continue from the last checkpoint, if there is one.")
@click.option(
    "--from",
    "model",
    type=MODEL,
    help="Start from this shipped model, model folder, run or checkpoint (fine-tuning), with its settings.",
)
@click.option("--weights", help="Same as --creps.weights.")
@recipe(default="the cohort's")
@click.option("-p", "--preset", help="Preset that the settings start from; default: the cohort's.")
@settings_file
@click.pass_context
def train(
    ctx: click.Context,
    cohort: Path,
    output: Path,
    resume: str | None,
    model: str | None,
    weights: str | None,
    preset: str | None,
    settings_path: Path | None,
) -> None:
    """Train a model on a prepared COHORT; no pairs are needed unless the recipe says so."""
    from creps.report.training import write_training
    from creps.training.processes import process_number
    from creps.training.run.train import train as run

    overrides = chosen_overrides(ctx) | ({"creps.weights": weights} if weights else {})
    folder = run(
        cohort,
        output,
        settings_path,
        preset=preset,
        overrides=overrides,
        model=model,
        resume=resume is not None,
        report=write_training,
    )
    if process_number() == 0:
        click.echo(f"model: {folder}")
