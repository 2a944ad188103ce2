"""JSON documents that say which schema version they were written in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from creps.errors import CrepsError
from creps.io.documents import read_json
from creps.provenance import installed_version

__all__ = ["read_versioned"]

Document = TypeVar("Document", bound=BaseModel)


def read_versioned(
    path: Path, kind: type[Document], error: type[CrepsError], *, other_version: str, damaged: str
) -> Document:
    """Read a document whose `schema_version` must be the one that `kind` defaults to.

    Args:
        path: The JSON file.
        kind: What it holds.
        error: What to raise.
        other_version: Remedy if it was written in an older schema version; for a newer one it is to update creps.
        damaged: Remedy if it cannot be read as `kind`.

    Raises:
        CrepsError: `error`, with the file named, and the versions of creps if it was written by a newer one.
    """
    expected = kind.model_fields["schema_version"].default
    content = _object(path, error, damaged)
    found, writer = content.get("schema_version"), _writer(content)
    own = installed_version("creps") or "of an unknown version"
    by = f" of creps {writer}" if writer else ""
    if not isinstance(found, int) or isinstance(found, bool):
        raise error(f"{path} is damaged (it has no schema version).", damaged)
    if found > expected:
        raise error(
            f"{path} has schema version {found}{by}; this is creps {own}, which reads schema version {expected}.",
            f"Update creps to {writer} or later." if writer and _is_newer(writer, own) else "Update creps.",
        )
    if found != expected:
        raise error(
            f"{path} has schema version {found}{by}; this is creps {own}, which reads schema version {expected}.",
            other_version,
        )
    try:
        return kind.model_validate(content)
    except ValidationError as reason:
        first = reason.errors()[0]
        where = ".".join(map(str, first["loc"]))
        if writer and _is_newer(writer, own):
            raise error(
                f"{path} was written by creps {writer}; this is creps {own}, which does not know its '{where}'.",
                f"Update creps to {writer} or later.",
            ) from reason
        raise error(f"{path} is damaged ({where}: {first['msg']}).", damaged) from reason


def _object(path: Path, error: type[CrepsError], damaged: str) -> dict[str, Any]:
    """The JSON object in a file."""
    try:
        content = read_json(path)
    except (OSError, ValueError) as reason:
        raise error(f"{path} is damaged ({' '.join(str(reason).split())[:200]}).", damaged) from reason
    if not isinstance(content, dict):
        raise error(f"{path} is damaged (it is not a JSON object).", damaged)
    return content


def _writer(content: Mapping[str, Any]) -> str | None:
    """The version of creps that wrote a document, as far as the document says."""
    for holder in (content.get("provenance"), content):
        versions = holder.get("versions") if isinstance(holder, dict) else None
        version = versions.get("creps") if isinstance(versions, dict) else None
        if isinstance(version, str):
            return version
    version = content.get("creps")
    return version if isinstance(version, str) else None


def _is_newer(version: str, own: str) -> bool:
    one, other = (tuple(int(part) for part in re.findall(r"\d+", text)) for text in (version, own))
    return one > other
