"""The Python API: load a model, synthesize a volume."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from creps.errors import SettingsError
from creps.model import Plan, load_model
from creps.networks.generator import Generator
from creps.preprocessing.target_grid import TargetGrid
from creps.settings import InferenceSettings, load_settings
from creps.synthesis.export import Exported, export
from creps.synthesis.files import Wanted, synthesize_file
from creps.synthesis.inputs import find_mr, target_paths
from creps.synthesis.synthesize import Synthesis, synthesize
from creps.volume import Volume

__all__ = ["Model", "load"]


class Model:
    """A trained model, ready for synthesis.

    Attributes:
        plan: What the model expects and how it was trained.
        generator: The network, in evaluation mode.
    """

    def __init__(self, plan: Plan, generator: Generator) -> None:
        self.plan = plan
        self.generator = generator

    def inference_settings(self, **changes: Any) -> InferenceSettings:
        """The plan's inference settings with some of them changed.

        Raises:
            SettingsError: an unknown name or a wrong value.
        """
        unknown = next((name for name in changes if name not in InferenceSettings.model_fields), None)
        if unknown is not None:
            raise SettingsError(
                f"Unknown inference setting '{unknown}'.", f"There are: {', '.join(InferenceSettings.model_fields)}."
            )
        overrides = {f"inference.{name}": value for name, value in self.plan.inference.model_dump().items()}
        overrides |= {f"inference.{name}": value for name, value in changes.items()}
        overrides["sampling.patch_size"] = self.plan.patch_size
        return load_settings(overrides=overrides).inference

    def synthesize(
        self,
        mr: Volume,
        *,
        mask: Volume | None = None,
        grid: TargetGrid = "mr",
        spacing_mm: tuple[float, float, float] | None = None,
        force: bool = False,
        progress: Callable[[int, int], None] | None = None,
        **settings: Any,
    ) -> Synthesis:
        """Make the synthetic CT of an MR volume.

        Args:
            mr: MR in scanner units, on any grid, in any orientation.
            mask: A body mask on the grid of `mr`, to be used instead of the one found in it.
            grid: Where the sCT is wanted: ``mr``, ``model``, or ``planning`` (axial, not oblique).
            spacing_mm: Of the planning grid, along D (superior), H, W; default: the MR's.
            force: Go on although the checks of the MR refuse it; the record says so.
            progress: Called with (patches done, patches in all).
            **settings: Inference settings to change: ``fusion="mean"``, ``device="cuda"``, …

        Returns:
            The sCT in HU, its record, and what was found in the MR before.

        Raises:
            CrepsError: the MR or a setting cannot be used.
        """
        chosen = self.inference_settings(**settings)
        return synthesize(
            self.plan,
            self.generator,
            mr,
            chosen,
            mask=mask,
            grid=grid,
            spacing_mm=spacing_mm,
            force=force,
            progress=progress,
        )

    def synthesize_file(
        self,
        source: Path | str,
        target: Path | str,
        *,
        series: str | None = None,
        mask: Path | str | None = None,
        overwrite: bool = False,
        grid: TargetGrid | None = None,
        spacing_mm: tuple[float, float, float] | None = None,
        force: bool = False,
        structures: bool | None = None,
        stable_uids: bool = False,
        pseudonym: str | None = None,
        progress: Callable[[int, int, str], None] | None = None,
        **settings: Any,
    ) -> Path:
        """Make the synthetic CT of a file or a DICOM series, as ``creps synthesize`` does.

        Args:
            source: A volume file, or a folder with a DICOM series.
            target: A volume file, or (for a DICOM series) the folder that receives a CT series, an RTSTRUCT, a record
                and a picture.
            series: Which series, if there are several: its number in the list, its UID or a part of its description.
            mask: File of a body mask on the grid of the MR.
            overwrite: Replace what is there.
            grid: Where the sCT is wanted; default: ``planning`` for DICOM, ``mr`` for volume files.
            spacing_mm: Of the planning grid, along D (superior), H, W; default: the MR's.
            force: Go on although the checks of the MR refuse it; the result says so.
            structures: Write body and bone as an RTSTRUCT beside DICOM; None: yes.
            stable_uids: The same input, model and settings give the same DICOM UIDs.
            pseudonym: Write DICOM without the patient's identity, under this name.
            progress: Called with (patches done, patches in all, an empty text).
            **settings: Inference settings to change.

        Returns:
            Where the sCT was written.

        Raises:
            CrepsError: the MR or a setting cannot be used, or the target is there already.
        """
        mr = find_mr(Path(source), series)
        (path,) = target_paths([mr], Path(target), overwrite)
        wanted = Wanted(grid, spacing_mm, force, structures, stable_uids, pseudonym)
        body = None if mask is None else Path(mask)
        chosen = self.inference_settings(**settings)
        synthesize_file(self.plan, self.generator, mr, path, chosen, wanted, mask=body, progress=progress)
        return path

    def export(self, target: Path | str, *, overwrite: bool = False) -> Exported:
        """Write the network as ONNX, as ``creps export`` does: see `creps.synthesis.export.export`.

        Args:
            target: The file to write, ``.onnx``.
            overwrite: Replace what is there.

        Raises:
            CrepsError: the target is there already, a package is missing, or ONNX Runtime's predictions differ.
        """
        return export(self.plan, self.generator, target, overwrite=overwrite)


def load(folder: Path | str) -> Model:
    """Load a model folder (or a run's folder, or a checkpoint).

    Raises:
        ModelError: it is not a model, or it is damaged.
    """
    return Model(*load_model(folder))
