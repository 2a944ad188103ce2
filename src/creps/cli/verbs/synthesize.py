"""``creps synthesize``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from creps.cli.console import PARTLY, QA_FAILED, message, progress_bar
from creps.cli.options import MODEL, PATH, SettingsCommand, chosen_overrides, slurm
from creps.cli.signals import on_cluster, terminated_as_interrupted

if TYPE_CHECKING:
    from creps.synthesis.derived import Derived

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


def _hu(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    """``NAME=HU``, several times; names may contain the equals sign, HU may not."""
    found: dict[str, float] = {}
    for value in values:
        name, _equals, number = value.rpartition("=")
        found.pop(name, None)  # the last one wins, and comes last
        try:
            found[name] = float(number)
        except ValueError as error:
            raise click.BadParameter(f"{value!r} does not end with = and a number of HU.") from error
        if not name:
            raise click.BadParameter(f"{value!r} has no name before =.")
    return found


def _derived(options: Mapping[str, Any]) -> tuple[Derived, ...]:
    """What else is made of the sCT."""
    from creps.pet.output import mu_map_of
    from creps.ultrasound.curves import acoustic_curves
    from creps.ultrasound.output import Ultrasound

    found: list[Derived] = []
    if options["purpose"] == "tus":
        given = options["acoustic_curves"]
        found.append(Ultrasound() if given is None else Ultrasound(acoustic_curves(given)))
    if options["mu_map"] is not None:
        chosen = {"curve": options["mu_curve"], "fwhm_mm": options["pet_fwhm"]}
        found.append(mu_map_of(options["mu_map"], **{key: value for key, value in chosen.items() if value is not None}))
    return tuple(found)


def _check_together(
    count: int, mask: Path | None, series: str | None, deidentify: str | None, options: Mapping[str, Any]
) -> None:
    """Refuse options that do not go together, or not with several inputs."""
    of_one = {"--mask": mask, "--series": series, "--deidentify": deidentify, "--override": options["overrides"]}
    of_one |= {"--mu-map": options["mu_map"]}
    for name, given in of_one.items():
        if given and count != 1:
            raise click.UsageError(f"{name} goes with one input.")
    for name, of in (("bulk_hu", "bulk_density"), ("structure_set", "overrides")):
        if options[name] and not options[of]:
            raise click.UsageError(f"--{name.replace('_', '-')} goes with --{of.replace('_', '-').rstrip('s')}.")
    for name, of, flag in (
        ("acoustic_curves", "purpose", "--for tus"),
        ("mu_curve", "mu_map", "--mu-map"),
        ("pet_fwhm", "mu_map", "--mu-map"),
    ):
        if options[name] is not None and not options[of]:
            raise click.UsageError(f"--{name.replace('_', '-')} goes with {flag}.")


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
@click.option("--ensemble", type=MODEL, multiple=True, help="Average with this model too; can be given several times.")
@click.option(
    "--uncertainty", is_flag=True, help="Also write half the width of the 90 % interval in HU (calibrated models)."
)
@click.option(
    "--qa",
    type=click.Choice(["off", "report", "fail"]),
    default="report",
    show_default=True,
    help="Check each sCT against its MR; fail: exit code 4 if a check fails.",
)
@click.option(
    "--bulk-density",
    is_flag=True,
    help="Also write a CT with one HU each for body, bone, fat and air (0/300/-100/-1000).",
)
@click.option(
    "--bulk-hu",
    metavar="CLASS=HU",
    multiple=True,
    callback=_hu,
    help="HU of body, bone, fat or air for --bulk-density.",
)
@click.option(
    "--override",
    "overrides",
    metavar="STRUCTURE_OR_MASK=HU",
    multiple=True,
    callback=_hu,
    help="Set the HU of a structure (see --structure-set) or of a mask file on the MR's grid (one input only).",
)
@click.option("--structure-set", type=PATH, help="RTSTRUCT file that has the structures of --override.")
@click.option("--for", "purpose", type=click.Choice(["tus"]), help="Also write maps for transcranial ultrasound (tus).")
@click.option(
    "--acoustic-curves",
    metavar="NAME_OR_FILE",
    help="HU to density and speed of sound for --for tus: k-plan (default), aubry-2003, or a JSON file.",
)
@click.option(
    "--mu-map",
    type=PATH,
    metavar="PET",
    help="Also write the attenuation at 511 keV on the grid of this PET file (one input only).",
)
@click.option(
    "--mu-curve", metavar="NAME_OR_FILE", help="HU to cm⁻¹ for --mu-map: carney-2006 (default), or a JSON file."
)
@click.option("--pet-fwhm", type=float, metavar="MM", help="Resolution of the PET for --mu-map [4.3].")
@click.option("--report", is_flag=True, help="Also write a report of each sCT: one HTML page, without names.")
@click.option("--overwrite", is_flag=True, help="Overwrite existing output.")
@slurm
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
    record, a picture and a QA document beside it. The sCT of a DICOM series is a folder with a CT series, an RTSTRUCT,
    and the same. What --for and --mu-map ask for is a folder: NAME_tus and NAME_mumap beside a file, tus and mumap
    within that of a series.
    """
    from creps.api import load
    from creps.synthesis.batch import run_batch
    from creps.synthesis.bulk import BulkDensities
    from creps.synthesis.options import OutputOptions, SynthesisOptions
    from creps.synthesis.overrides import overrides_of

    _check_together(len(inputs), mask, series, deidentify, options)
    chosen = SynthesisOptions(
        grid=options["grid"],
        spacing_mm=options["spacing"],
        mask=mask,
        force=options["force"],
        uncertainty=options["uncertainty"],
        overrides=overrides_of(options["overrides"], options["structure_set"]),
        derived=_derived(options),
    )
    bulk = BulkDensities.of(options["bulk_hu"] or options["bulk_density"])
    writing = OutputOptions(
        options["structures"], options["stable_uids"], deidentify, options["qa"] != "off", bulk, options["report"]
    )
    failed = doubtful = 0
    with on_cluster(options["slurm"], "synthesize", output) as runner, terminated_as_interrupted():
        loaded = load(model, ensemble=options["ensemble"])
        changes = {key.partition(".")[2]: value for key, value in chosen_overrides(ctx).items()}
        settings = loaded.inference_settings(**changes | ({"device": device} if device else {}))
        for outcome in run_batch(
            *(loaded, inputs, output, settings, chosen, writing),
            series=series,
            overwrite=overwrite,
            progress=progress_bar(ctx.obj["quiet"], "synthesizing"),
            runner=runner,
        ):
            if outcome.target is not None:
                click.echo(outcome.target)
                again = overwrite or runner is not None  # an interrupted run may have written the report
                if options["report"]:
                    failed += not _reported(outcome.target, outcome.mr, series, overwrite=again)
                doubtful += outcome.qa is not None and outcome.qa.result == "fail"
            elif outcome.error is not None:
                if len(inputs) == 1:
                    raise outcome.error
                click.echo(message(outcome.error), err=True)
                failed += 1
    if failed:
        sys.exit(PARTLY)
    if doubtful and options["qa"] == "fail":
        sys.exit(QA_FAILED)


def _reported(target: Path, mr: Path, series: str | None, *, overwrite: bool) -> bool:
    """Write the report of an sCT; return False if that failed, which must not stop the other MRs."""
    from creps.errors import CrepsError, file_error
    from creps.report.views import write_beside
    from creps.synthesis.outputs import report_file

    try:
        write_beside(target, mr, series, overwrite=overwrite)
    except (CrepsError, OSError) as error:
        known = error if isinstance(error, CrepsError) else file_error(error)
        click.echo(f"The sCT was written, but not its report. {message(known)}", err=True)
        return False
    click.echo(report_file(target))
    return True
