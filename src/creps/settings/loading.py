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

import difflib
import logging
import reprlib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from creps.errors import SettingsError
from creps.settings.files import read_settings_file
from creps.settings.networks import GeneratorSettings
from creps.settings.recipes import DEFAULT_RECIPE, RECIPES, TERM_WEIGHTS, without_other_recipe
from creps.settings.tree import Settings, leaf_fields

__all__ = [
    "invalid_value",
    "load_settings",
    "preparation_mismatch",
    "preset_names",
    "preset_values",
    "refuse_without_effect",
    "values_of_recipes",
]

log = logging.getLogger(__name__)

DEFAULT_PRESET = "brain"

UNION_MEMBERS = ("float", "int", "literal", "constrained", "function")
"""What the places of errors are called that belong to one member of a union."""

OF_RECIPES = "recipes"
"""Key of a preset, below which it sets values for one recipe alone."""

Layer = Mapping[str, Any]
"""``{"recipe": ..., section: {name: value}}``"""


def preset_names() -> list[str]:
    """Names of the presets that ship with creps."""
    folder = resources.files("creps") / "presets"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def preset_values(name: str, recipe: str | None = None) -> dict[str, Any]:
    """Sections of a preset.

    Args:
        name: Of the preset.
        recipe: Whose own values, under ``recipes:`` in the preset, count as well; None: no recipe's.

    Raises:
        SettingsError: there is no such preset.
    """
    if name not in preset_names():
        raise SettingsError(f"There is no preset '{name}'.", f"The presets are: {', '.join(preset_names())}.")
    text = (resources.files("creps") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text) or {}
    own = content.pop(OF_RECIPES, {})
    return _merged(content, own.get(recipe, {}))


def values_of_recipes(name: str) -> dict[str, dict[str, Any]]:
    """What a preset sets for each recipe alone."""
    text = (resources.files("creps") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    own: dict[str, dict[str, Any]] = yaml.safe_load(text).get(OF_RECIPES, {})
    return own


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
    written = _without_size_of_recipe(written, chosen_recipe, chosen_preset)
    _warn_of_other_recipe(written, chosen_recipe, chosen_preset)
    tree = _merged(
        RECIPES.get(chosen_recipe, {}),
        size,
        {"preparation": prepared.preparation.model_dump()} if prepared else {},
        without_other_recipe(started_from, chosen_recipe),
        {"generator": model["generator"]} if model and "generator" in model else {},  # its shape, whatever the recipe
        without_other_recipe(written, chosen_recipe),
        single,
        {"preset": chosen_preset, "recipe": chosen_recipe},
    )
    settings = _validated(tree, _described(file, single, chosen_preset))
    if prepared is not None and settings.preparation != prepared.preparation:
        _refuse_other_preparation(settings, prepared)
    return settings


def preparation_mismatch(settings: Settings, prepared: Settings) -> str | None:
    """One warning sentence if a cohort was prepared for another recipe than it is used for.

    Args:
        settings: Settings of a training.
        prepared: Settings that its cohort was prepared with.

    Returns:
        The settings that differ and the command to prepare the cohort again; None if it fits.
    """
    if settings.recipe == prepared.recipe:
        return None
    usual = load_settings(settings.preset, recipe=settings.recipe).preparation
    decided = {name for recipe in (settings.recipe, prepared.recipe) for name in RECIPES[recipe].get("preparation", {})}
    differences = [
        f"preparation.{name} is {_written(has)}, not {_written(wanted)}"
        for name in sorted(decided)
        if (has := getattr(prepared.preparation, name)) != (wanted := getattr(usual, name))
    ]
    if not differences:
        return None
    return (
        f"The cohort was prepared for recipe {prepared.recipe}, but the training uses recipe {settings.recipe}: "
        f"{' and '.join(differences)}. To prepare it again, run 'creps prepare SOURCES -o COHORT -p {settings.preset} "
        f"--recipe {settings.recipe}'."
    )


def refuse_without_effect(names: Iterable[str], settings: Settings) -> None:
    """Refuse settings that would do nothing, since their loss term or network is not used.

    Args:
        names: Settings that the user gave by name, such as ``creps.weights``.
        settings: The settings that they led to.

    Raises:
        SettingsError: names the first one, and what to do.
    """
    adversarial, style = settings.adversarial.weight > 0, settings.creps.weight + settings.creps.content_weight > 0
    used = {"adversarial": adversarial, "discriminator": adversarial, "creps": style, "nce": settings.nce.weight > 0}
    for name in names:
        section, _, key = name.partition(".")
        if used.get(section, True) or key in TERM_WEIGHTS.get(section, ()):
            continue
        term = "adversarial" if section == "discriminator" else section
        recipe = "cut" if term == "nce" else "paper"
        raise SettingsError(
            f"{name} has no effect: with recipe {settings.recipe}, {term}.weight is 0.",
            f"Set {term}.weight as well, use recipe {recipe}, or leave {name} out.",
        )


def _of_model(model: Layer, preset_named: bool) -> dict[str, Any]:
    """A model's recipe and sections; a named preset replaces all but its generator, which is a layer of its own."""
    return {} if preset_named else {key: value for key, value in model.items() if key != "generator"}


def _merged(*layers: Layer) -> dict[str, Any]:
    """One tree; later layers win, value by value."""
    tree: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            below = tree.get(key)
            if isinstance(value, Mapping) and isinstance(below, dict) and not _other_kind(below, value):
                tree[key] = {**below, **value}
            else:
                tree[key] = value
    return tree


def _other_kind(below: Layer, above: Layer) -> bool:
    """Whether two layers describe generators of different kinds, whose settings must not be mixed."""
    return "kind" in above and bool(above["kind"] != below.get("kind", "residual"))


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
    return _merged(*layers)


def _described(file: Path | str | None, single: Layer, preset: str) -> str:
    """Where wrong values may come from, for error messages."""
    places = [*([str(file)] if file is not None else []), *(["the given values"] if single else [])]
    return " and ".join(places) or f"preset {preset}"


def _usual(recipe: str, preset: str) -> dict[str, Any]:
    """Every value that a recipe has with a preset, as plain JSON values."""
    tree = _merged(RECIPES.get(recipe, {}), preset_values(preset, recipe), {"recipe": recipe})
    return _validated(tree, "the file").model_dump(mode="json")


def _without_size_of_recipe(file: Layer, recipe: str, preset: str) -> dict[str, Any]:
    """Drop from a file the sizes that its preset gives to another recipe, unless they were changed by hand."""
    own, of_recipes = str(file.get("recipe", recipe)), values_of_recipes(preset)
    if own == recipe:
        return dict(file)
    values = _usual(own, preset)
    own_sizes = [of_recipes.get(name, {}) for name in (own, recipe)]
    kept: dict[str, Any] = {}
    for section, content in file.items():
        names = {name for sizes in own_sizes for name in sizes.get(section, ())} if section != "generator" else set()
        is_section = isinstance(content, Mapping)
        kept[section] = (
            {k: v for k, v in content.items() if k not in names or v != values[section][k]} if is_section else content
        )
    return kept


def _warn_of_other_recipe(file: Layer, recipe: str, preset: str) -> None:
    """Name the values that a file changed for another recipe, since they do not count."""
    kept = without_other_recipe(file, recipe)
    if kept == file:
        return
    own = str(file["recipe"])
    usual = _usual(own, preset)
    dropped = [
        f"{section}.{name}"
        for section, values in file.items()
        if isinstance(values, Mapping)
        for name in values.keys() - kept.get(section, {}).keys()
        if values[name] != usual.get(section, {}).get(name)
    ]
    if dropped:
        sentence = "The settings file was written for recipe %s, so these of its settings do not count for %s: %s."
        log.warning(sentence, own, recipe, ", ".join(sorted(dropped)))


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
        f"The cohort was prepared with preparation.{name} = {_written(theirs[name])}, the settings ask for "
        f"{_written(ours[name])}.",
        "Prepare the cohort again with these settings, or leave the preparation out of them.",
    )


