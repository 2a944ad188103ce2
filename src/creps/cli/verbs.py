"""The verbs of ``creps``; each parses, calls the pipeline and reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from creps import __version__
from creps.cli.options import SettingsCommand, chosen_overrides, progress_bar, set_up_logging
from creps.provenance import NOTICE

__all__ = ["creps"]

PATH = click.Path(path_type=Path)

HELP = """Unpaired MRI-to-CT synthesis: train on MR and CT of different patients, no registration.

\b
creps demo -o DEMO                                  the whole job on digital phantoms, in minutes
creps prepare MR/ CT/ -o COHORT                     two folders of volumes: a prepared cohort
creps train COHORT -o RUN                           a cohort: a model
creps synthesize RUN/model mr.nii.gz -o sct.nii.gz  an MR: its synthetic CT
"""


@click.group(
    help=HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}, epilog=NOTICE
)
@click.version_option(__version__, prog_name="creps")
@click.option("-q", "--quiet", is_flag=True, help="Only warnings and errors.")
@click.option("-v", "--verbose", is_flag=True, help="Details as well.")
@click.pass_context
def creps(ctx: click.Context, quiet: bool, verbose: bool) -> None:
    """The command line; its help is `HELP`."""
    ctx.ensure_object(dict)["quiet"] = quiet
    set_up_logging(quiet, verbose)


settings_file = click.option(
    "-s", "--settings", "settings_path", type=PATH, help="Settings file (YAML); never rewritten."
)
preset = click.option("-p", "--preset", help="Preset that the settings start from: brain, pelvis, demo or demo-paper.")


@creps.command()
@click.option("-o", "--output", type=PATH, required=True, help="Folder for everything the demo makes; must not exist.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the phantoms.")
@click.option("--steps", type=int, help="Training steps of both recipes, for a quick look.")
@click.pass_context
def demo(ctx: click.Context, output: Path, seed: int, steps: int | None) -> None:
    """Train and synthesize digital phantoms with known truth, score, draw.

    Two recipes are trained: the demo's own and the paper's at the same size.
    """
    from creps.demo import DemoCohort, run_demo, score_table

    overrides = {} if steps is None else {"training.steps": steps}
    result = run_demo(
        output, cohort=DemoCohort(seed=seed), overrides=overrides, progress=progress_bar(ctx.obj["quiet"], "phantoms")
    )
    click.echo(score_table(result.scores))
    click.echo(f"picture: {result.picture}")


@creps.command()
@click.argument("output", type=PATH)
@click.option("--region", default="head", show_default=True, help="Body region of the phantoms.")
@click.option("--mr", "mr_patients", type=int, default=12, show_default=True, help="Training patients with an MR.")
@click.option(
    "--ct", "ct_patients", type=int, default=12, show_default=True, help="Other training patients, with a CT."
)
@click.option("--test", "test_patients", type=int, default=4, show_default=True, help="Test patients: MR and true CT.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the anatomy and of the scanners.")
@click.option("--spacing", "spacing_mm", type=float, default=2.0, show_default=True, help="Voxel spacing in mm.")
@click.pass_context
def phantom(ctx: click.Context, /, output: Path, **options: Any) -> None:
    """Write a cohort of digital phantoms with known truth to OUTPUT."""
    from creps.phantom import write_cohort

    cases = write_cohort(output, progress=progress_bar(ctx.obj["quiet"], "phantoms"), **options)
    click.echo(f"{len(cases)} patients in {output}")


@creps.command(cls=SettingsCommand, sections=["preparation"])
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


@creps.command(
    cls=SettingsCommand,
    sections=["generator", "discriminator", "adversarial", "creps", "prior", "sampling", "training", "inference"],
)
@click.argument("cohort", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="Run folder: model, checkpoints, curves, pictures.")
@click.option("--resume", type=click.Choice(["auto"]), help="Go on from the last checkpoint, if there is one.")
@click.option("--weights", help="The same as --creps.weights.")
@preset
@settings_file
@click.pass_context
def train(
    ctx: click.Context,
    cohort: Path,
    output: Path,
    resume: str | None,
    weights: str | None,
    preset: str | None,
    settings_path: Path | None,
) -> None:
    """Train a model on a prepared COHORT, without pairs."""
    from creps.data.cohort import load_cohort
    from creps.pipeline.train import SETTINGS_FILE
    from creps.pipeline.train import train as run
    from creps.settings import load_settings

    prepared = load_cohort(cohort)
    overrides = chosen_overrides(ctx) | ({"creps.weights": weights} if weights else {})
    if resume and not settings_path and not preset and (output / SETTINGS_FILE).is_file():
        settings_path = output / SETTINGS_FILE
    settings = load_settings(preset, settings_path, overrides, prepared.settings())
    click.echo(f"model: {run(prepared, output, settings, resume=resume is not None)}")


@creps.command(cls=SettingsCommand, sections=["inference"])
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


@creps.command(
    cls=SettingsCommand,
    sections=[
        "preparation",
        "generator",
        "discriminator",
        "adversarial",
        "creps",
        "prior",
        "sampling",
        "training",
        "inference",
    ],
)
@click.option("-o", "--output", type=PATH, help="File to write instead of standard output; must not exist.")
@preset
@settings_file
@click.pass_context
def settings(ctx: click.Context, output: Path | None, preset: str | None, settings_path: Path | None) -> None:
    """Print every setting with its value, its meaning and its source, as YAML."""
    from creps.errors import OutputExistsError
    from creps.io.atomic import atomic_file
    from creps.settings import load_settings, to_yaml

    text = to_yaml(load_settings(preset, settings_path, chosen_overrides(ctx)), NOTICE)
    if output is None:
        click.echo(text, nl=False)
        return
    if output.exists():
        raise OutputExistsError(f"{output} is already there.", "A settings file is never rewritten: name another.")
    with atomic_file(output) as temporary:
        temporary.write_text(text, encoding="utf-8")
