"""What an evaluation reads: images with their hashes, whether they can be used, and the names of class numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from creps import hu
from creps.errors import InputError
from creps.io.documents import read_json
from creps.io.image import ImageSource
from creps.phantom import PHANTOM_SCHEMA
from creps.phantom.painting.tissues import PHANTOM_CLASSES
from creps.preprocessing.padding import Padding
from creps.preprocessing.plausibility import check_ct, check_extent
from creps.volume import Volume

__all__ = ["check_image", "image_of", "label_names_of"]

NORMALISED_SCT = 10.0
"""An sCT whose values all lie within this of 0 has been normalised; the worst network spans more in HU."""

LARGEST_CLASS = 65535
"""No label volume has more classes; a larger number is no class but a grey value."""

EXAMPLE = 'It is a JSON object such as {"1": "fat", "2": "brain"}, or the phantom.json of a phantom cohort.'


def image_of(image: object, role: str) -> tuple[Volume, dict[str, Any]]:
    """An image and what the record says of it: file name (never a path) and hash.

    Args:
        image: A volume, a file, or the folder of a DICOM series.
        role: What messages call it: ``sct``, ``ct``, ``mask``, ``labels``.

    Raises:
        InputError: it is something else, or cannot be read.
    """
    if isinstance(image, Volume):
        return image, {"given": "in memory"}
    if not isinstance(image, (Path, str)):
        raise InputError(
            f"{role} is of the type {type(image).__name__}, which has no geometry.",
            "Give creps.Volume(array, spacing_mm), or the path of a file.",
        )
    source = ImageSource.find(image, modality="ct")
    return source.read(), source.record()


def check_image(image: Volume, role: str, name: str, padding: Padding | None = None) -> None:
    """Refuse what cannot be what it is given as.

    Args:
        image: As it was read or given.
        role: ``sct``, ``ct``, ``mask`` or ``labels``.
        name: What messages call the image.
        padding: Its padding, which has been replaced.

    Raises:
        InputError: values that are not finite, an sCT or CT with values no CT has, a mask below 0, labels too large.
    """
    if not np.isfinite(image.array).all():
        raise InputError(f"{name} contains NaN or infinite values.", "Replace them, or convert the image again.")
    low, high = float(image.array.min()), float(image.array.max())
    if role == "ct":
        check_ct(image, name, padding)
    elif role == "sct":
        check_extent(image.shape, image.extent_mm, name)
        if max(-low, high) > hu.LARGEST:
            raise InputError(
                f"{name} has values from {low:g} to {high:g}; no CT has values beyond {hu.LARGEST:g}.",
                "Check its data type and scaling: an sCT is in HU.",
            )
        if max(-low, high) < NORMALISED_SCT and low < high:
            raise InputError(
                f"{name} has values from {low:g} to {high:g}: it has been normalised and is not in HU.",
                "Give the sCT in HU.",
            )
    elif role == "mask" and low < 0:
        raise InputError(
            f"{name} has values from {low:g} to {high:g}: it is not a mask.",
            "Give a mask of this patient, above 0 in the region to evaluate and 0 elsewhere.",
        )
    elif role == "labels" and high > LARGEST_CLASS:
        raise InputError(
            f"{name} has values up to {high:g}, and no class has a number above {LARGEST_CLASS}.",
            "Give a volume of class numbers.",
        )


def label_names_of(names: Mapping[int, str] | Path | str) -> dict[int, str]:
    """Class number → name, as a flat name has it: lower case, words joined by ``_``.

    A file is a JSON object of numbers and names; numbers with one name are one class. Of a phantom cohort's
    ``phantom.json`` the tissues are grouped by `PHANTOM_CLASSES`, all others are ``other``.

    Raises:
        InputError: the file cannot be read or says something else.
    """
    if not isinstance(names, (Path, str, Mapping)):
        raise InputError(f"The names of the labels are of the type {type(names).__name__}.", EXAMPLE)
    if isinstance(names, Mapping):
        return _named(names, "The table of labels")
    path = Path(names)
    if not path.is_file():
        raise InputError(f"{path} is not a file.", EXAMPLE)
    try:
        content = read_json(path)
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as JSON.", EXAMPLE) from error
    is_phantom = isinstance(content, dict) and content.get("schema") == PHANTOM_SCHEMA
    table = content.get("labels") if is_phantom else content
    try:
        found = {int(number): name for number, name in table.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(f"{path} holds no names of class numbers.", EXAMPLE) from error
    if is_phantom and found:
        classes = {tissue: name for name, tissues in PHANTOM_CLASSES.items() for tissue in tissues}
        grouped = {number: classes.get(str(tissue), "other") for number, tissue in found.items()}
        order = [*PHANTOM_CLASSES, "other"]
        return dict(sorted(grouped.items(), key=lambda item: order.index(item[1])))
    return _named(found, str(path))


def _named(names: Mapping[int, object], source: str) -> dict[int, str]:
    """Every class with a name as a flat name has it."""
    if not names:
        raise InputError(f"{source} names no class.", EXAMPLE)
    for number in names:
        if not isinstance(number, (int, np.integer)) or not 0 <= number <= LARGEST_CLASS:
            raise InputError(f"{source}: {number!r} is not a class number from 0 to {LARGEST_CLASS}.", EXAMPLE)
    return {int(number): _flat(name, source) for number, name in names.items()}


def _flat(name: object, source: str) -> str:
    flat = re.sub(r"\W+", "_", name.strip().lower()).strip("_") if isinstance(name, str) else ""
    if not flat:
        raise InputError(f"{source}: {name!r} is not a class name.", EXAMPLE)
    return flat
