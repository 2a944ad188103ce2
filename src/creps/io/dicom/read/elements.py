"""Take values from DICOM data sets: what is malformed counts as absent, and no error of pydicom escapes."""

from __future__ import annotations

import re
import struct
import unicodedata
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = [
    "SUBSTRING",
    "MalformedDicomError",
    "floats",
    "items",
    "malformed",
    "mentions",
    "parts",
    "private",
    "tagged",
    "text",
    "value",
    "whole",
    "words",
]

SUBSTRING = 3
"""Parts of a name with at least this many letters are looked for within words, shorter ones as words only."""

RAISED = (
    ValueError, TypeError, LookupError, AttributeError, ArithmeticError, EOFError, NotImplementedError, RecursionError,
    MemoryError, AssertionError, struct.error, zlib.error,
)  # fmt: skip
"""What pydicom and its decoders raise for damaged files and malformed values."""


class MalformedDicomError(Exception):
    """pydicom cannot read a file or convert a value; the text is the name of the error that pydicom raised."""


@contextmanager
def malformed() -> Iterator[None]:
    """Turn whatever pydicom raises into `MalformedDicomError`, and keep its warnings quiet.

    Put nothing but calls of pydicom inside: an AttributeError of our own would look like a damaged file.
    """
    from pydicom.errors import BytesLengthException, InvalidDicomError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (*RAISED, BytesLengthException, InvalidDicomError) as error:
        raise MalformedDicomError(type(error).__name__) from error


def value(dataset: Dataset, name: str) -> Any:
    """An attribute; None if it is absent, empty or malformed."""
    get = dataset.get
    try:
        with malformed():
            return get(name, None)
    except MalformedDicomError:
        return None


def tagged(dataset: Dataset, tag: tuple[int, int]) -> Any:
    """The value under a tag; None if it is absent or malformed."""
    if tag not in dataset:
        return None
    try:
        with malformed():
            return dataset[tag].value
    except MalformedDicomError:
        return None


def text(dataset: Dataset, name: str) -> str:
    """An attribute as text without spaces around it; empty if it is absent or malformed."""
    found = value(dataset, name)
    try:
        with malformed():
            return "" if found is None else str(found).strip(" \0")
    except MalformedDicomError:
        return ""


def words(dataset: Dataset, name: str) -> tuple[str, ...]:
    """The values of an attribute of one or more codes, in capitals."""
    found = value(dataset, name)
    values = found if isinstance(found, Sequence) and not isinstance(found, str | bytes) else [found]
    try:
        with malformed():
            return tuple(str(part).strip().upper() for part in values if part not in (None, ""))
    except MalformedDicomError:
        return ()


def items(dataset: Dataset, name: str) -> list[Dataset]:
    """The items of a sequence; none if it is absent or malformed."""
    from pydicom import Dataset, Sequence

    found = value(dataset, name)
    return [item for item in found if isinstance(item, Dataset)] if isinstance(found, Sequence) else []


def private(dataset: Dataset, group: int, creator: str, element: int) -> Any:
    """A private attribute; None if it is absent or malformed."""
    block = dataset.private_block
    try:
        with malformed():
            return block(group, creator)[element].value
    except MalformedDicomError:
        return None


def floats(dataset: Dataset, name: str, count: int) -> list[float] | None:
    """An attribute of `count` numbers; None if it is anything else."""
    found = value(dataset, name)
    try:
        with malformed():
            numbers = [float(part) for part in (found if count > 1 else [found])]
    except MalformedDicomError:
        return None
    return numbers if len(numbers) == count else None


def whole(dataset: Dataset, name: str, default: int) -> int | None:
    """A whole number; `default` if it is absent or empty, None if it is malformed."""
    get = dataset.get
    try:
        with malformed():
            found = get(name, None)
            return default if found is None or found == "" else int(found)
    except MalformedDicomError:
        return None


def parts(text: str) -> list[str]:
    """The words of a name or ID, in small letters: it is split at everything but letters and digits."""
    return [part for part in re.split(r"[\W_]+", _folded(text)) if part]


def mentions(text: str, names: Iterable[str]) -> bool:
    """Whether a text holds one of some `parts` of names: as a word, or within a word if it has `SUBSTRING` letters."""
    words, folded = parts(text), _folded(text)
    return any(name in words or (len(name) >= SUBSTRING and name in folded) for name in names)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()
