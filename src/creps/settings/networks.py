"""Settings of generators and discriminators."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ModelWrapValidatorHandler, SerializeAsAny, model_validator
from pydantic.fields import FieldInfo

from creps.settings.choices import Norm
from creps.settings.fields import Count, Section

__all__ = ["AnyGenerator", "DiscriminatorSettings", "GeneratorSettings", "ResidualSettings", "UNetSettings"]


class GeneratorSettings(Section):
    """Settings of a generator, of whatever kind: a mapping is read as the kind that its ``kind`` names.

    Each kind is a subclass with a literal `kind`; defining it makes it known. Its network belongs into
    `creps.networks.build`. Where a mapping names no kind, it is ``residual``.
    """

    KINDS: ClassVar[dict[str, type[GeneratorSettings]]] = {}
    """Kind → settings class."""

    kind: str

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Make a new kind known."""
        super().__pydantic_init_subclass__(**kwargs)
        GeneratorSettings.KINDS[cls.model_fields["kind"].default] = cls

    @model_validator(mode="wrap")
    @classmethod
    def _of_its_kind(cls, value: Any, handler: ModelWrapValidatorHandler[GeneratorSettings]) -> GeneratorSettings:
        if cls is not GeneratorSettings or not isinstance(value, dict):
            return handler(value)
        kind = value.get("kind", "residual")
        if kind not in cls.KINDS:
            raise ValueError(f"there is no generator of kind '{kind}'; the kinds are {', '.join(cls.KINDS)}")
        return cls.KINDS[kind].model_validate(value)

    @classmethod
    def known_fields(cls) -> dict[str, FieldInfo]:
        """Every field of this class, or of the base class of every kind, by name."""
        kinds = list(cls.KINDS.values()) if cls is GeneratorSettings else [cls]
        return {name: field for kind in reversed(kinds) for name, field in kind.model_fields.items()}

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the feature maps that PatchNCE can compare; none by default."""
        return ()


AnyGenerator = SerializeAsAny[GeneratorSettings]
"""A generator's settings as a field: written with all the fields of their kind."""


class ResidualSettings(GeneratorSettings):
    """The 3-D residual generator (paper, section 2.2, cGAN)."""

    kind: Literal["residual"] = "residual"
    """Architecture of the generator: `residual`, the paper's, or `unet`."""
    width: Count = 32
    """Channels: at full resolution with kind `residual`, twice as many at half; at half resolution with kind `unet`, two and four times as many below."""
    residual_blocks: Count = 6
    """Kind `residual`: residual blocks between down- and up-sampling (paper: 6)."""
    norm: Norm = "batch"
    """Normalisation after each convolution but the last (paper: batch)."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """``input``, ``stem``, ``down`` and each block."""
        return ("input", "stem", "down", *(f"block{number}" for number in range(1, self.residual_blocks + 1)))


class UNetSettings(GeneratorSettings):
    """A residual U-Net whose first level is at half resolution (not in the paper)."""

    kind: Literal["unet"] = "unet"
    """Architecture of the generator: `residual`, the paper's, or `unet`."""
    width: Count = 32
    """Channels: at full resolution with kind `residual`, twice as many at half; at half resolution with kind `unet`, two and four times as many below."""
    levels: Annotated[int, Field(ge=2, le=6)] = 4
    """Kind `unet`: resolutions, half resolution included."""
    blocks: Count = 1
    """Kind `unet`: residual blocks at each level of the encoder; twice as many at the two lowest."""
    fine: Count = 16
    """Kind `unet`: channels at full resolution."""
    classes: bool = True
    """Kind `unet`: predict a distribution over HU for each voxel; its median is the sCT."""


class DiscriminatorSettings(Section):
    """The 70x70x70 PatchGAN (paper, section 2.2, cGAN)."""

    widths: Annotated[tuple[Count, ...], Field(min_length=2, max_length=6)] = (16, 32, 64, 64)
    """Output channels of the normalised convolutions; four of them make the paper's field of view of 70 voxels, three see 34, two 16."""
    norm: Norm = "batch"
    """Normalisation after each convolution but the last (paper: batch)."""
    conditional: bool = False
    """Show the MR to the discriminator as well (paper, eq. 5: D(sCT), so no); needs co-located sampling, since otherwise MR and CT never match, and no cycle."""
