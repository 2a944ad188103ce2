"""What an evaluation reads: images with their hashes, and the names of class numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from creps.errors import InputError
from creps.io.dicom import one_series, series_sha256
from creps.io.read import read_image
from creps.metrics.tissues import PHANTOM_CLASSES
from creps.phantom import PHANTOM_SCHEMA
from creps.provenance import sha256_file
from creps.volume import Volume

__all__ = ["image_of", "label_names_of"]

EXAMPLE = 'It is a JSON object such as {"1": "fat", "2": "brain"}, or the phantom.json of a phantom cohort.'


def image_of(image: Volume | Path | str) -> tuple[Volume, dict[str, Any]]:
    """An image and what the record says of it: file name (never a path) and hash.

    Raises:
        InputError: it cannot be read.
    """
    if isinstance(image, Volume):
        return image, {"given": "in memory"}
    path = Path(image)
    if not path.is_dir():
        return read_image(path), {"file": path.name, "sha256": sha256_file(path)}
    series = one_series(path, "ct")
    return read_image(path, series), {"file": "a DICOM series", "sha256": series_sha256(series)}


def label_names_of(names: Mapping[int, str] | Path | str) -> dict[int, str]:
    """Class number → name, as a flat name has it: lower case, words joined by ``_``.

    A file is a JSON object of numbers and names; numbers with one name are one class. Of a phantom cohort's
    ``phantom.json`` the tissues are brought together by `PHANTOM_CLASSES`, all others are ``other``.

    Raises:
        InputError: the file cannot be read or says something else.
    """
    if not isinstance(names, (Path, str)):
        return {number: _flat(name, "The names of the labels") for number, name in names.items()}
    path = Path(names)
    if not path.is_file():
        raise InputError(f"{path} is not a file.", EXAMPLE)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as JSON.", EXAMPLE) from error
    is_phantom = isinstance(content, dict) and content.get("schema") == PHANTOM_SCHEMA
    table = content.get("labels") if is_phantom else content
    try:
        found = {int(number): name for number, name in table.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(f"{path} holds no names of class numbers.", EXAMPLE) from error
    if not found or min(found) < 0:
        raise InputError(f"{path} names no class, or a negative number.", EXAMPLE)
    if is_phantom:
        classes = {tissue: name for name, tissues in PHANTOM_CLASSES.items() for tissue in tissues}
        grouped = {number: classes.get(str(tissue), "other") for number, tissue in found.items()}
        order = [*PHANTOM_CLASSES, "other"]
        return dict(sorted(grouped.items(), key=lambda item: order.index(item[1])))
    return {number: _flat(name, str(path)) for number, name in found.items()}


def _flat(name: object, source: str) -> str:
    flat = re.sub(r"\W+", "_", name.strip().lower()).strip("_") if isinstance(name, str) else ""
    if not flat:
        raise InputError(f"{source}: {name!r} is no name of a class.", EXAMPLE)
    return flat
