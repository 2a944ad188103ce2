"""Read JSON files that others may have written or damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["read_json"]

LARGEST_BYTES = 100_000_000
"""No document of creps comes near; reading a larger one would only fill the memory."""


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is no JSON, not UTF-8, nested too deeply, or larger than any document.
    """
    if path.stat().st_size > LARGEST_BYTES:
        raise ValueError(f"it has more than {LARGEST_BYTES // 10**6} MB")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
