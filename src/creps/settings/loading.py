"""From presets, files and the command line to one validated `Settings`, and back to commented YAML."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from creps.errors import SettingsError
from creps.settings.recipes import RECIPES, USUAL_RECIPE, of_this_version, without_what_another_decides
from creps.settings.tree import Settings, leaf_fields, sections

__all__ = ["load_settings", "preset_names", "preset_values", "read_settings_file", "to_yaml"]


log = logging.getLogger(__name__)

FORMER_PRESETS = {"demo-paper": "demo"}
"""Presets that cohorts, runs and files of earlier versions name → those that have their sizes now."""


def preset_names() -> list[str]:
    """Names of the presets that ship with creps."""
    folder = resources.files("creps") / "presets"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def preset_values(name: str) -> dict[str, Any]:
    """Sections of a preset: what belongs to a size, and no weights.

    Raises:
        SettingsError: there is no such preset.
    """
    if name not in preset_names():
        raise SettingsError(f"There is no preset '{name}'.", f"The presets are: {', '.join(preset_names())}.")
    text = (resources.files("creps") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text) or {}
    return content


def load_settings(
    preset: str | None = None,
    file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    prepared: Settings | None = None,
    model: Mapping[str, Any] | None = None,
) -> Settings:
    """Layer defaults, a recipe, a preset, the settings of a model, a settings file and single values.

    Args:
        preset: Name of a shipped preset; wins over the file's own ``preset:`` line.
        file: YAML file; never rewritten.
        overrides: ``{"training.steps": 100, "recipe": "cut"}``.
        prepared: Settings that a cohort was prepared with: its preset is the default one and its
            preparation stands; asking for another is an error.
        model: Sections of a model to start from; beside a named preset only its generator counts.

    Raises:
        SettingsError: unknown key (the nearest is named), wrong value, unreadable file, or another
            preparation than that of the cohort.
    """
    tree = of_this_version(read_settings_file(file), str(file)) if file else {}
    own_preset = tree.pop("preset", None)
    named = str(preset or own_preset or "")
    if named in FORMER_PRESETS:
        log.info("preset %s is preset %s with recipe paper now", named, FORMER_PRESETS[named])
        tree = {"recipe": "paper", **tree}
    chosen = named or (prepared.preset if prepared else "brain")
    chosen = FORMER_PRESETS.get(chosen, chosen)
    start = preset_values(chosen)
    if prepared is not None:
        _refuse_other_preset(chosen, start, prepared)
        start["preparation"] = prepared.preparation.model_dump()
    layers = _layered(start, {} if named else model or {}, _always_of(model or {}), tree, _sections(overrides or {}))
    source = ", ".join([*([str(file)] if file else []), *(["the command line"] if overrides else [])])
    settings = _validated({**layers, "preset": chosen}, source or f"preset {chosen}")
    if prepared is not None and settings.preparation != prepared.preparation:
        _refuse_other_preparation(settings, prepared)
    return settings


def to_yaml(settings: Settings, header: str = "") -> str:
    """The whole tree as YAML, each value under a comment that explains it."""
    lines = [f"# {line}" for line in header.splitlines()]
    for name in ("preset", "recipe"):
        lines += [f"# {Settings.model_fields[name].description}", f"{name}: {getattr(settings, name)}"]
    for section, _ in sections():
        kind = type(getattr(settings, section))
        lines += ["", f"# {(kind.__doc__ or '').splitlines()[0]}", f"{section}:"]
        values = getattr(settings, section).model_dump(mode="json")
        for name, field in kind.model_fields.items():
            value = yaml.safe_dump(values[name], default_flow_style=True, width=10_000).removesuffix("...\n").strip()
            lines += [f"  # {field.description}", f"  {name}: {value}"]
    return "\n".join(lines) + "\n"


def _layered(
    preset: dict[str, Any],
    model: Mapping[str, Any],
    always: dict[str, Any],
    file: dict[str, Any],
    single: dict[str, Any],
) -> dict[str, Any]:
    """One tree of them all, above the recipe that the last of them names."""
    of_model = {"recipe": "paper", **of_this_version(model)} if model else {}  # the only one before there was a choice
    recipe = next((str(part["recipe"]) for part in (single, file, of_model) if "recipe" in part), USUAL_RECIPE)
    inherited, written = (without_what_another_decides(part, recipe) for part in (of_model, file))
    _say_what_is_left_behind(file, written, recipe)
    layers: dict[str, Any] = {}
    for part in (RECIPES.get(recipe, {}), preset, inherited, always, written, single, {"recipe": recipe}):
        _merge(layers, part)
    return layers


def _always_of(model: Mapping[str, Any]) -> dict[str, Any]:
    """What a model brings along whatever preset and recipe: its shape."""
    return {"generator": model["generator"]} if "generator" in model else {}


def _say_what_is_left_behind(file: dict[str, Any], written: dict[str, Any], recipe: str) -> None:
    """Name what was changed in a file for another recipe and does not count."""
    if written == file:
        return
    own = str(file["recipe"])
    usual = _validated({**RECIPES.get(own, {}), "recipe": own}, "the file").model_dump(mode="json")
    left = [
        f"{section}.{name}"
        for section, values in file.items()
        if isinstance(values, dict)
        for name in values.keys() - written[section].keys()
        if values[name] != usual.get(section, {}).get(name)
    ]
    if left:
        said = "the file is written for recipe %s, so these settings of it do not count for %s: %s"
        log.warning(said, own, recipe, ", ".join(sorted(left)))


def _sections(values: Mapping[str, Any]) -> dict[str, Any]:
    """``{"training.steps": 100}`` → ``{"training": {"steps": 100}}``."""
    tree: dict[str, Any] = {}
    for key, value in values.items():
        section, _, name = key.partition(".")
        _merge(tree, {section: {name: value} if name else value})
    return tree


def _refuse_other_preset(name: str, preset: dict[str, Any], prepared: Settings) -> None:
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
        f"The cohort was prepared with preparation.{name} = {theirs[name]}, the settings ask for {ours[name]}.",
        "Prepare the cohort again with these settings, or leave the preparation out of them.",
    )


class _NoDuplicates(yaml.SafeLoader):
    """Refuses a key that stands twice in one block: the first one would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As `yaml.SafeLoader`, each key once."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"'{twice}' stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_settings_file(file: Path) -> dict[str, Any]:
    """Sections of a settings file, as they stand there.

    Raises:
        SettingsError: it is not there, or holds no settings.
    """
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), _NoDuplicates)
    except FileNotFoundError as error:
        raise SettingsError(f"{file} does not exist.", "Check the path of the settings file.") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise SettingsError(f"{file} cannot be read as YAML ({reason}).", "Correct the file.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{file} does not hold settings.", "Write 'section:' and, indented, 'name: value'.")
    return content


