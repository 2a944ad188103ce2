"""The Python API: load a model, synthesize a volume."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from creps.checkpoint import Plan, load_model
from creps.errors import SettingsError
from creps.networks.generator import Generator
from creps.pipeline.synthesize import Synthesis, synthesize
from creps.settings import InferenceSettings, load_settings
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
        progress: Callable[[int, int], None] | None = None,
        **settings: Any,
    ) -> Synthesis:
        """Make the synthetic CT of an MR volume.

        Args:
            mr: MR in scanner units, on any grid, in any orientation.
            mask: A body mask on the grid of `mr`, to be used instead of the one found in it.
            progress: Called with (patches done, patches in all).
            **settings: Inference settings to change: ``fusion="mean"``, ``device="cuda"``, …

        Returns:
            The sCT in HU on the grid of `mr`, and its record.

        Raises:
            CrepsError: the MR or a setting cannot be used.
        """
        chosen = self.inference_settings(**settings)
        return synthesize(self.plan, self.generator, mr, chosen, mask=mask, progress=progress)


def load(folder: Path | str) -> Model:
    """Load a model folder (or a run's folder, or a checkpoint).

    Raises:
        ModelError: it is not a model, or it is damaged.
    """
    return Model(*load_model(folder))
