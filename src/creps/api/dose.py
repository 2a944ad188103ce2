"""`compare_dose`: what an sCT does to the dose of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import creps.dose.compare
from creps.api.arguments import Image, Progress, as_path, check_flags, check_progress
from creps.errors import SettingsError, file_errors_explained
from creps.volume import Volume

if TYPE_CHECKING:
    from creps.dose.density import DensityTable
    from creps.dose.plan import DosePlan
    from creps.dose.scene import Outside
    from creps.figures import Picture

__all__ = ["DoseComparison", "compare_dose", "plan_of"]


class DoseComparison(creps.dose.compare.DoseComparison):
    """Two doses of one plan, and how far they are apart.

    Attributes:
        document: Figures, plan and provenance.
        ct_dose: Dose on the CT in Gy per fraction.
        sct_dose: Dose on the sCT in Gy per fraction.
        gammas: Gamma maps.
    """

    def save(self, folder: Path | str, *, overwrite: bool = False) -> Path:
        """Write ``dose.json``, ``dose_ct.nii.gz``, ``dose_sct.nii.gz`` and five pictures, all together or not at all.

        Args:
            folder: The folder to make.
            overwrite: Replace an earlier comparison; nothing else is ever replaced.

        Raises:
            OutputExistsError: something is there and may not be replaced.
            InputError: what is there is no comparison, or the place cannot be written to.
        """
        from creps.dose.writing import write_comparison

        return write_comparison(self, as_path(folder, "The output"), overwrite=overwrite)

    def figures(self) -> dict[str, Picture]:
        """Pictures by name, (rows, columns, 3) each: ``wash_ct``, ``wash_sct``, ``difference``, ``dvh``, ``gamma``."""
        from creps.dose.figures import dose_figures

        return dose_figures(self)


@file_errors_explained
def compare_dose(
    ct: Image,
    sct: Image,
    structures: Path | str | Mapping[str, Volume],
    *,
    region: str | None = None,
    radiation: str | None = None,
    plan: DosePlan | Path | str | None = None,
    density: DensityTable | Path | str | None = None,
    bulk: bool = False,
    outside: Outside = "air",
    fill_gaps: bool = False,
    any_frame: bool = False,
    progress: Progress | None = None,
) -> DoseComparison:
    """Make a plan on a CT, recalculate it on the sCT and compare the doses. Needs ``creps[dose]``.

    Args:
        ct: The CT in HU: a volume, a file, or a DICOM folder; with `bulk`, the bulk-density CT of the sCT's MR.
        sct: The synthetic CT in HU, of the same patient in the same position.
        structures: File of an RTSTRUCT, a folder with a mask file for each structure, or name → mask.
        region: ``brain`` or ``pelvis``: beams, prescription and dose grid. Needed unless the plan says it.
        radiation: ``photons`` or ``protons``; default: the plan's, or photons.
        plan: A plan, or its YAML file; default: that of the region.
        density: HU → density relative to water, or its CSV file; default: the engine's own table.
        bulk: `ct` is a bulk-density CT; target differences over 2 % are flagged.
        outside: ``air``: couch and mask are removed from both images. ``image``: they stay.
        fill_gaps: Interpolate missing slices of DICOM series instead of refusing them.
        any_frame: Ignore that DICOM frames of reference differ.
        progress: Called with (percent done, 100, name of the step).

    Returns:
        The comparison: `document` holds the figures, `ct_dose` and `sct_dose` the doses in Gy per fraction.

    Raises:
        InputError: images or structures cannot be used or do not belong together, or memory does not
            suffice.
        SettingsError: a wrong plan or table, no target, or the engine is not installed.

    Examples:
        >>> creps.compare_dose("ct.nii.gz", "sct.nii.gz", "structures")
        Traceback (most recent call last):
        ...
        creps.errors.SettingsError: No region is given. Choose brain or pelvis, or name it in the plan file.
    """
    from creps.dose.compare import DoseOptions
    from creps.dose.compare import compare_dose as run
    from creps.dose.density import DEFAULT_TABLE, DensityTable, read_density_table

    check_flags(bulk=bulk, fill_gaps=fill_gaps, any_frame=any_frame)
    check_progress(progress)
    table = density if isinstance(density, DensityTable) else DEFAULT_TABLE
    if density is not None and not isinstance(density, DensityTable):
        table = read_density_table(as_path(density, "The density table"))
    options = DoseOptions(plan_of(plan, region, radiation), table, outside, bulk, fill_gaps, any_frame)
    source = structures if isinstance(structures, Mapping) else as_path(structures, "The structures")
    images = [
        one if isinstance(one, Volume) else as_path(one, f"The {role}") for one, role in ((ct, "CT"), (sct, "sCT"))
    ]
    result = run(images[0], images[1], source, options, progress)
    return DoseComparison(**vars(result))


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
