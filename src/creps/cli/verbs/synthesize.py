"""``creps synthesize``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from creps.cli.options import PARTLY, PATH, SettingsCommand, chosen_overrides, progress_bar, terminated_as_interrupted
from creps.errors import InputError

__all__ = ["synthesize"]


def _spacing(_: click.Context, __: click.Parameter, value: str | None) -> tuple[float, float, float] | None:
    """``D,H,W`` in mm."""
    if value is None:
        return None
    try:
        d, h, w = (float(part) for part in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not three numbers with commas between them: D,H,W.") from error
    return d, h, w


@click.command(cls=SettingsCommand, sections=["inference"])
@click.argument("model", type=PATH)
@click.argument("inputs", type=PATH, nargs=-1, required=True)
@click.option("-o", "--output", type=PATH, required=True, help="File (one input) or folder (any number).")
@click.option("--series", help="Which DICOM series, if there are several: number, UID or part of its description.")
@click.option(
    "--grid",
    type=click.Choice(["planning", "mr", "model"]),
    help="Where the sCT lies: axial and not oblique (default for DICOM), as the MR (for files), as the network.",
)
@click.option(
    "--spacing", metavar="D,H,W", callback=_spacing, help="Spacing in mm of --grid planning; default: the MR's."
)
@click.option("--force", is_flag=True, help="Synthesize although the checks of the MR refuse; the result says so.")
@click.option(
    "--structures/--no-structures", default=None, help="Body and bone as an RTSTRUCT beside DICOM (default: yes)."
)
@click.option("--stable-uids", is_flag=True, help="The same input, model and settings give the same DICOM UIDs.")
@click.option("--deidentify", metavar="NAME", help="Write DICOM without the patient's identity, under this name.")
@click.option("--device", help="The same as --inference.device.")
@click.option("--mask", type=PATH, help="Body mask on the MR's grid, instead of the one found in it (one input only).")
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
@click.pass_context
def synthesize(
    ctx: click.Context,
    /,
    model: Path,
    inputs: tuple[Path, ...],
    output: Path,
    series: str | None,
    device: str | None,
    mask: Path | None,
    overwrite: bool,
    **wishes: Any,
) -> None:
    """Make synthetic CTs of the MRs INPUTS with MODEL.

    INPUTS are volume files or folders of DICOM series. A file's sCT has its format and grid, with a JSON record and
    a picture beside it; a DICOM series becomes a folder with a CT series, an RTSTRUCT, a record and a picture.
    """
    from creps.api import load
    from creps.synthesis.files import Wanted, resolved, synthesize_file
    from creps.synthesis.inputs import find_mr, target_paths

    for given, name in ((mask, "--mask"), (series, "--series"), (wishes["deidentify"], "--deidentify")):
        if given is not None and len(inputs) != 1:
            raise click.UsageError(f"{name} goes with one input.")
    wanted = Wanted(spacing_mm=wishes.pop("spacing"), pseudonym=wishes.pop("deidentify"), **wishes)
    mrs = [find_mr(path, series) for path in inputs]
    targets = target_paths(mrs, output, overwrite)
    wishes_of = [resolved(wanted, mr, target) for mr, target in zip(mrs, targets, strict=True)]
    loaded = load(model)
    changes = {key.partition(".")[2]: value for key, value in chosen_overrides(ctx).items()}
    settings = loaded.inference_settings(**changes | ({"device": device} if device else {}))
    failed = 0
    with terminated_as_interrupted():
        for mr, target, wish in zip(mrs, targets, wishes_of, strict=True):
            bar = progress_bar(ctx.obj["quiet"], mr.label)
            try:
                synthesize_file(loaded.plan, loaded.generator, mr, target, settings, wish, mask=mask, progress=bar)
            except InputError as error:
                if len(mrs) == 1:
                    raise
                click.echo(f"Error: {error}", err=True)
                failed += 1
            else:
                click.echo(target)
    if failed:
        sys.exit(PARTLY)
