"""Arguments of the public functions: a wrong type is a `CrepsError`, not a traceback from inside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from creps.errors import InputError, SettingsError
from creps.volume import Volume

__all__ = [
    "Image",
    "Progress",
    "Slurm",
    "as_path",
    "as_paths",
    "as_values",
    "check_flags",
    "check_progress",
    "optional_path",
]

Image = Volume | Path | str
"""A volume, a volume file, or the folder of a DICOM series."""

Progress = Callable[[int, int, str], None]
"""Called with (done, all, name)."""

Slurm = Path | str | Mapping[str, Any]
"""A YAML file with options of SLURM, or the options by name."""


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
    if not str(value) or "\0" in str(value):
        raise InputError(
            f"{what} has an empty path, or a path with a null character.", "Give the path of a file or a folder."
        )
    return Path(value)


def optional_path(value: object, what: str) -> Path | None:
    """A path, or None; arguments and errors as for `as_path`."""
    return None if value is None else as_path(value, what)


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


def check_progress(progress: object) -> None:
    """Refuse a progress callback that cannot be called.

    Raises:
        InputError: it is neither a function nor None.
    """
    if progress is not None and not callable(progress):
        raise InputError(f"'progress' is of the type {type(progress).__name__}.", "Give a function, or None.")


def check_flags(**flags: object) -> None:
    """Refuse flags that are not True or False: any text, "no" included, would count as True.

    Raises:
        InputError: names the first one.
    """
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise InputError(f"'{name}' is of the type {type(value).__name__}.", "Give True or False.")
