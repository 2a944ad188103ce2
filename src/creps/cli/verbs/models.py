"""``creps models``."""

from __future__ import annotations

import json

import click

__all__ = ["models"]


@click.command()
@click.option("--verify", is_flag=True, help="Compare every file with its SHA-256; exit with 1 if one is damaged.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def models(verify: bool, as_json: bool) -> None:
    """List the models that come with creps: their names stand wherever a model folder can.

    Scores are means over held-out digital phantoms, which differ from patients. Each model's MODEL_CARD.md says what it
    is for.
    """
    from creps.shipped.catalogue import models as shipped
    from creps.shipped.catalogue import table
    from creps.shipped.catalogue import verify as verified

    if verify:
        click.echo(f"{len(verified())} files of shipped models are as they were shipped", err=True)
    found = shipped()
    click.echo(json.dumps([model.as_json() for model in found], indent=2) if as_json else table(found))
