"""One typed settings tree. Its docstrings are the help of the command line and the comments of written files."""

from creps.settings.files import read_settings_file, to_yaml
from creps.settings.inference import InferenceSettings
from creps.settings.layers import invalid_value, preset_names
from creps.settings.loading import load_settings
from creps.settings.losses import (
    AdversarialSettings,
    CrepsSettings,
    CycleSettings,
    NceSettings,
    SimulationSettings,
    SupervisedSettings,
)
from creps.settings.networks import (
    AnyGenerator,
    DiscriminatorSettings,
    GeneratorSettings,
    ResidualSettings,
    UNetSettings,
)
from creps.settings.other_recipe import preparation_mismatch, refuse_without_effect
from creps.settings.preparation import PreparationSettings
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
    "UNetSettings",
    "invalid_value",
    "leaf_fields",
    "load_settings",
    "preparation_mismatch",
    "preset_names",
    "read_settings_file",
    "refuse_without_effect",
    "sections",
    "to_markdown",
    "to_yaml",
]