def _written(value: Any) -> str:
    """A value as YAML writes it."""
    if isinstance(value, tuple | list):
        return ", ".join(map(_written, value))
    return f"{value:g}" if isinstance(value, float) else "null" if value is None else str(value).lower()


def _validated(tree: Layer, source: str) -> Settings:
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        first, (key, value, reason) = error.errors()[0], invalid_value(error)
        if first["type"] == "extra_forbidden":
            if other := _kind_of(key):
                kind = tree.get("generator", {}).get("kind", "residual")
                raise SettingsError(
                    f"'{key}' in {source} is a setting of generator.kind {other}, but the generator is {kind}.",
                    f"Leave it out, or set generator.kind: {other} as well.",
                ) from error
            raise SettingsError(f"Unknown setting '{key}' in {source}.", _nearest(key)) from error
        if first["type"] in ("model_type", "model_attributes_type"):
            raise SettingsError(
                f"'{key}' in {source} is a section, but has the value {value}.",
                f"Write '{key}:' and, indented below it, 'name: value'.",
            ) from error
        where = f"Setting '{key}' = {value}" if key else "Settings"
        raise SettingsError(f"{where} in {source}: {reason}.", "See 'creps settings' for every setting.") from error


def _kind_of(key: str) -> str | None:
    """The kind of generator that has a setting, if it is one of a generator."""
    section, _, name = key.partition(".")
    kinds = GeneratorSettings.KINDS.items() if section == "generator" else ()
    return next((kind for kind, settings in kinds if name in settings.model_fields), None)


def invalid_value(error: ValidationError) -> tuple[str, str, str]:
    """The first wrong setting: its name, its value (shortened), and what it should be instead."""
    first = error.errors()[0]
    key = _key(first["loc"])
    reasons = [one["msg"].removeprefix("Value error, ") for one in error.errors() if _key(one["loc"]) == key]
    reason = " or ".join([reasons[0], *(one.removeprefix("Input should be ") for one in reasons[1:])])
    return key, reprlib.repr(first["input"]), reason


def _key(location: Iterable[int | str]) -> str:
    """The setting's name, without what pydantic calls the members of a union."""
    return ".".join(str(part) for part in location if not str(part).startswith(UNION_MEMBERS))


def _nearest(key: str) -> str:
    """The setting that a wrong key probably means, as a sentence."""
    known = [f"{section}.{name}" for section, name, _ in leaf_fields()]
    last = key.rpartition(".")[2]
    meant = next((name for name in known if key == name or key.endswith(f".{name}")), None)
    if meant is not None:  # the whole name as one key
        section, _, name = meant.partition(".")
        return f"Write '{section}:' and, indented below it, '{name}: value'."
    sections = {name.partition(".")[0] for name in known}
    if last in sections:
        return f"Write '{last}:' at the left margin: it is a section."
    same = list(dict.fromkeys(name for name in known if name.rpartition(".")[2] == last))
    if same:  # the right name in the wrong section
        return f"Did you mean {' or '.join(repr(name) for name in same)}?"
    by_name = {name.rpartition(".")[2]: name for name in known}
    close = difflib.get_close_matches(key, [*known, *Settings.model_fields], n=1, cutoff=0.75)
    if not close:
        close = [by_name[name] for name in difflib.get_close_matches(last, by_name, n=1, cutoff=0.6)]
    return f"Did you mean '{close[0]}'?" if close else "See 'creps settings' for every setting."
