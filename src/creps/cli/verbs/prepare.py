"""``creps prepare``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from creps.cli.console import PARTLY, progress_bar
from creps.cli.options import MODEL, PATH, SettingsCommand, chosen_overrides, preset, recipe, settings_file, slurm
from creps.cli.signals import on_cluster

__all__ = ["prepare"]


@click.command(cls=SettingsCommand, sections=["preparation"])
@click.argument("sources", type=PATH, nargs=-1)
@click.option("-o", "--output", type=PATH, required=True, help="Cohort folder to write; must not exist.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes.  [default: as cores and memory allow]")
@click.option("--resume", is_flag=True, help="Continue the cohort in OUTPUT: prepare what is missing or has changed.")
@click.option(
    "--from", "model", type=MODEL, help="Prepare exactly as this model (or run) was, to fine-tune or test it."
)
@click.option("--inspect", is_flag=True, help="Draw every case; without SOURCES, those of the cohort in OUTPUT.")
@click.option("--series", help="Text in the description of the DICOM series to use, for patients with several.")
@recipe()
@preset
@settings_file
@slurm
@click.pass_context
def prepare(
    ctx: click.Context,
    sources: tuple[Path, ...],
    output: Path,
    jobs: int | None,
    resume: bool,
    model: str | None,
    inspect: bool,
    series: str | None,
    preset: str | None,
    settings_path: Path | None,
    slurm: tuple[str, ...],
) -> None:
    """Prepare the MR and CT (of different patients) in SOURCES for training.

    SOURCES is a CSV file (case, modality, path, mask, centre, split, patient, series), a folder with one folder per
    patient, or two folders: MR, then CT. A folder contains volume files (NIfTI, MHA/MHD, NRRD), or one folder per
    patient with mr.* or ct.* and optionally a body mask.*, or with a DICOM series.

    The default suits training with the default recipe. --recipe paper is the exact preparation of the paper.
    """
    if len(sources) > 2 or (not sources and not inspect):
        number = next((source for source in sources if str(source).replace(".", "", 1).isdecimal()), None)
        hint = "" if number is None else f" '{number}' is not a folder: write a list of numbers as one word, 2,2,2."
        raise click.UsageError(f"Give a CSV file, a folder of patients, or a folder of MR and one of CT.{hint}")
    quiet, overrides, failed = ctx.obj["quiet"], chosen_overrides(ctx), 0
    if not sources:
        _refuse_options({"--resume": resume, "-p": preset, "-s": settings_path, "--from": model, "--series": series})
        _refuse_options({"--slurm": slurm} | {f"--{key}": True for key in overrides})
    else:
        from creps.cohort.prepare import prepare as run

        if slurm and jobs is not None:
            raise click.UsageError("--jobs is for this machine: with --slurm, give shards and cpus.")
        with on_cluster(slurm, "prepare", output) as runner:
            cohort = run(
                sources,
                output,
                preset=preset,
                settings=settings_path,
                overrides=overrides,
                like=_preparation_of(model),
                jobs=jobs,
                resume=resume,
                series=series,
                progress=progress_bar(quiet, "preparing"),
                runner=runner,
            )
        counts = [len(cohort.cases(m, s)) for m in ("mr", "ct") for s in ("train", "validation")]
        click.echo(f"{output}: MR {counts[0]} training + {counts[1]} validation, CT {counts[2]} + {counts[3]}")
        failed = len(cohort.failures())
    if failed:
        click.echo(f"{failed} left out (failures.json). Correct them and run the same with --resume.", err=True)
    if inspect:
        _inspect(output, progress_bar(quiet, "drawing"), jobs)
    if failed:
        sys.exit(PARTLY)


def _refuse_options(options: dict[str, Any]) -> None:
    """Drawing a finished cohort prepares nothing."""
    for name, value in options.items():
        if value:
            raise click.UsageError(f"{name} needs SOURCES: without them, --inspect only draws the cohort in OUTPUT.")


def _preparation_of(model: str | None) -> Any:
    if model is None:
        return None
    from creps.training.run.starting_point import preparation_settings_of

    return preparation_settings_of(model)


def _inspect(output: Path, progress: Any, jobs: int | None) -> None:
    from creps.cohort.cohort import load_cohort
    from creps.cohort.inspection import inspect_cohort
    from creps.machine import cores

    cohort = load_cohort(output)
    enough = len(cohort.manifest.cases) >= 2 * cores() * 4
    click.echo(f"pages: {inspect_cohort(cohort, progress, jobs or (cores() if enough else 1))}")
