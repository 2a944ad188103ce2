"""One typed settings tree; field docs are the command line's help and a written file's comments."""

from creps.settings.inference import InferenceSettings
from creps.settings.loading import load_settings, preset_names, to_yaml
from creps.settings.losses import (
    AdversarialSettings,
    CrepsSettings,
    CycleSettings,
    NceSettings,
    SimulationSettings,
    SupervisedSettings,
)
from creps.settings.networks import DiscriminatorSettings, GeneratorSettings
from creps.settings.preparation import PreparationSettings
from creps.settings.recipes import of_this_version
from creps.settings.reference import to_markdown
from creps.settings.training import SamplingSettings, TrainingSettings
from creps.settings.tree import Settings, leaf_fields, sections

__all__ = [
    "AdversarialSettings",
    "CrepsSettings",
    "CycleSettings",
    "DiscriminatorSettings",
    "GeneratorSettings",
    "InferenceSettings",
    "NceSettings",
    "PreparationSettings",
    "SamplingSettings",
    "Settings",
    "SimulationSettings",
    "SupervisedSettings",
    "TrainingSettings",
    "leaf_fields",
    "load_settings",
    "of_this_version",
    "preset_names",
    "sections",
    "to_markdown",
    "to_yaml",
]
