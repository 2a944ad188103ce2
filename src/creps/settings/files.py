"""Settings files: YAML in, and commented YAML out."""

from __future__ import annotations

import json
from collections import Counter
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

    Anchors, aliases and merge keys (``<<: *name``) are followed. A block at the top that is no section and is used by
    an alias elsewhere only defines values, and is left out, as is a section without any value.

    Raises:
        SettingsError: the file is missing, cannot be read, or holds no settings.
    """
    if not isinstance(file, Path | str):
        raise SettingsError(f"{file!r} is not a settings file.", "Give the path of a YAML file.")
    if Path(file).is_dir():
        raise SettingsError(f"{file} is a folder, not a settings file.", "Give the YAML file inside it.")
    try:
        data = Path(file).read_bytes()
    except FileNotFoundError as error:
        raise SettingsError(f"{file} does not exist.", "Check the path of the settings file.") from error
    except OSError as error:
        raise SettingsError(f"{file} cannot be read ({error.strerror}).", "Check its permissions.") from error
    content = _parsed(data, file)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{file} does not hold settings.", "Write 'section:' and, indented, 'name: value'.")
    if "schema_version" in content:
        raise SettingsError(
            f"{file} is not a settings file but another document of creps (it has a schema_version).",
            "Give a YAML file of settings, such as the settings.yaml of a run's folder.",
        )
    names = {name for name, _ in sections()}
    return {key: value for key, value in content.items() if value is not None or key not in names}


def _parsed(data: bytes, file: Path | str) -> object:
    """The content of YAML or JSON text, in UTF-8, or in UTF-16 with a byte order mark."""
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"{file} is not text in UTF-8 (byte {error.start + 1}).", "Save it as UTF-8 in a text editor."
        ) from error
    try:
        return yaml.load(text, _OnceOnly)
    except RecursionError as error:
        raise SettingsError(f"{file} is nested too deeply.", "Correct the file.") from error
    except yaml.YAMLError as error:
        if text.lstrip().startswith("{"):  # YAML has no tabs, JSON has
            try:
                return json.loads(text)
            except ValueError:
                pass
        mark = getattr(error, "problem_mark", None)
        number = len(text) if mark is None else mark.line
        line = "".join(text.splitlines()[number : number + 1])
        if "\t" in line[: len(line) - len(line.lstrip())]:
            raise SettingsError(
                f"{file} is indented with a tab in line {number + 1}, which YAML does not allow.", "Use spaces."
            ) from error
        reason = " ".join(str(error).replace('in "<unicode string>",', "in").split())
        raise SettingsError(f"{file} cannot be read as YAML ({reason}).", "Correct the file.") from error


class _OnceOnly(yaml.SafeLoader):
    """Rejects a key that occurs twice in one block, and leaves out blocks that only define values for others."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """As `yaml.SafeLoader`, with each key once; values from merge keys may be replaced."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        keys = [(key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((value for tag, value in keys if keys.count((tag, value)) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"'{twice}' occurs twice", node.start_mark)
        return node

    def get_single_node(self) -> yaml.Node | None:
        """The document without blocks at its top that are no sections but are used by an alias."""
        node: yaml.Node | None = super().get_single_node()
        if isinstance(node, yaml.MappingNode):
            known = {name for name, _ in sections()}
            used = _uses(node)
            node.value = [(key, one) for key, one in node.value if key.value in known or used[id(one)] < SHARED]
        return node


SHARED = 2
"""A node that is used in this many places has an alias."""


def _uses(root: yaml.Node) -> Counter[int]:
    """The number of places in which each node is used, by identity; a node may contain itself."""
    uses: Counter[int] = Counter()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        below = node.value if isinstance(node, yaml.SequenceNode) else []
        if isinstance(node, yaml.MappingNode):
            below = [value for _, value in node.value]
        for one in below:
            uses[id(one)] += 1
            if uses[id(one)] == 1:
                waiting.append(one)
    return uses
