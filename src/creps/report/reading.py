"""Read JSON files that others may have damaged, and leave out what a page must not show: wrong types, names, paths."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, FiniteFloat, TypeAdapter, ValidationError

from creps.errors import InputError
from creps.io.documents import read_json

__all__ = ["RUN", "SYNTHESIS", "read_object", "sound", "without_names", "without_paths"]

PATH = re.compile(r"(?:[A-Za-z]:)?(?:[\\/][^\s\\/:'\"]+){2,}[\\/]?")
"""A path within a text."""

IDENTIFYING = ("file", "folder", "path", "series_description", "structures_from")
"""Keys of a record whose values may carry a name or an ID."""

INPUTS = ("input", "inputs")
"""Keys of what a result was made from: only hashes are shown of it."""


class _Part(BaseModel):
    """A part of a record; keys that a report does not read may have any type."""

    model_config = ConfigDict(extra="allow", strict=True)


class _GateFinding(_Part):
    level: str = "note"
    message: str = ""
    remedy: str = ""


class _Gate(_Part):
    verdict: str | None = None
    forced: bool = False
    findings: list[_GateFinding] = []


class _Override(_Part):
    ml: FiniteFloat
    hu: FiniteFloat


class _Model(_Part):
    region: str | None = None
    recipe: str | None = None
    weights_sha256: str | None = None


class _Grid(_Part):
    shape: list[int] = []
    spacing_mm: list[FiniteFloat] = []


class _Uncertainty(_Part):
    confidence: FiniteFloat = 0.9
    predicted_mae_hu: FiniteFloat | None = None


class _Input(_Part):
    sha256: str | None = None


class _Range(_Part):
    min: FiniteFloat
    max: FiniteFloat
    mean: FiniteFloat


class _Patches(_Part):
    device: str | None = None
    precision: str | None = None


class _Session(_Part):
    status: str | None = None
    reason: str | None = None


class _Cases(_Part):
    mr_cases: int | None = None
    ct_cases: int | None = None


class _Training(_Part):
    steps: int | None = None


class _Preparation(_Part):
    region: str | None = None


class _Settings(_Part):
    recipe: str | None = None
    training: _Training = _Training()
    preparation: _Preparation = _Preparation()


SYNTHESIS: Mapping[str, Any] = {
    "gate": _Gate,
    "overrides": list[_Override],
    "model": _Model,
    "mr": _Grid,
    "grid": _Grid,
    "uncertainty": _Uncertainty,
    "input": _Input,
    "sct_hu": _Range,
    "patches": _Patches,
    "acquisition": dict[str, Any],
    "versions": dict[str, Any],
    "seconds": FiniteFloat,
    "created": str,
}
"""Keys of an sCT's record that reports read → their type; any may be null or absent."""

RUN: Mapping[str, Any] = {
    "status": str,
    "steps": int,
    "sessions": list[_Session],
    "cohort": _Cases,
    "settings": _Settings,
    "health": list[str],
}
"""Likewise, of a run's record."""


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    try:
        content = read_json(path)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged.", "Create it again.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a document that creps wrote.", "Create it again.")
    return content


def sound(content: Mapping[str, Any], kinds: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A record without the keys whose value has the wrong type.

    Args:
        content: The record.
        kinds: Key → type, `SYNTHESIS` or `RUN`.

    Returns:
        The record, and the keys that were left out.
    """
    damaged = []
    for key, kind in kinds.items():
        if content.get(key) is not None:
            try:
                TypeAdapter(kind).validate_python(content[key], strict=True)
            except ValidationError:
                damaged.append(key)
    return {key: value for key, value in content.items() if key not in damaged}, damaged


def without_paths(text: str) -> str:
    """A text with its paths replaced: folders may be named after patients."""
    return PATH.sub("(path)", text)


def without_names(content: Any) -> Any:
    """The same without what may carry the name or ID of a patient: names of files, folders and series."""
    if isinstance(content, dict):
        return {
            key: _hashes(value) if key in INPUTS else without_names(value)
            for key, value in content.items()
            if key not in IDENTIFYING
        }
    if isinstance(content, list | tuple):
        return [without_names(one) for one in content]
    return without_paths(content) if isinstance(content, str) else content


def _hashes(inputs: Any) -> Any:
    """The hashes of what something was made from; names of files are left out, also where they are keys."""
    if not isinstance(inputs, dict):
        return None
    if "sha256" in inputs:
        return {"sha256": inputs["sha256"]}
    return {key: _hashes(value) for key, value in inputs.items() if isinstance(value, dict) and "sha256" in value}
