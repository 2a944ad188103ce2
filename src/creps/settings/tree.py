"""The settings tree: one place for every knob, its default, its unit and its source.

The attribute docstrings of the sections are the help of the command line and the comments of a written
settings file. "Paper" is Hémon et al. 2023; defaults without a source are ours. Values are layered:
defaults < recipe < preset < model < settings file < command line, see `creps.settings.recipes`.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, field_validator, model_validator
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
from creps.settings.recipes import refuse_contradictions
from creps.settings.training import SamplingSettings, TrainingSettings

__all__ = ["Settings", "leaf_fields", "sections"]


class Settings(Section):
    """Every setting of creps; the defaults are the paper's for the brain, `load_settings` lays a recipe over them."""

    preset: str = "brain"
    """The preset that these settings started from."""
    recipe: RecipeName = "paper"
    """What losses, networks, sampling, training and inference start from: `anatomy` (taken where none is named: the best that we found), `paper` (exact), `cyclegan`, `cut`, or `supervised` (needs registered pairs)."""
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

    @field_validator("creps")
    @classmethod
    def _sha256_is_hex(cls, value: CrepsSettings) -> CrepsSettings:
        digest = value.weights_sha256
        if digest is not None and (len(digest) < 8 or set(digest.lower()) - set("0123456789abcdef")):
            raise ValueError("creps.weights_sha256 must be at least 8 hexadecimal digits")
        return value

    @model_validator(mode="after")
    def _settings_agree(self) -> Settings:
        if self.discriminator.conditional and self.sampling.ct_positions != "colocated":
            raise ValueError("discriminator.conditional needs sampling.ct_positions: colocated (MR and CT must match)")
        refuse_contradictions(self)
        if self.creps.slice_step > self.sampling.patch_size[0]:
            raise ValueError("creps.slice_step is larger than the depth of sampling.patch_size: no slice would be left")
        overlap = self.inference.patch_overlap
        if overlap and any(not 0 <= o < p for o, p in zip(overlap, self.sampling.patch_size, strict=True)):
            raise ValueError("inference.patch_overlap must lie in [0, sampling.patch_size)")
        return self


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
