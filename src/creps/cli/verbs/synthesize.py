"""``creps synthesize``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from creps.cli.options import (
    MODEL,
    PARTLY,
    PATH,
    SettingsCommand,
    chosen_overrides,
    message,
    progress_bar,
    terminated_as_interrupted,
)

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
@click.argument("model", type=MODEL)
@click.argument("inputs", type=PATH, nargs=-1, required=True)
@click.option("-o", "--output", type=PATH, required=True, help="File (one input) or folder (any number of inputs).")
@click.option("--series", help="Which DICOM series of a folder: its number, UID or part of its description.")
@click.option(
    "--grid",
    type=click.Choice(["planning", "mr", "model"]),
    help="Grid of the sCT: axial and not oblique (default for DICOM), the MR's (default for files), the network's.",
)
@click.option(
    "--spacing", metavar="D,H,W", callback=_spacing, help="Spacing in mm of --grid planning; default: the MR's."
)
@click.option("--force", is_flag=True, help="Synthesize even if the intake checks refuse the MR; the record says so.")
@click.option(
    "--structures/--no-structures", default=None, help="Write body and bone as an RTSTRUCT beside DICOM (default: yes)."
)
@click.option("--stable-uids", is_flag=True, help="Derive the DICOM UIDs from input, model and settings.")
@click.option("--deidentify", metavar="NAME", help="Write DICOM without the patient's identity, under this name.")
@click.option("--device", help="Short for --inference.device.")
@click.option("--mask", type=PATH, help="Body mask on the MR's grid, instead of the one found (one input only).")
@click.option(
    "--uncertainty", is_flag=True, help="Also write half the width of the 90 % interval in HU (calibrated models)."
)
@click.option("--overwrite", is_flag=True, help="Overwrite existing output.")
@click.pass_context
def synthesize(
    ctx: click.Context,
    /,
    model: str,
    inputs: tuple[Path, ...],
    output: Path,
    series: str | None,
    deidentify: str | None,
    device: str | None,
    mask: Path | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Make synthetic CTs of the MRs INPUTS with MODEL.

    MODEL is the name of a shipped model (creps models), or a model folder, run or checkpoint.
    INPUTS are volume files or folders of DICOM series. The sCT of a file has its format and grid, and gets a JSON
    record and a picture beside it. The sCT of a DICOM series is a folder with a CT series, an RTSTRUCT, a record and
    a picture.
    """
    from creps.api import load
    from creps.synthesis.batch import run_batch
    from creps.synthesis.options import OutputOptions, SynthesisOptions

    for given, name in ((mask, "--mask"), (series, "--series"), (deidentify, "--deidentify")):
        if given is not None and len(inputs) != 1:
            raise click.UsageError(f"{name} goes with one input.")
    chosen = SynthesisOptions(
        grid=options["grid"],
        spacing_mm=options["spacing"],
        mask=mask,
        force=options["force"],
        uncertainty=options["uncertainty"],
    )
    writing = OutputOptions(options["structures"], options["stable_uids"], deidentify)
    loaded = load(model)
    changes = {key.partition(".")[2]: value for key, value in chosen_overrides(ctx).items()}
    settings = loaded.inference_settings(**changes | ({"device": device} if device else {}))
    progress = progress_bar(ctx.obj["quiet"], "synthesizing")
    outcomes = run_batch(
        loaded, inputs, output, settings, chosen, writing, series=series, overwrite=overwrite, progress=progress
    )
    failed = 0
    with terminated_as_interrupted():
        for outcome in outcomes:
            if outcome.error is None:
                click.echo(outcome.target)
            elif len(inputs) == 1:
                raise outcome.error
            else:
                click.echo(message(outcome.error), err=True)
                failed += 1
    if failed:
        sys.exit(PARTLY)
