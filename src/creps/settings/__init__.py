"""One typed settings tree; field docs are the command line's help and a written file's comments."""

from creps.settings.inference import InferenceSettings
from creps.settings.loading import load_settings, preset_names, read_settings_file, to_yaml
from creps.settings.losses import (
    AdversarialSettings,
    CrepsSettings,
    CycleSettings,
    NceSettings,
    SimulationSettings,
    SupervisedSettings,
)
from creps.settings.networks import AnyGenerator, DiscriminatorSettings, GeneratorSettings, ResidualSettings
from creps.settings.preparation import PreparationSettings
from creps.settings.recipes import former_ties, of_this_version, refuse_idle
from creps.settings.reference import to_markdown
from creps.settings.training import SamplingSettings, TrainingSettings
from creps.settings.tree import Settings, leaf_fields, sections

__all__ = [
    "AdversarialSettings",
    "AnyGenerator",
    "CrepsSettings",
    "CycleSettings",
    "DiscriminatorSettings",
    "GeneratorSettings",
    "InferenceSettings",
    "NceSettings",
    "PreparationSettings",
    "ResidualSettings",
    "SamplingSettings",
    "Settings",
    "SimulationSettings",
    "SupervisedSettings",
    "TrainingSettings",
    "former_ties",
    "leaf_fields",
    "load_settings",
    "of_this_version",
    "preset_names",
    "read_settings_file",
    "refuse_idle",
    "sections",
    "to_markdown",
    "to_yaml",
]
