"""Read JSON files that others may have damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from creps.errors import InputError

__all__ = ["read_object"]


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged and left out.", "Make it again.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is no document of creps and left out.", "Make it again.")
    return content
