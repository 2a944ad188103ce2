"""``creps prepare``."""

from __future__ import annotations

from pathlib import Path

import click

from creps.cli.options import PATH, SettingsCommand, chosen_overrides, preset, progress_bar, settings_file

__all__ = ["prepare"]


@click.command(cls=SettingsCommand, sections=["preparation"])
@click.argument("mr_folder", type=PATH)
@click.argument("ct_folder", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="Cohort folder to write; must not exist.")
@preset
@settings_file
@click.pass_context
def prepare(
    ctx: click.Context, mr_folder: Path, ct_folder: Path, output: Path, preset: str | None, settings_path: Path | None
) -> None:
    """Prepare MR_FOLDER and CT_FOLDER (different patients) for training.

    A folder holds volume files (NIfTI, MHA/MHD, NRRD), or one folder per patient with mr.nii.gz or
    ct.nii.gz and, if there is one, a body mask.nii.gz.
    """
    from creps.pipeline.prepare import prepare as run
    from creps.settings import load_settings

    settings = load_settings(preset, settings_path, chosen_overrides(ctx))
    cohort = run(mr_folder, ct_folder, output, settings, progress_bar(ctx.obj["quiet"], "preparing"))
    counts = [len(cohort.cases(m, s)) for m in ("mr", "ct") for s in ("train", "validation")]
    click.echo(f"{output}: MR {counts[0]} training + {counts[1]} validation, CT {counts[2]} + {counts[3]}")
