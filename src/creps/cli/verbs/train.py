"""``creps train``."""

from __future__ import annotations

from pathlib import Path

import click

from creps.cli.options import PATH, SettingsCommand, chosen_overrides, preset, recipe, settings_file

__all__ = ["train"]


@click.command(cls=SettingsCommand, without=("preparation",))
@click.argument("cohort", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="Run folder: model, checkpoints, curves, pictures.")
@click.option("--resume", type=click.Choice(["auto"]), help="Go on from the last checkpoint, if there is one.")
@click.option(
    "--from", "origin", type=PATH, help="Start from this model, run or checkpoint (fine-tuning), with its settings."
)
@click.option("--weights", help="The same as --creps.weights.")
@recipe
@preset
@settings_file
@click.pass_context
def train(
    ctx: click.Context,
    cohort: Path,
    output: Path,
    resume: str | None,
    origin: Path | None,
    weights: str | None,
    preset: str | None,
    settings_path: Path | None,
) -> None:
    """Train a model on a prepared COHORT; no pairs are needed unless the recipe says so."""
    from creps.cohort.cohort import load_cohort
    from creps.settings import load_settings, refuse_idle
    from creps.training.processes import process_number
    from creps.training.run.starting_point import settings_of
    from creps.training.run.train import SETTINGS_FILE
    from creps.training.run.train import train as run

    prepared = load_cohort(cohort)
    overrides = chosen_overrides(ctx) | ({"creps.weights": weights} if weights else {})
    if resume and not settings_path and not preset and (output / SETTINGS_FILE).is_file():
        settings_path = output / SETTINGS_FILE
    model = settings_of(origin) if origin is not None and settings_path != output / SETTINGS_FILE else None
    settings = load_settings(preset, settings_path, overrides, prepared.settings(), model)
    refuse_idle(overrides, settings)
    folder = run(prepared, output, settings, resume=resume is not None, origin=origin)
    if process_number() == 0:
        click.echo(f"model: {folder}")
