"""`Model`: a trained model that synthesizes, exports and saves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import creps.model
from creps.api.arguments import Image, Progress, Slurm, as_path, as_paths, check_flags, check_progress, optional_path
from creps.errors import InputError, ModelError, file_errors_explained
from creps.preprocessing.target_grid import TargetGrid
from creps.volume import Volume

if TYPE_CHECKING:
    from creps.api.synthesis import Synthesis
    from creps.export import Exported
    from creps.inference.calibration import Calibration
    from creps.slicer.plugin import Plugin
    from creps.synthesis.batch import BatchResult

__all__ = ["Model", "load"]


class Model(creps.model.Model):
    """A trained model: synthesizes, exports and saves.

    Attributes:
        plan: What the model expects and how it was trained.
        generator: The network, in evaluation mode.
        calibration: What turns its spread into an uncertainty in HU, or None.

    Examples:
        >>> model = creps.load("model")
        >>> model.plan.preparation.spacing_mm
        (4.0, 4.0, 4.0)
        >>> model.save("copy of the model").name
        'copy of the model'
    """

    @file_errors_explained
    def synthesize(
        self,
        mr: Image,
        *,
        series: str | None = None,
        mask: Image | None = None,
        grid: TargetGrid | None = None,
        spacing_mm: tuple[float, float, float] | None = None,
        force: bool = False,
        spread: bool = False,
        uncertainty: bool = False,
        overrides: Mapping[Image, float] | None = None,
        structure_set: Path | str | None = None,
        progress: Callable[[int, int], None] | None = None,
        **inference: Any,
    ) -> Synthesis:
        """Make the synthetic CT of an MR.

        Args:
            mr: MR in scanner units, on any grid, in any orientation: a volume, a volume file, or a DICOM folder.
            series: DICOM series of a folder that holds several: its number in the list, its UID, or part of its
                description.
            mask: Body mask on the grid of `mr`, to be used instead of the one found in it.
            grid: Grid of the sCT: ``mr``, ``model``, or ``planning`` (axial, not oblique). Default: ``planning`` for
                DICOM, ``mr`` for anything else.
            spacing_mm: Spacing of the planning grid along D (superior), H, W in mm; default: the MR's.
            force: Continue although the intake checks refuse the MR; the record says so.
            spread: Also return how far the value of each voxel may be off, see `Synthesis.spread`.
            uncertainty: Also return half the width of the 90 % interval in HU, see `Synthesis.uncertainty`; `save`
                writes it too.
            overrides: HU that structures get in the sCT, whatever the model predicts: a mask on the grid of `mr`, its
                file, or the name of a structure → HU.
            structure_set: File of the RTSTRUCT that has these structures.
            progress: Called with (patches done, patches in all).
            **inference: Inference settings to change: ``fusion="mean"``, ``device="cuda"``, …

        Returns:
            The sCT in HU, clipped to [-1024, 3000], with its record and the findings of the intake checks.

        Raises:
            InputError: the MR or the mask cannot be used, or the intake checks refuse the MR.
            SettingsError: an unknown or wrong setting, grid or device; an uncertainty of a model without spread or
                calibration.
            ModelError: the network returns values that are not finite, or does not fit into memory.

        Examples:
            >>> synthesis = creps.load("model").synthesize("mr.nii.gz", fusion="mean")
            >>> synthesis.sct.same_grid_as(creps.read_volume("mr.nii.gz"))
            True
        """
        from creps.api.synthesis import Synthesis
        from creps.synthesis.inputs import find_mr
        from creps.synthesis.options import SynthesisOptions
        from creps.synthesis.overrides import overrides_of
        from creps.synthesis.synthesize import synthesize, synthesize_source

        check_progress(progress)
        settings = self.inference_settings(**inference)
        changed = overrides_of(overrides or {}, structure_set)
        options = SynthesisOptions(grid, spacing_mm, mask, force, spread, uncertainty, changed)
        if not isinstance(mr, Volume):
            source = find_mr(as_path(mr, "the MR"), series)
            result = synthesize_source(self, source, settings, options, progress)
        elif series is None:
            result = synthesize(self, mr, settings, options, progress=progress)
        else:
            raise InputError("A series was chosen, but the MR is a volume.", "Leave the series out.")
        return Synthesis(**vars(result))

    @file_errors_explained
    def synthesize_folder(  # noqa: PLR0913 - one more than usual: where it runs
        self,
        mrs: Path | str | Iterable[Path | str],
        output: Path | str,
        *,
        grid: TargetGrid | None = None,
        spacing_mm: tuple[float, float, float] | None = None,
        force: bool = False,
        uncertainty: bool = False,
        structures: bool | None = None,
        stable_uids: bool = False,
        qa: bool = True,
        bulk_density: bool | Mapping[str, float] = False,
        overwrite: bool = False,
        progress: Progress | None = None,
        slurm: Slurm | None = None,
        **inference: Any,
    ) -> BatchResult:
        """Make the synthetic CTs of many MRs; one that fails does not stop the others.

        What belongs to one patient (series, mask, overrides, pseudonym) is given to `synthesize` and `Synthesis.save`.

        Args:
            mrs: A folder, of which every volume file and every subfolder (a DICOM series) is an MR; or a list of
                volume files and DICOM folders.
            output: Folder to write into: ``NAME_sct`` for each MR, in the format of the MR.
            grid: As in `synthesize`.
            spacing_mm: As in `synthesize`.
            force: As in `synthesize`.
            uncertainty: Also write half the width of the 90 % interval in HU, as `synthesize` returns it.
            structures: Write body and bone as an RTSTRUCT beside DICOM; None: yes.
            stable_uids: The same input, model and settings give the same DICOM UIDs.
            qa: Check each sCT against its MR, and write the result beside it.
            bulk_density: Also write a CT of bulk densities, as in `Synthesis.save`.
            overwrite: Replace what creps wrote there before.
            progress: Called with (patches done, patches of this MR, its name); with `slurm`, (MRs done, MRs, name).
            slurm: Spread the MRs over jobs of SLURM, as in `creps.prepare`.
            **inference: Inference settings to change.

        Returns:
            What was written (``done``), its checks (``qa``), and why an MR has no sCT (``failed``).

        Raises:
            InputError: there is no MR, or two would be written to one place.
            OutputExistsError: a target is there already.
            SettingsError: an unknown or wrong setting, grid or device; a bulk density out of range; an uncertainty of
                a model without spread or calibration.
            ClusterError: as in `creps.prepare`.
            RunInterruptedError: as in `creps.prepare`.

        Examples:
            >>> result = creps.load("model").synthesize_folder(["mr.nii.gz", "no such file.nii.gz"], "scts")
            >>> [path.name for path in result.done], [path.name for path in result.failed]
            (['mr_sct.nii.gz'], ['no such file.nii.gz'])
            >>> [report.result in ("pass", "warn", "fail") for report in result.qa.values()]
            [True]
        """
        from creps.cluster.runner import slurm_runner
        from creps.synthesis.batch import synthesize_batch
        from creps.synthesis.bulk import BulkDensities
        from creps.synthesis.options import OutputOptions, SynthesisOptions

        check_flags(overwrite=overwrite)
        check_progress(progress)
        bulk = BulkDensities.of(bulk_density)
        target = as_path(output, "The output")
        with slurm_runner(slurm, "synthesize", target) as runner:
            return synthesize_batch(
                self,
                as_paths(mrs, "An MR"),
                target,
                self.inference_settings(**inference),
                SynthesisOptions(grid=grid, spacing_mm=spacing_mm, force=force, uncertainty=uncertainty),
                OutputOptions(structures=structures, stable_uids=stable_uids, qa=qa, bulk=bulk),
                overwrite=overwrite,
                progress=progress,
                runner=runner,
            )

    @file_errors_explained
    def calibrate(
        self,
        pairs: Path | str | None = None,
        *,
        phantoms: int = 10,
        seed: int = 505001,
        progress: Progress | None = None,
    ) -> Calibration:
        """Measure how far the model's sCTs may be off, for ``synthesize(..., uncertainty=True)``; `save` keeps it.

        Args:
            pairs: Folder with ``CASE/mr.*`` and the aligned ``CASE/ct.*`` of real patients; None grows phantoms.
            phantoms: How many.
            seed: Of the phantoms.
            progress: Called with (cases done, cases in all, name).

        Returns:
            The calibration, which is now the model's.

        Raises:
            SettingsError: the model yields no spread, there is no phantom of its region, or a number is out of range.
            InputError: a pair cannot be used.

        Examples:
            >>> model = creps.load("model")
            >>> model.calibrate(phantoms=1).confidence
            0.9
            >>> model.synthesize("mr.nii.gz", uncertainty=True).uncertainty.array.min() >= 0
            np.True_
        """
        from creps.synthesis.calibration import calibrate

        check_progress(progress)
        folder = optional_path(pairs, "The folder of pairs")
        self.calibration = calibrate(self, folder, phantoms=phantoms, seed=seed, progress=progress)
        return self.calibration

    @file_errors_explained
    def export(self, target: Path | str, *, overwrite: bool = False) -> Exported:
        """Write the network as ONNX, for programs without PyTorch: see `creps.export.export`.

        Args:
            target: The file to write, ``.onnx``.
            overwrite: Overwrite existing output.

        Returns:
            The file, and the largest difference in HU between ONNX Runtime and PyTorch.

        Raises:
            OutputExistsError: the target is there already.
            SettingsError: the target is not called ``.onnx``, or a package of ``pip install 'creps[export]'`` is
                missing.
            ModelError: ONNX Runtime's predictions differ.

        Examples:
            >>> creps.load("model").export("model.onnx").difference_hu < 0.1
            True
        """
        from creps.export import export

        check_flags(overwrite=overwrite)
        return export(self, as_path(target, "The target"), overwrite=overwrite)

    @file_errors_explained
    def export_slicer(self, folder: Path | str, *, overwrite: bool = False) -> Plugin:
        """Write the model as a plug-in of SlicerModalityConverter: see `creps.slicer.plugin.write_plugin`.

        Args:
            folder: The folder to make.
            overwrite: Replace a plug-in that is there.

        Returns:
            The folder, the model's key, and the largest difference in HU between ONNX Runtime and PyTorch.

        Raises:
            OutputExistsError: something is there already.
            SettingsError: the model prepares MRs in a way that the plug-in cannot, or a package of
                ``pip install 'creps[export]'`` is missing.
            ModelError: ONNX Runtime's predictions differ.

        Examples:
            >>> try:
            ...     creps.load("model").export_slicer("slicer")
            ... except creps.CrepsError as error:
            ...     print(error.what)
            The model removes what is outside the body, which the plug-in for Slicer cannot do.
        """
        from creps.slicer.plugin import write_plugin

        check_flags(overwrite=overwrite)
        return write_plugin(self, as_path(folder, "The folder"), overwrite=overwrite)


@file_errors_explained
def load(folder: Path | str, *, ensemble: Sequence[Path | str] = ()) -> Model:
    """Load a shipped model by name, or a model folder (or a run's folder, or a checkpoint).

    Args:
        folder: Name of a shipped model (`creps.models`), or the folder. Text without a path separator that names a
            shipped model means that model; ``./head`` and a `Path` always mean a folder.
        ensemble: Other models of the same preparation (seeds or checkpoints), whose predictions are averaged with its.
            Each takes as long as the first; the calibration of one is not that of all.

    Returns:
        The model, its generator in evaluation mode on the CPU.

    Raises:
        ModelError: there is no such model, it is not a model, it is damaged, or another one's preparation differs.

    Examples:
        >>> creps.load("head").plan.preparation.region
        'head'
        >>> creps.load("model").plan.patch_size
        (16, 16, 16)
        >>> len(creps.load("model", ensemble=["model"]).plan.training["ensemble"])
        2
    """
    if not ensemble:
        return Model.load(folder)
    if isinstance(ensemble, (Path, str)):
        raise ModelError("The ensemble is one path.", "Give a list of models.")
    return _joined([Model.load(one) for one in (folder, *ensemble)], [str(one) for one in (folder, *ensemble)])


UNSEEN_BY_NETWORK = {"validation_fraction", "seed"}
"""Settings of the preparation that change no voxel."""


def _joined(models: Sequence[Model], names: Sequence[str]) -> Model:
    """One model whose generator averages those of all."""
    from creps.networks.ensemble import Ensemble

    first, *others = (model.plan.preparation.model_dump(exclude=UNSEEN_BY_NETWORK) for model in models)
    for name, other in zip(names[1:], others, strict=True):
        differs = next((key for key in first if first[key] != other[key]), None)
        if differs is not None:
            raise ModelError(
                f"{name} cannot join {names[0]}: preparation.{differs} is {other[differs]}, not {first[differs]}.",
                "Average models of one preparation.",
            )
    hashes = [model.plan.weights_sha256 for model in models]
    joined = hashlib.sha256(" ".join(hashes).encode()).hexdigest()
    plan = models[0].plan
    training = {**plan.training, "ensemble": hashes}
    return Model(
        plan.model_copy(update={"weights_sha256": joined, "training": training}),
        Ensemble([model.generator for model in models]).eval(),
    )
