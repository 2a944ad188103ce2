"""``creps prepare``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from creps.cli.options import PARTLY, PATH, SettingsCommand, chosen_overrides, preset, progress_bar, settings_file
from creps.errors import SettingsError

if TYPE_CHECKING:
    from creps.settings import Settings

__all__ = ["prepare"]


@click.command(cls=SettingsCommand, sections=["preparation"])
@click.argument("sources", type=PATH, nargs=-1)
@click.option("-o", "--output", type=PATH, required=True, help="Cohort folder to write; must not exist.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes.  [default: what cores and memory allow]")
@click.option("--resume", is_flag=True, help="Go on from the cohort in OUTPUT: prepare what is missing or changed.")
@click.option("--from", "model", type=PATH, help="Prepare as this model (or run) was: for more training or tests.")
@click.option("--inspect", is_flag=True, help="Draw every case; without SOURCES: those of the cohort in OUTPUT.")
@click.option("--series", help="Of a patient's several DICOM series the one whose description holds this text.")
@preset
@settings_file
@click.pass_context
def prepare(
    ctx: click.Context,
    sources: tuple[Path, ...],
    output: Path,
    jobs: int | None,
    resume: bool,
    model: Path | None,
    inspect: bool,
    series: str | None,
    preset: str | None,
    settings_path: Path | None,
) -> None:
    """Prepare the MR and CT (of different patients) in SOURCES for training.

    SOURCES is a CSV file (case, modality, path, mask, centre, split, patient, series), or a folder per patient,
    or two folders: MR, then CT. A folder holds volume files (NIfTI, MHA/MHD, NRRD), or per patient mr.* or ct.* and, if
    there is one, a body mask.*, or a DICOM series.
    """
    if len(sources) > 2 or (not sources and not inspect):
        raise click.UsageError("Give a CSV file, a folder of patients, or a folder of MR and one of CT.")
    if not sources:
        _refuse_settings(ctx, resume, preset, settings_path, model, series)
    bar = ctx.obj["quiet"]
    failed = 0
    if sources:
        settings = _settings(preset, settings_path, chosen_overrides(ctx), model)
        options = {"jobs": jobs, "resume": resume, "series": series}
        failed = _prepare(sources, output, settings, progress_bar(bar, "preparing"), **options)
    if inspect:
        _inspect(output, progress_bar(bar, "drawing"), jobs)
    if failed:
        sys.exit(PARTLY)


def _refuse_settings(
    ctx: click.Context, resume: bool, preset: str | None, file: Path | None, model: Path | None, series: str | None
) -> None:
    """Drawing a finished cohort prepares nothing."""
    given = [*(["--resume"] if resume else []), *(["-p"] if preset else []), *(["-s"] if file else [])]
    given += [
        *(["--from"] if model else []),
        *(["--series"] if series else []),
        *(f"--{key}" for key in chosen_overrides(ctx)),
    ]
    if given:
        raise click.UsageError(f"{given[0]} needs SOURCES: without them --inspect only draws the cohort in OUTPUT.")


def _prepare(sources: tuple[Path, ...], output: Path, settings: Settings, progress: Any, **options: Any) -> int:
    """Prepare and report; return how many images failed."""
    from creps.cohort.prepare import prepare as run

    second = sources[1] if len(sources) == 2 else None
    cohort = run(sources[0], second, output, settings, progress, **options)
    counts = [len(cohort.cases(m, s)) for m in ("mr", "ct") for s in ("train", "validation")]
    click.echo(f"{output}: MR {counts[0]} training + {counts[1]} validation, CT {counts[2]} + {counts[3]}")
    failures = cohort.failures()
    if failures:
        click.echo(f"{len(failures)} left out (failures.json). Correct them and run the same with --resume.", err=True)
    return len(failures)


def _settings(preset: str | None, file: Path | None, overrides: dict[str, Any], model: Path | None) -> Settings:
    """From the options, or those that a model was prepared with."""
    from creps.settings import load_settings

    if model is None:
        return load_settings(preset, file, overrides)
    from creps.cohort.case import fingerprint
    from creps.model import load_plan

    plan = load_plan(model)
    given = [*(["-p"] if preset else []), *(["-s"] if file else [])]
    given += [f"--{key}" for key in overrides if key.partition(".")[2] in fingerprint(plan.preparation)]
    if given:
        raise SettingsError(
            f"--from takes the preparation from {model}, but {given[0]} is given as well.", "Give one of them."
        )
    prepared = {f"preparation.{name}": value for name, value in plan.preparation.model_dump().items()}
    recorded = plan.training.get("settings", {}).get("preset", "brain")
    return load_settings(recorded, None, prepared | overrides)


def _inspect(output: Path, progress: Any, jobs: int | None) -> None:
    from creps.cohort.cohort import load_cohort
    from creps.cohort.inspection import inspect_cohort
    from creps.machine import cores

    cohort = load_cohort(output)
    enough = len(cohort.manifest.cases) >= 2 * cores() * 4
    click.echo(f"pages: {inspect_cohort(cohort, progress, jobs or (cores() if enough else 1))}")
