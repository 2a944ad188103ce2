"""One typed settings tree; field docs are the command line's help and a written file's comments."""

from creps.settings.loading import load_settings, preset_names, to_yaml
from creps.settings.tree import (
    AdversarialSettings,
    CrepsSettings,
    DiscriminatorSettings,
    GeneratorSettings,
    InferenceSettings,
    PreparationSettings,
    PriorSettings,
    SamplingSettings,
    Settings,
    TrainingSettings,
    leaf_fields,
    sections,
)

__all__ = [
    "AdversarialSettings",
    "CrepsSettings",
    "DiscriminatorSettings",
    "GeneratorSettings",
    "InferenceSettings",
    "PreparationSettings",
    "PriorSettings",
    "SamplingSettings",
    "Settings",
    "TrainingSettings",
    "leaf_fields",
    "load_settings",
    "preset_names",
    "sections",
    "to_yaml",
]
