"""Layers of settings: the presets, how layers are merged, and what is wrong with the tree that they make."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

import yaml
from pydantic import ValidationError

from creps.errors import SettingsError
from creps.settings.networks import GeneratorSettings
from creps.settings.tree import Settings, leaf_fields

__all__ = [
    "Layer",
    "invalid_value",
    "merged",
    "preset_names",
    "preset_values",
    "validated",
    "values_of_recipes",
    "written",
]

UNION_PARTS = ("float", "int", "literal", "constrained", "function")
"""pydantic adds a part to the location of an error for each member of a union; these parts begin like this."""

OF_RECIPES = "recipes"
"""Key of a preset; below it are values for single recipes."""

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
        raise SettingsError(f"Unknown preset '{name}'.", f"Choose one of: {', '.join(preset_names())}.")
    content = _preset(name)
    own = content.pop(OF_RECIPES, {})
    return merged(content, own.get(recipe, {}))


def values_of_recipes(name: str) -> dict[str, dict[str, Any]]:
    """What a preset sets for each recipe alone."""
    own: dict[str, dict[str, Any]] = _preset(name).get(OF_RECIPES, {})
    return own


def _preset(name: str) -> dict[str, Any]:
    """A preset's file, with what it sets for single recipes."""
    text = (resources.files("creps") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text) or {}
    return content


def merged(*layers: Layer) -> dict[str, Any]:
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


def written(value: Any) -> str:
    """A value for messages and tables: as YAML writes it, without brackets."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return ", ".join(map(written, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def validated(tree: Layer, source: str) -> Settings:
    """The settings that a tree describes.

    Args:
        tree: Sections.
        source: Where wrong values may come from, for the message.

    Raises:
        SettingsError: an unknown key (the nearest one is named), or a wrong value or type.
    """
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
    return ".".join(str(part) for part in location if not str(part).startswith(UNION_PARTS))


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
