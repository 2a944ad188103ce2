"""Curves over HU, such as density or attenuation, in JSON files: read and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from creps.errors import SettingsError
from creps.io.documents import read_json

__all__ = ["Column", "check_columns", "curve_of", "stated_in"]

Curve = TypeVar("Curve", bound=BaseModel)


@dataclass(frozen=True)
class Column:
    """What one column of a curve may hold.

    Attributes:
        name: Key in the file.
        values: One for each HU.
        unit: Of the values.
        low: The lowest value that makes sense.
        high: The highest.
    """

    name: str
    values: Sequence[float]
    unit: str
    low: float
    high: float


def check_columns(hu: Sequence[float], columns: Sequence[Column]) -> None:
    """Refuse a curve that is not monotonic, or has values that no tissue has.

    Args:
        hu: HU of the points, strictly rising.
        columns: Their values, which never fall.

    Raises:
        ValueError: says which rule is broken, and where; without the name of the curve.

    Examples:
        >>> check_columns([0, 1000], [Column("mu_per_cm", [0.096, 0.09], "cm⁻¹", 0, 1)])
        Traceback (most recent call last):
        ...
        ValueError: it is not monotonic: mu_per_cm falls at 1000 HU
    """
    points = np.asarray(hu, float)
    if points.size < 2 or not np.isfinite(points).all():
        raise ValueError("it has no two points with finite HU")
    if (np.diff(points) <= 0).any():
        raise ValueError("it is not monotonic: its HU do not rise from point to point")
    for column in columns:
        values = np.asarray(column.values, float)
        if values.size != points.size:
            raise ValueError(f"{column.name} has {values.size} values for {points.size} HU")
        if not np.isfinite(values).all():
            raise ValueError(f"{column.name} has a value that is NaN or infinite")
        falls = np.flatnonzero(np.diff(values) < 0)
        if falls.size:
            raise ValueError(f"it is not monotonic: {column.name} falls at {points[falls[0] + 1]:g} HU")
        if values[0] < column.low or values[-1] > column.high:
            raise ValueError(
                f"{column.name} runs from {values[0]:g} to {values[-1]:g}, and {column.unit} from {column.low:g} to"
                f" {column.high:g} are possible"
            )


def stated_in(folder: Path) -> tuple[str, ...]:
    """Names of the curves in a folder."""
    return tuple(sorted(path.stem for path in folder.glob("*.json")))


def curve_of(given: Curve | Path | str, kind: type[Curve], stated: Path, what: str, remedy: str) -> Curve:
    """The curve that a user means: itself, one that comes with creps by its name, or a site's own JSON file.

    Args:
        given: The curve, its name, or its file.
        kind: What a file holds.
        stated: The folder of the curves that have names.
        what: What messages call it: ``acoustic curves``.
        remedy: What to do if a file cannot be used, one sentence.

    Raises:
        SettingsError: there is none of that name, the file cannot be read, or the curve cannot be used.
    """
    if isinstance(given, kind):
        return given
    if not isinstance(given, (Path, str)):
        raise SettingsError(f"The {what} cannot be of the type {type(given).__name__}.", "Give a name, or a JSON file.")
    return _read(_file(given, stated, what), kind, f"The {what}", remedy)


def _file(given: Path | str, stated: Path, what: str) -> Path:
    known = stated_in(stated)
    if str(given) in known:
        return stated / f"{given}.json"
    path = Path(given)
    if not path.suffix and not path.is_file():
        raise SettingsError(f"Unknown {what} '{given}'.", f"Choose of: {', '.join(known)}; or give a JSON file.")
    return path


def _read(path: Path, kind: type[Curve], what: str, remedy: str) -> Curve:
    try:
        content = read_json(path)
    except OSError as error:
        raise SettingsError(f"{what} {path} cannot be read.", "Check the path.") from error
    except ValueError as error:
        raise SettingsError(f"{what} {path} cannot be used: it is not a JSON file.", remedy) from error
    if not isinstance(content, Mapping):
        raise SettingsError(f"{what} {path} cannot be used: it is no JSON object.", remedy)
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise SettingsError(f"{what} {path} cannot be used: {_first(error)}.", remedy) from error


def _first(error: ValidationError) -> str:
    """The first fault, in words."""
    first = error.errors()[0]
    own = first.get("ctx", {}).get("error")
    if isinstance(own, ValueError):
        return str(own)
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}"
