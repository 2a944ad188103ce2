"""Settings files: YAML in, and commented YAML out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from creps.errors import SettingsError
from creps.settings.tree import Settings, sections

__all__ = ["read_settings_file", "to_yaml"]


def to_yaml(settings: Settings, header: str = "") -> str:
    """The whole tree as YAML, with a comment above each value that explains it."""
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


def read_settings_file(file: Path | str) -> dict[str, Any]:
    """Read the sections of a settings file, without checking them.

    Raises:
        SettingsError: the file is missing, cannot be read, or holds no settings.
    """
    if not isinstance(file, Path | str):
        raise SettingsError(f"{file!r} is not a settings file.", "Give the path of a YAML file.")
    try:
        content = yaml.load(Path(file).read_text(encoding="utf-8"), _NoDuplicates)
    except FileNotFoundError as error:
        raise SettingsError(f"{file} does not exist.", "Check the path of the settings file.") from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise SettingsError(f"{file} cannot be read as YAML ({reason}).", "Correct the file.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{file} does not hold settings.", "Write 'section:' and, indented, 'name: value'.")
    return content


class _NoDuplicates(yaml.SafeLoader):
    """Rejects a key that occurs twice in one block, since the first value would be lost silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As `yaml.SafeLoader`, with each key once."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"'{twice}' occurs twice", node.start_mark)
        return super().construct_mapping(node, deep)
