"""The settings tree: every setting, its default, its unit and its source, and which settings exclude each other.

The attribute docstrings of the sections are the help of the command line and the comments of a written settings file.
"Paper" is Hémon et al. 2023; defaults without a source are ours. `creps.settings.loading` combines the layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pydantic import BaseModel, model_validator
from pydantic.fields import FieldInfo

from creps.settings.choices import RecipeName
from creps.settings.fields import Section
from creps.settings.inference import InferenceSettings
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
from creps.settings.recipes import TERM_WEIGHTS
from creps.settings.training import SamplingSettings, TrainingSettings

__all__ = ["Settings", "leaf_fields", "sections"]


class Settings(Section):
    """Every setting of creps; the defaults are the paper's for the brain, and `load_settings` applies a recipe."""

    preset: str = "brain"
    """The preset that these settings started from."""
    recipe: RecipeName = "paper"
    """The training method, which sets defaults for preparation, losses, networks, sampling, training and inference: `anatomy` (the default, and the best that we found), `paper` (exact), `cyclegan`, `cut`, or `supervised` (needs registered pairs)."""
    preparation: PreparationSettings = PreparationSettings()
    generator: AnyGenerator = ResidualSettings()
    discriminator: DiscriminatorSettings = DiscriminatorSettings()
    adversarial: AdversarialSettings = AdversarialSettings()
    creps: CrepsSettings = CrepsSettings()
    cycle: CycleSettings = CycleSettings()
    nce: NceSettings = NceSettings()
    supervised: SupervisedSettings = SupervisedSettings()
    simulation: SimulationSettings = SimulationSettings()
    sampling: SamplingSettings = SamplingSettings()
    training: TrainingSettings = TrainingSettings()
    inference: InferenceSettings = InferenceSettings()

    @property
    def simulates_only(self) -> bool:
        """Whether every loss term compares simulated pairs, so that no real MR or CT is learnt from."""
        others = {section: names for section, names in TERM_WEIGHTS.items() if section != "simulation"}
        weights = [getattr(getattr(self, section), name) for section, names in others.items() for name in names]
        return self.simulation.weight > 0 and not any(weights)

    @model_validator(mode="after")
    def _settings_agree(self) -> Settings:
        for broken, sentence in CONTRADICTIONS:
            if broken(self):
                raise ValueError(sentence)
        _check_features(self)
        return self


CONTRADICTIONS: tuple[tuple[Callable[[Settings], bool], str], ...] = (
    (
        lambda s: s.discriminator.conditional and s.sampling.ct_positions != "colocated",
        "discriminator.conditional needs sampling.ct_positions: colocated (MR and CT must match)",
    ),
    (
        lambda s: (
            not any((s.adversarial.weight, s.creps.weight, s.creps.content_weight, s.supervised.weight))
            and not s.simulation.weight
        ),
        "adversarial.weight, creps.weight, creps.content_weight, supervised.weight and simulation.weight are all 0, so "
        "nothing would be learnt from CT",
    ),
    (
        lambda s: s.recipe == "cyclegan" and s.cycle.weight == 0,
        "recipe cyclegan needs cycle.weight above 0",
    ),
    (
        lambda s: s.recipe == "cut" and s.nce.weight == 0,
        "recipe cut needs nce.weight above 0",
    ),
    (
        lambda s: s.recipe == "supervised" and s.supervised.weight == 0,
        "recipe supervised needs supervised.weight above 0",
    ),
    (
        lambda s: s.cycle.identity_weight > 0 and s.cycle.weight == 0,
        "cycle.identity_weight needs cycle.weight above 0",
    ),
    (
        lambda s: s.nce.identity_weight > 0 and s.nce.weight == 0,
        "nce.identity_weight needs nce.weight above 0",
    ),
    (
        lambda s: s.cycle.weight > 0 and s.adversarial.weight == 0,
        "cycle.weight needs adversarial.weight above 0, since nothing else makes the way back look like an MR",
    ),
    (
        lambda s: s.cycle.weight > 0 and s.discriminator.conditional,
        "discriminator.conditional and cycle.weight exclude each other, since the discriminator of MR has no second image",
    ),
    (
        lambda s: s.supervised.weight > 0 and s.sampling.ct_positions != "colocated",
        "supervised.weight needs sampling.ct_positions: colocated (the CT of the same patient and place)",
    ),
    (
        lambda s: s.creps.balance == "always" and min(s.creps.weight, s.adversarial.weight) == 0,
        "creps.balance: always needs creps.weight and adversarial.weight above 0, which it balances",
    ),
    (
        lambda s: s.discriminator.conditional and s.adversarial.weight == 0,
        "discriminator.conditional needs adversarial.weight above 0: without it there is no discriminator",
    ),
    (
        lambda s: s.training.discriminator_learning_rate is not None and s.adversarial.weight == 0,
        "training.discriminator_learning_rate needs adversarial.weight above 0: without it there is no discriminator",
    ),
    (
        lambda s: s.creps.slice_step > s.sampling.patch_size[0],
        "creps.slice_step is larger than the depth of sampling.patch_size, so no slice would be left",
    ),
    (
        lambda s: any(
            not 0 <= overlap < size
            for overlap, size in zip(s.inference.patch_overlap or (), s.sampling.patch_size, strict=False)
        ),
        "inference.patch_overlap must lie in [0, sampling.patch_size)",
    ),
    (
        lambda s: s.inference.fusion == "single" and getattr(s.generator, "norm", None) == "instance",
        "inference.fusion: single and generator.norm: instance exclude each other, since with instance norm a voxel sees "
        "all: set inference.fusion: median",
    ),
)
"""(whether the settings break the rule, the rule): the first broken one is reported."""


def _check_features(settings: Settings) -> None:
    """Features of PatchNCE must be stages of the generator."""
    features = settings.nce.features
    known = settings.generator.feature_names
    unknown = [name for name in features if name not in known]
    if len(set(features)) < len(features):
        raise ValueError("nce.features names a stage twice")
    if settings.nce.weight > 0 and unknown:
        raise ValueError(f"nce.features names {unknown[0]}; there are {', '.join(known) or 'none'}")


def leaf_fields() -> Iterator[tuple[str, str, FieldInfo]]:
    """Yield (section, name, field) of every setting, in order; of a generator the fields of every kind."""
    for section, kind in sections():
        fields = kind.known_fields() if issubclass(kind, GeneratorSettings) else kind.model_fields
        for name, field in fields.items():
            yield section, name, field


def sections() -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield (name, model class) of every section of the tree, in order."""
    for name, field in Settings.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield name, kind
