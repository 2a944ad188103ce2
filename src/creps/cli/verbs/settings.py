"""``creps settings``."""

from __future__ import annotations

from pathlib import Path

import click

from creps.cli.options import PATH, SettingsCommand, chosen_overrides, preset, recipe, settings_file
from creps.provenance import NOTICE

__all__ = ["settings"]


@click.command(cls=SettingsCommand)
@click.option("-o", "--output", type=PATH, help="Write to this file instead of standard output; must not exist.")
@click.option("--markdown", is_flag=True, help="Print the reference page of all settings instead.")
@recipe()
@preset
@settings_file
@click.pass_context
def settings(
    ctx: click.Context, output: Path | None, markdown: bool, preset: str | None, settings_path: Path | None
) -> None:
    """Print every setting with its value, meaning and source, as YAML."""
    from creps.errors import OutputExistsError
    from creps.io.atomic import atomic_file
    from creps.settings import load_settings, to_markdown, to_yaml

    chosen = load_settings(preset, settings_path, chosen_overrides(ctx))
    text = to_markdown() if markdown else to_yaml(chosen, NOTICE)
    if output is None:
        click.echo(text, nl=False)
        return
    if output.exists():
        raise OutputExistsError(f"{output} already exists.", "Settings files are never overwritten; name another file.")
    with atomic_file(output) as temporary:
        temporary.write_text(text, encoding="utf-8")
