"""Combine recipe, preset, files and single values into one validated `Settings`.

`load_settings` merges these layers; each takes precedence over those before it:

1. the defaults, which are the paper's (`creps.settings.tree`);
2. the recipe: the training method (`creps.settings.recipes`);
3. the preset: what belongs to a size (`creps/presets/*.yaml`), and what it sets for that recipe alone;
4. the cohort: how it was prepared;
5. the model to start from: its method and the shape of its generator;
6. the settings file;
7. single values, such as the options of the command line.

Settings that a model or a file has only because of another recipe are left out (`without_other_recipe`).
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from creps.errors import SettingsError
from creps.settings.files import read_settings_file
from creps.settings.layers import Layer, merged, preset_values, validated, written
from creps.settings.other_recipe import warn_of_other_recipe, without_size_of_recipe
from creps.settings.recipes import DEFAULT_RECIPE, RECIPES, without_other_recipe
from creps.settings.tree import Settings

__all__ = ["load_settings"]

DEFAULT_PRESET = "brain"


def load_settings(
    preset: str | None = None,
    file: Path | str | None = None,
    overrides: Mapping[str, Any] | None = None,
    prepared: Settings | None = None,
    model: Mapping[str, Any] | None = None,
    *,
    recipe: str | None = None,
) -> Settings:
    """Combine the layers that the module names into one validated tree.

    >>> load_settings("pelvis", recipe="paper", overrides={"training.steps": 100}).training.steps
    100

    Args:
        preset: Name of a shipped preset; takes precedence over the file's ``preset:`` line. Default: the cohort's,
            or brain.
        file: YAML file; it is never changed.
        overrides: ``{"training.steps": 100, "recipe": "cut"}``.
        prepared: Settings that a cohort was prepared with, from `Cohort.settings`. Its preset and recipe are the
            defaults, and its preparation is fixed.
        model: Sections of a model to start from. If a preset is named, only its generator counts.
        recipe: Name of a recipe; the same as ``recipe`` in `overrides`. Default: that of the file, the model or the
            cohort, or anatomy.

    Raises:
        SettingsError: an unknown key (the nearest one is named), a wrong value or type, an unreadable file, or
            another preparation than the cohort's.
    """
    if preset is not None and not isinstance(preset, str):
        raise SettingsError(f"The preset is of the type {type(preset).__name__}.", "Give its name.")
    single = _by_section(overrides)
    if recipe is not None:
        single["recipe"] = recipe
    written = read_settings_file(file) if file is not None else {}
    own_preset = written.pop("preset", None)
    named = preset or own_preset
    started_from = _of_model(model or {}, preset_named=bool(named))
    chosen_preset = str(named or (prepared.preset if prepared else DEFAULT_PRESET))
    cohort = {"recipe": prepared.recipe} if prepared else {}
    sources: list[Layer] = [single, written, started_from, cohort, {"recipe": DEFAULT_RECIPE}]
    chosen_recipe = str(next(layer["recipe"] for layer in sources if "recipe" in layer))
    size = preset_values(chosen_preset, chosen_recipe)
    if prepared is not None:
        _refuse_other_preset(chosen_preset, size, prepared)
    written = without_size_of_recipe(written, chosen_recipe, chosen_preset)
    warn_of_other_recipe(written, chosen_recipe, chosen_preset)
    tree = merged(
        RECIPES.get(chosen_recipe, {}),
        size,
        {"preparation": prepared.preparation.model_dump()} if prepared else {},
        without_other_recipe(started_from, chosen_recipe),
        {"generator": model["generator"]} if model and "generator" in model else {},  # its shape, whatever the recipe
        without_other_recipe(written, chosen_recipe),
        single,
        {"preset": chosen_preset, "recipe": chosen_recipe},
    )
    settings = validated(tree, _described(file, single, chosen_preset))
    if prepared is not None and settings.preparation != prepared.preparation:
        _refuse_other_preparation(settings, prepared)
    return settings


def _of_model(model: Layer, preset_named: bool) -> dict[str, Any]:
    """A model's recipe and sections; a named preset replaces all but its generator, which is a layer of its own."""
    return {} if preset_named else {key: value for key, value in model.items() if key != "generator"}


def _by_section(overrides: Mapping[str, Any] | None) -> dict[str, Any]:
    """``{"training.steps": 100}`` → ``{"training": {"steps": 100}}``."""
    if overrides is None:
        return {}
    if not isinstance(overrides, Mapping) or not all(isinstance(key, str) for key in overrides):
        raise SettingsError(
            f"{reprlib.repr(overrides)} are not settings.", 'Write overrides as {"training.steps": 100}.'
        )
    layers = []
    for key, value in overrides.items():
        section, _, name = key.partition(".")
        layers.append({section: {name: value} if name else value})
    return merged(*layers)


def _described(file: Path | str | None, single: Layer, preset: str) -> str:
    """Where wrong values may come from, for error messages."""
    places = [*([str(file)] if file is not None else []), *(["the given values"] if single else [])]
    return " and ".join(places) or f"preset {preset}"


def _refuse_other_preset(name: str, preset: Layer, prepared: Settings) -> None:
    """A preset for another region or spacing has patches of another size."""
    preparation = Settings.model_validate({"preparation": preset.get("preparation", {})}).preparation
    for field in ("region", "spacing_mm"):
        ours, theirs = getattr(preparation, field), getattr(prepared.preparation, field)
        if name != prepared.preset and ours != theirs:
            raise SettingsError(
                f"Preset '{name}' is for {field} {ours}, the cohort (preset '{prepared.preset}') for {theirs}.",
                f"Leave the preset out, or prepare the cohort with -p {name}.",
            )


def _refuse_other_preparation(settings: Settings, prepared: Settings) -> None:
    ours, theirs = settings.preparation.model_dump(), prepared.preparation.model_dump()
    name = next(name for name in ours if ours[name] != theirs[name])
    raise SettingsError(
        f"The cohort was prepared with preparation.{name} = {written(theirs[name])}, the settings ask for "
        f"{written(ours[name])}.",
        "Prepare the cohort again with these settings, or leave the preparation out of them.",
    )
