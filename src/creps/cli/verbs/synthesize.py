"""``creps synthesize``."""

from __future__ import annotations

from pathlib import Path

import click

from creps.cli.options import PATH, SettingsCommand, chosen_overrides, progress_bar

__all__ = ["synthesize"]


@click.command(cls=SettingsCommand, sections=["inference"])
@click.argument("model", type=PATH)
@click.argument("inputs", type=PATH, nargs=-1, required=True)
@click.option("-o", "--output", type=PATH, required=True, help="File (one input) or folder (any number).")
@click.option("--device", help="The same as --inference.device.")
@click.option("--mask", type=PATH, help="Body mask on the MR's grid, instead of the one found in it (one input only).")
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
@click.pass_context
def synthesize(
    ctx: click.Context,
    model: Path,
    inputs: tuple[Path, ...],
    output: Path,
    device: str | None,
    mask: Path | None,
    overwrite: bool,
) -> None:
    """Make synthetic CTs of the MRs INPUTS with MODEL.

    Each sCT lies on its MR's grid, in the MR's format, with a JSON record and a picture beside it.
    """
    from creps.api import load
    from creps.pipeline.files import synthesize_file, target_paths

    if mask is not None and len(inputs) != 1:
        raise click.UsageError("--mask goes with one input.")
    targets = target_paths(inputs, output, overwrite)
    loaded = load(model)
    changes = {key.partition(".")[2]: value for key, value in chosen_overrides(ctx).items()}
    settings = loaded.inference_settings(**changes | ({"device": device} if device else {}))
    for source, target in zip(inputs, targets, strict=True):
        bar = progress_bar(ctx.obj["quiet"], source.name)
        synthesize_file(loaded.plan, loaded.generator, source, target, settings, mask=mask, progress=bar)
        click.echo(target)
