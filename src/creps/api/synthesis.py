"""`Synthesis`: a synthetic CT, how it was made, and how it is saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import creps.synthesis.result
from creps.api.arguments import Image, as_path, check_flags
from creps.errors import file_errors_explained
from creps.pet.curve import DEFAULT_CURVE, MuCurve
from creps.pet.mu_map import PET_FWHM_MM, attenuation_map
from creps.pet.output import MuMap, mu_map_of
from creps.synthesis.bulk import BulkDensities
from creps.synthesis.derived import Derived
from creps.synthesis.options import OutputOptions
from creps.synthesis.outputs import output_path, report_file
from creps.synthesis.purpose import check_suitable, name_of, patient_of
from creps.synthesis.writing import write_synthesis
from creps.ultrasound.curves import DEFAULT_CURVES, AcousticCurves, acoustic_curves
from creps.ultrasound.maps import AcousticMaps, acoustic_maps
from creps.ultrasound.output import Ultrasound
from creps.volume import Volume

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
        derived: What `save` writes beside the sCT, made of it; empty unless a batch asked for it.
    """

    def ultrasound(self, curves: AcousticCurves | Path | str = DEFAULT_CURVES) -> AcousticMaps:
        """Make maps for transcranial ultrasound: HU, skull, density and speed of sound.

        Args:
            curves: HU to density and speed of sound: ``k-plan``, ``aubry-2003``, or a site's own JSON file.

        Returns:
            The maps on the sCT's grid, voxels running to the right, to anterior and to superior.

        Raises:
            InputError: the model's region has no skull, the voxels are longer than 1 mm, the field of view cuts the
                vertex, or there is no skull in the sCT.
            SettingsError: the curves cannot be used.

        Examples:
            >>> synthesis = creps.load("model").synthesize("mr.nii.gz")  # voxels of 4 mm
            >>> try:
            ...     synthesis.ultrasound()
            ... except creps.CrepsError as error:
            ...     print("is too coarse" in error.what)
            True
        """
        derived = Ultrasound(acoustic_curves(curves))
        check_suitable(self, derived)
        return acoustic_maps(self.sct, patient_of(self), derived.curves, name_of(self))

    def mu_map(
        self, pet: Image, curve: MuCurve | Path | str = DEFAULT_CURVE, *, fwhm_mm: float = PET_FWHM_MM
    ) -> Volume:
        """Make the attenuation map at 511 keV on the grid of a PET.

        Args:
            pet: The PET, or any image on its grid, in the coordinates of the MR: a volume or its file.
            curve: HU to cm⁻¹: ``carney-2006``, or a site's own JSON file.
            fwhm_mm: Resolution of the PET, to which the map is smoothed; 0: not at all.

        Returns:
            In cm⁻¹; 0 outside the patient.

        Raises:
            InputError: the PET cannot be read, is oblique, or lies apart from the MR.
            SettingsError: the curve or the resolution cannot be used.

        Examples:
            >>> synthesis = creps.load("model").synthesize("mr.nii.gz")
            >>> mu = synthesis.mu_map("mr.nii.gz", fwhm_mm=6)
            >>> mu.same_grid_as(synthesis.sct)
            True
        """
        derived = mu_map_of(pet, curve, fwhm_mm)
        check_suitable(self, derived)
        return attenuation_map(self.sct, patient_of(self), derived.pet, derived.curve, derived.fwhm_mm)

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
        tus: bool | AcousticCurves | Path | str = False,
        mu_map: Image | MuMap | None = None,
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
            tus: Also write the maps of `ultrasound` into the folder ``NAME_tus``, or ``tus`` in that of a series. True,
                or the curves.
            mu_map: Also write the map of `mu_map` for this PET into the folder ``NAME_mumap``, or ``mumap`` in that of
                a series. A PET, its file, or `creps.pet.output.mu_map_of` with a curve and a resolution.

        Returns:
            The file or the folder that was written.

        Raises:
            OutputExistsError: the target is there already.
            InputError: the target cannot be written, an option does not belong to it, or maps cannot be made.
            SettingsError: a bulk density is out of range, or a curve cannot be used.

        Examples:
            >>> synthesis = creps.load("model").synthesize("mr.nii.gz")
            >>> synthesis.save("out/sct.nii.gz").name
            'sct.nii.gz'
        """
        check_flags(overwrite=overwrite)
        options = OutputOptions(structures, stable_uids, pseudonym, qa, BulkDensities.of(bulk_density), report)
        derived = self if tus is False and mu_map is None else self._with(tus, mu_map)
        path = output_path(derived, as_path(target, "The target"), options, overwrite=overwrite)
        write_synthesis(derived, path, options)
        if report:
            from creps.report.parts import parts_of
            from creps.report.views import write_case

            write_case(parts_of(self, qa=qa), report_file(path), overwrite=overwrite)
        return path

    def _with(self, tus: bool | AcousticCurves | Path | str, mu_map: Image | MuMap | None) -> Synthesis:
        """The same with what is asked for beside it, if that can be made."""
        found: list[Derived] = []
        if tus is not False:
            found.append(Ultrasound() if tus is True else Ultrasound(acoustic_curves(tus)))
        if mu_map is not None:
            found.append(mu_map if isinstance(mu_map, MuMap) else mu_map_of(mu_map))
        for one in found:
            check_suitable(self, one)
        return replace(self, derived=tuple(found))
