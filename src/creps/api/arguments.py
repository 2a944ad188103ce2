"""Arguments of the public functions: a wrong type is a `CrepsError`, not a traceback from inside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from creps.errors import InputError, SettingsError
from creps.io.itk import is_volume_file
from creps.volume import Volume

__all__ = ["Image", "Progress", "as_path", "as_paths", "as_values", "is_folder_of_cases"]

Image = Volume | Path | str
"""A volume, a volume file, or the folder of a DICOM series."""

Progress = Callable[[int, int, str], None]
"""Called with (done, all, name)."""


def as_path(value: object, what: str) -> Path:
    """A path, given as text or `Path`.

    Args:
        value: As it was given.
        what: Subject of the message: ``The model``.

    Raises:
        InputError: it is something else.
    """
    if not isinstance(value, (Path, str)):
        raise InputError(f"{what} is of the type {type(value).__name__}, not a path.", "Give it as text or Path.")
    return Path(value)


def as_paths(value: object, what: str) -> Path | list[Path]:
    """One path, or a list of them.

    Raises:
        InputError: it is something else.
    """
    if isinstance(value, (Path, str)) or not isinstance(value, Iterable):
        return as_path(value, what)
    return [as_path(one, what) for one in value]


def as_values(overrides: object) -> dict[str, Any]:
    """Single settings by name.

    Raises:
        SettingsError: it is no mapping.
    """
    if overrides is None:
        return {}
    if not isinstance(overrides, Mapping):
        raise SettingsError(
            f"Overrides are of the type {type(overrides).__name__}.", 'Give names and values: {"training.steps": 100}.'
        )
    return dict(overrides)


def is_folder_of_cases(image: object) -> bool:
    """Whether it is a folder with volume files or further folders in it: not the slices of one DICOM series."""
    if not isinstance(image, (Path, str)) or not Path(image).is_dir():
        return False
    return any(one.is_dir() or is_volume_file(one) for one in Path(image).iterdir())
