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
from creps.settings.objectives import OBJECTIVES, without_weights_of_another
from creps.settings.tree import Settings, leaf_fields, sections

__all__ = ["load_settings", "preset_names", "to_yaml"]


log = logging.getLogger(__name__)


def preset_names() -> list[str]:
    """Names of the presets that ship with creps."""
    folder = resources.files("creps") / "presets"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_settings(
    preset: str | None = None,
    file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    prepared: Settings | None = None,
    model: Mapping[str, Any] | None = None,
) -> Settings:
    """Layer defaults, an objective, a preset, the settings of a model, a settings file and single values.

    Args:
        preset: Name of a shipped preset; wins over the file's own ``preset:`` line.
        file: YAML file; never rewritten.
        overrides: ``{"training.steps": 100, "objective": "cut"}``.
        prepared: Settings that a cohort was prepared with: its preset is the default one and its
            preparation stands; asking for another is an error.
        model: Sections of a model to start from; beside a named preset only its generator counts.

    Raises:
        SettingsError: unknown key (the nearest is named), wrong value, unreadable file, or another
            preparation than that of the cohort.
    """
    tree = _read_yaml(file) if file else {}
    named = tree.pop("preset", None)
    chosen = preset or named or (prepared.preset if prepared else "brain")
    start = _preset(chosen)
    if prepared is not None:
        _refuse_other_preset(chosen, start, prepared)
        start["preparation"] = prepared.preparation.model_dump()
    taken = {k: v for k, v in (model or {}).items() if k == "generator" or not (preset or named)}
    fresh = {"prior": {"warm_up_steps": 0}} if model else {}  # it would teach the model the crude guess again
    layers = _layered(start, taken, fresh, tree, _sections(overrides or {}))
    source = ", ".join([*([str(file)] if file else []), *(["the command line"] if overrides else [])])
    settings = _validated({"preset": chosen, **layers}, source or f"preset {chosen}")
    if prepared is not None and settings.preparation != prepared.preparation:
        _refuse_other_preparation(settings, prepared)
    return settings


def to_yaml(settings: Settings, header: str = "") -> str:
    """The whole tree as YAML, each value under a comment that explains it."""
    lines = [f"# {line}" for line in header.splitlines()]
    for name in ("preset", "objective"):
        lines += [f"# {Settings.model_fields[name].description}", f"{name}: {getattr(settings, name)}"]
    for section, kind in sections():
        lines += ["", f"# {(kind.__doc__ or '').splitlines()[0]}", f"{section}:"]
        values = getattr(settings, section).model_dump(mode="json")
        for name, field in kind.model_fields.items():
            value = yaml.safe_dump(values[name], default_flow_style=True, width=10_000).removesuffix("...\n").strip()
            lines += [f"  # {field.description}", f"  {name}: {value}"]
    return "\n".join(lines) + "\n"


def _layered(
    preset: dict[str, Any], model: dict[str, Any], fresh: dict[str, Any], file: dict[str, Any], single: dict[str, Any]
) -> dict[str, Any]:
    """One tree of them all, above the objective that the last of them names; file and single values count in full."""
    named = [part["objective"] for part in (preset, model, file, single) if "objective" in part]
    objective = str(named[-1]) if named else "creps"
    before = [without_weights_of_another(part, objective) for part in (preset, model)]
    written = without_weights_of_another(file, objective) if "objective" in file else file
    _say_what_is_left_behind(file, written, objective)
    layers: dict[str, Any] = {}
    for part in (OBJECTIVES.get(objective, {}), *before, fresh, written, single, {"objective": objective}):
        _merge(layers, part)
    return layers


def _say_what_is_left_behind(file: dict[str, Any], written: dict[str, Any], objective: str) -> None:
    """Name the weights of a file for another objective that were changed in it: they do not count."""
    if written.keys() != file.keys() or written == file:
        return
    own = str(file["objective"])
    usual = _validated({**OBJECTIVES.get(own, {}), "objective": own}, "the file").model_dump(mode="json")
    left = [
        f"{section}.{name}"
        for section, values in file.items()
        if isinstance(values, dict)
        for name in values.keys() - written[section].keys()
        if values[name] != usual.get(section, {}).get(name)
    ]
    if left:
        said = "the file is written for objective %s, so these settings of it do not count for %s: %s"
        log.warning(said, own, objective, ", ".join(sorted(left)))


def _sections(values: Mapping[str, Any]) -> dict[str, Any]:
    """``{"training.steps": 100}`` → ``{"training": {"steps": 100}}``."""
    tree: dict[str, Any] = {}
    for key, value in values.items():
        section, _, name = key.partition(".")
        _merge(tree, {section: {name: value} if name else value})
    return tree


def _preset(name: str) -> dict[str, Any]:
    if name not in preset_names():
        raise SettingsError(f"There is no preset '{name}'.", f"The presets are: {', '.join(preset_names())}.")
    text = (resources.files("creps") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text) or {}
    return content


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


def _read_yaml(file: Path) -> dict[str, Any]:
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
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            into[key].update(value)
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value


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
    known = [f"{section}.{name}" for section, name, _ in leaf_fields()]
    by_name = {name.rpartition(".")[2]: name for name in known}
    last = key.rpartition(".")[2]
    if last in by_name:  # the right name in the wrong section
        return f"Did you mean '{by_name[last]}'?"
    close = difflib.get_close_matches(key, [*known, *Settings.model_fields], n=1, cutoff=0.75)
    if not close:
        close = [by_name[name] for name in difflib.get_close_matches(last, by_name, n=1, cutoff=0.6)]
    return f"Did you mean '{close[0]}'?" if close else "See 'creps settings' for every setting."
