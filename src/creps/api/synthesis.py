"""`Synthesis`: a synthetic CT, how it was made, and how it is saved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import creps.synthesis.result
from creps.api.arguments import as_path, check_flags
from creps.errors import file_errors_explained
from creps.synthesis.bulk import BulkDensities
from creps.synthesis.options import OutputOptions
from creps.synthesis.outputs import output_path, report_file
from creps.synthesis.writing import write_synthesis

__all__ = ["Synthesis"]


class Synthesis(creps.synthesis.result.Synthesis):
    """A synthetic CT and how it was made; it can be saved.

    Attributes:
        sct: In HU, on the grid that was asked for.
        record: Model, settings, intake checks, coverage, versions and times, as plain JSON values.
        intake: Findings of the intake checks.
        body: The patient as found in the MR, 1 inside and 0 outside, on the model's grid.
        mr: The MR it was made from.
        source: The file or DICOM series of that MR; None for a volume in memory.
        spread: In HU, on the grid of `sct`: how far the value of each voxel may be off, not calibrated. With classes,
            the standard deviation of the voxel's distribution; where predictions overlap, half their range; of both,
            the root of the sum of squares. None unless it was asked for.
        uncertainty: In HU, on the grid of `sct`: half the width of the interval around the sCT that is to hold 90 % of
            the true values of each tissue, as far as patients are like what the model was calibrated on; 0 where
            nothing was predicted. The record's ``uncertainty`` has the MAE that it lets expect. None unless it was
            asked for.
        predicted: The sCT without the overrides; None if there are none.
        qa: The checks of the sCT, as predicted, against its MR; computed when they are asked for.
    """

    @file_errors_explained
    def save(
        self,
        target: Path | str,
        *,
        overwrite: bool = False,
        structures: bool | None = None,
        stable_uids: bool = False,
        pseudonym: str | None = None,
        qa: bool = True,
        bulk_density: bool | Mapping[str, float] = False,
        report: bool = False,
    ) -> Path:
        """Write the sCT with its record, its picture and its uncertainty, if it was asked for: all files or none.

        Args:
            target: A volume file (``.nii.gz``, ``.mha``, ``.nrrd``, …), which gets a ``.json`` and a ``.png`` beside
                it, and ``NAME_uncertainty`` if there is one; or, if the MR was a DICOM series, a folder that receives
                a CT series, an RTSTRUCT, the record, the picture, and a series of the uncertainty in a folder of its
                own. If the MR was a file, a folder receives ``NAME_sct`` in the format of that file.
            overwrite: Replace what creps wrote there before.
            structures: Write body and bone as an RTSTRUCT beside DICOM; None: yes.
            stable_uids: The same input, model and settings give the same DICOM UIDs.
            pseudonym: Write DICOM without the patient's identity, under this name.
            qa: Check the sCT against its MR (`Synthesis.qa`) and write the result: ``NAME_qa.json``, or ``qa.json`` in
                the folder.
            bulk_density: Also write a CT of bulk densities: ``NAME_bulk``, or a series in the folder ``bulk``. True:
                body 0, bone 300, fat -100, air -1000 HU; or other HU by class, such as ``{"bone": 500}``.
            report: Also write a report, without names: ``NAME_report.html``, or ``report.html`` in the folder.

        Returns:
            The file or the folder that was written.

        Raises:
            OutputExistsError: the target is there already.
            InputError: the target cannot be written, or an option does not belong to it.
            SettingsError: a bulk density is out of range.

        Examples:
            >>> synthesis = creps.load("model").synthesize("mr.nii.gz")
            >>> synthesis.save("out/sct.nii.gz").name
            'sct.nii.gz'
        """
        check_flags(overwrite=overwrite)
        options = OutputOptions(structures, stable_uids, pseudonym, qa, BulkDensities.of(bulk_density), report)
        path = output_path(
            self.source,
            as_path(target, "The target"),
            options,
            overwrite=overwrite,
            uncertainty=self.uncertainty is not None,
        )
        write_synthesis(self, path, options)
        if report:
            from creps.report.parts import parts_of
            from creps.report.views import write_case

            write_case(parts_of(self, qa=qa), report_file(path), overwrite=overwrite)
        return path