def _merge(into: dict[str, Any], update: Mapping[str, Any]) -> None:
    for key, value in update.items():
        if key == "generator" and isinstance(value, Mapping) and _other_kind(into.get(key), value):
            into[key] = {}  # what lower layers say is of another kind of generator
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            into[key].update(value)
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value


def _other_kind(below: object, above: Mapping[str, Any]) -> bool:
    """Whether the upper layer names another kind of generator than the lower one has."""
    has = below.get("kind", "residual") if isinstance(below, Mapping) else "residual"
    return bool(above.get("kind", has) != has)


def _validated(tree: dict[str, Any], source: str) -> Settings:
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(
            str(part) for part in first["loc"] if not str(part).startswith(("float", "literal", "constrained"))
        )
        if first["type"] == "extra_forbidden":
            raise SettingsError(f"Unknown setting '{key}' in {source}.", _nearest(key)) from error
        reason = first["msg"].removeprefix("Value error, ")
        where = f"Setting '{key}' = {first['input']!r}" if key else "Settings"
        raise SettingsError(f"{where} in {source}: {reason}.", "See 'creps settings' for every setting.") from error


def _nearest(key: str) -> str:
    if key == "objective":
        return "It is 'recipe' now."
    known = [f"{section}.{name}" for section, name, _ in leaf_fields()]
    by_name = {name.rpartition(".")[2]: name for name in known}
    last = key.rpartition(".")[2]
    if last in by_name:  # the right name in the wrong section
        return f"Did you mean '{by_name[last]}'?"
    close = difflib.get_close_matches(key, [*known, *Settings.model_fields], n=1, cutoff=0.75)
    if not close:
        close = [by_name[name] for name in difflib.get_close_matches(last, by_name, n=1, cutoff=0.6)]
    return f"Did you mean '{close[0]}'?" if close else "See 'creps settings' for every setting."
