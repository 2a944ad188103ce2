"""JSON documents that say which schema version they were written in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from creps.errors import CrepsError

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
        other_version: Remedy if it was written in another schema version.
        damaged: Remedy if it cannot be read as `kind`.

    Raises:
        CrepsError: `error`, with the file named.
    """
    expected = kind.model_fields["schema_version"].default
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and content.get("schema_version") != expected:
            found = content.get("schema_version")
            raise error(f"{path} has schema version {found}, this creps reads {expected}.", other_version)
        return kind.model_validate(content)
    except (OSError, ValueError, ValidationError) as reason:
        raise error(f"{path} is damaged ({' '.join(str(reason).split())[:200]}).", damaged) from reason
