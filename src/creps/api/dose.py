"""`compare_dose`: what an sCT does to the dose of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from creps.api.arguments import Image, Progress, as_path, check_flags, check_progress
from creps.errors import SettingsError, file_errors_explained
from creps.volume import Volume

if TYPE_CHECKING:
    from creps.dose.compare import DoseComparison
    from creps.dose.density import DensityTable
    from creps.dose.plan import DosePlan

__all__ = ["compare_dose", "plan_of"]


@file_errors_explained
def compare_dose(
    ct: Image,
    sct: Image,
    structures: Path | str | Mapping[str, Volume],
    output: Path | str | None = None,
    *,
    region: str | None = None,
    radiation: str | None = None,
    plan: DosePlan | Path | str | None = None,
    density: DensityTable | Path | str | None = None,
    bulk: bool = False,
    outside: str = "air",
    fill_gaps: bool = False,
    any_frame: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> DoseComparison:
    """Make a plan on a CT, recalculate it on the sCT and compare the doses. Needs ``creps[dose]``.

    Args:
        ct: The CT in HU: a volume, a file, or a DICOM folder; with `bulk`, the bulk-density CT of the sCT's MR.
        sct: The synthetic CT in HU, of the same patient in the same position.
        structures: File of an RTSTRUCT, a folder with a mask file for each structure, or name → mask.
        output: Folder to write: ``dose.json``, both doses, pictures; None: nothing is written.
        region: ``brain`` or ``pelvis``: beams, prescription and dose grid. Needed unless the plan says it.
        radiation: ``photons`` or ``protons``; default: the plan's, or photons.
        plan: A plan, or its YAML file; default: that of the region.
        density: HU → density relative to water, or its CSV file; default: the engine's own table.
        bulk: `ct` is a bulk-density CT; target differences over 2 % are flagged.
        outside: ``air``: couch and mask are removed from both images. ``image``: they stay.
        fill_gaps: Interpolate missing slices of DICOM series instead of refusing them.
        any_frame: Ignore that DICOM frames of reference differ.
        overwrite: Replace an earlier comparison in `output`.
        progress: Called with (percent done, 100, name of the step).

    Returns:
        The comparison: `document` holds the figures, `ct_dose` and `sct_dose` the doses in Gy per fraction.

    Raises:
        InputError: images or structures cannot be used or do not belong together, memory does not suffice, or
            `output` exists.
        SettingsError: a wrong plan or table, no target, or the engine is not installed.

    Examples:
        >>> plan = {"PTV": creps.read_volume("structures/PTV.nii.gz")}
        >>> creps.compare_dose("ct.nii.gz", "ct.nii.gz", plan)
        Traceback (most recent call last):
        ...
        creps.errors.SettingsError: No region is given. Choose brain or pelvis, or name it in the plan file.
    """
    from creps.dose.compare import DoseOptions
    from creps.dose.compare import compare_dose as run
    from creps.dose.density import DEFAULT_TABLE, DensityTable, read_density_table
    from creps.dose.writing import check_output, write_comparison

    check_flags(bulk=bulk, fill_gaps=fill_gaps, any_frame=any_frame, overwrite=overwrite)
    check_progress(progress)
    folder = None if output is None else as_path(output, "The output")
    if folder is not None:
        check_output(folder, overwrite=overwrite)
    table = density if isinstance(density, DensityTable) else DEFAULT_TABLE
    if density is not None and not isinstance(density, DensityTable):
        table = read_density_table(as_path(density, "The density table"))
    options = DoseOptions(plan_of(plan, region, radiation), table, outside, bulk, fill_gaps, any_frame)
    source = structures if isinstance(structures, Mapping) else as_path(structures, "The structures")
    images = [
        one if isinstance(one, Volume) else as_path(one, f"The {role}") for one, role in ((ct, "CT"), (sct, "sCT"))
    ]
    result = run(images[0], images[1], source, options, progress)
    if folder is not None:
        write_comparison(result, folder, overwrite=overwrite)
    return result


def plan_of(plan: DosePlan | Path | str | None, region: str | None, radiation: str | None) -> DosePlan:
    """The plan that a caller means.

    Args:
        plan: A plan, its file, or None for the defaults of `region`.
        region: ``brain`` or ``pelvis``.
        radiation: ``photons`` or ``protons``.

    Raises:
        SettingsError: no region, or a plan with a region or radiation beside it.
    """
    from creps.dose.plan import DosePlan, default_plan, read_plan

    if isinstance(plan, DosePlan):
        if region is not None or radiation is not None:
            raise SettingsError("The plan already has a region and a radiation.", "Leave them out.")
        return plan
    if plan is not None:
        return read_plan(as_path(plan, "The plan"), region=region, radiation=radiation)
    if region is None:
        raise SettingsError("No region is given.", "Choose brain or pelvis, or name it in the plan file.")
    return default_plan(region, radiation or "photons")
