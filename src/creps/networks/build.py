"""From settings to a generator: the registry of every kind."""

from __future__ import annotations

from creps.errors import SettingsError
from creps.networks.generator import Generator
from creps.networks.residual import ResidualGenerator
from creps.networks.unet import UNetGenerator
from creps.settings import GeneratorSettings

__all__ = ["GENERATORS", "build_generator"]

GENERATORS: dict[str, type[Generator]] = {
    "residual": ResidualGenerator,
    "unet": UNetGenerator,
}
"""Kind → class. Its constructor takes the fields of the kind's settings, all but `kind`, by name."""


def build_generator(settings: GeneratorSettings) -> Generator:
    """A generator with freshly initialised weights, from torch's random state.

    Raises:
        SettingsError: no network is registered for that kind.
    """
    if settings.kind not in GENERATORS:
        raise SettingsError(
            f"There is no generator of kind '{settings.kind}'.", f"Choose one of: {', '.join(GENERATORS)}."
        )
    fields = {name: getattr(settings, name) for name in type(settings).model_fields if name != "kind"}
    return GENERATORS[settings.kind](**fields)
