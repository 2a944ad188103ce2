"""``creps dose``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from creps.cli.console import progress_bar
from creps.cli.options import PATH

if TYPE_CHECKING:
    from creps.dose.document import DoseDocument

__all__ = ["dose"]


@click.command()
@click.argument("ct", type=PATH)
@click.argument("sct", type=PATH)
@click.option("--structures", type=PATH, required=True, help="RTSTRUCT file, or a folder with a mask NAME.nii.gz each.")
@click.option("-o", "--output", type=PATH, required=True, help="Folder to write: dose.json, both doses, pictures.")
@click.option("--region", type=click.Choice(["brain", "pelvis"]), help="Beams, prescription and grid to start from.")
@click.option(
    "--radiation", type=click.Choice(["photons", "protons"]), help="Kind of beams.  [default: the plan's, or photons]"
)
@click.option("--plan", type=PATH, help="Plan file (YAML): beams, prescription, target, dose grid.")
@click.option("--density", type=PATH, help="The site's table (CSV): hu, density relative to water.")
@click.option("--bulk", is_flag=True, help="CT is the bulk-density CT of the sCT's MR; flag differences over 2 %.")
@click.option(
    "--outside",
    type=click.Choice(["air", "image"]),
    default="air",
    show_default=True,
    help="Outside the body: air, or couch and mask as each image shows them.",
)
@click.option("--fill-gaps", is_flag=True, help="Interpolate missing slices of a DICOM series; recorded.")
@click.option("--any-frame", is_flag=True, help="Ignore that DICOM frames of reference differ.")
@click.option("--report", type=PATH, help="Also write a report with both images and the doses: FILE.html.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier comparison.")
@click.pass_context
def dose(
    ctx: click.Context,
    /,
    ct: Path,
    sct: Path,
    structures: Path,
    output: Path,
    report: Path | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Compare the dose of one plan on CT and on the synthetic CT SCT.

    The plan is optimised on CT and recalculated on SCT by pyRadPlan: pip install 'creps[dose]'. Without a CT, give the
    bulk-density CT of synthesize --bulk-density with --bulk. For research, not for clinical use.
    """
    from creps.api.dose import compare_dose
    from creps.dose.writing import check_output

    check_output(output, [ct, sct, structures], overwrite=overwrite)
    if report is not None:
        from creps.report.page import check_page

        check_page(report, overwrite=overwrite)
    result = compare_dose(ct, sct, structures, progress=progress_bar(ctx.obj["quiet"], "dose"), **options)
    result.save(output, overwrite=overwrite)
    click.echo(_summary(result.document))
    click.echo(output)
    if report is not None:
        from creps.report.parts import OtherFiles, gather_case
        from creps.report.views import write_case

        parts = gather_case(
            sct, OtherFiles(ct=None if options["bulk"] else ct, dose=output, fill_gaps=options["fill_gaps"])
        )
        write_case(parts, report, overwrite=overwrite)
        click.echo(report)


def _summary(document: DoseDocument) -> str:
    """The main figures, a line each."""
    target = document.target
    lines = [
        f"target {target.name}, {target.prescription_gy:g} Gy per fraction, {document.plan.radiation}",
        f"  dose error                {target.error_percent:6.2f} % of the prescription",
        f"  mean dose, sCT - CT       {target.mean_difference_percent:+6.2f} %",
        f"  isocentre, sCT - CT       {target.isocentre_difference_percent:+6.2f} %",
    ]
    lines += [
        f"  gamma {name:<12}        {'no dose' if share is None else f'{100 * share:6.1f} %'}"
        for name, share in document.gamma.items()
    ]
    for beam in document.ranges:
        mean = "none" if beam.mean_mm is None else f"{beam.mean_mm:+6.2f} mm"
        sd = "" if beam.sd_mm is None else f" ± {beam.sd_mm:.2f}"
        lines.append(f"  range error, {beam.gantry_degrees:3g} degrees {mean}{sd}, {beam.rays} rays")
    lines += [f"  {one['what']}: {one['value']} ({one['source']})" for one in document.published]
    return "\n".join([*lines, *document.flags, *document.notes, document.scope])
