"""Values as DICOM wants them: decimal strings, plain text, codes, and which values keep its rules."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom import DataElement, Dataset

__all__ = ["code", "decimal", "decimals", "is_valid", "plain", "put_uid", "single"]

DECIMAL_LENGTH = 16
"""Characters of a decimal string (VR DS)."""

ENUMERATED = {
    "PatientSex": ("M", "F", "O"),
    "PatientIdentityRemoved": ("YES", "NO"),
    "LongitudinalTemporalInformationModified": ("UNMODIFIED", "MODIFIED", "REMOVED"),
    "Laterality": ("L", "R"),
    "PatientPosition": tuple(
        f"{end}{side}" for end in ("HF", "FF", "LF", "RF", "AF", "PF") for side in ("S", "P", "DR", "DL")
    ),
}
"""Attributes that have no other values."""

OFFSET = re.compile(r"[+-](0\d|1[0-4])[0-5]\d")
"""TimezoneOffsetFromUTC."""


def decimal(number: float, places: int = 6) -> str:
    """A number as a decimal string: fixed notation, no exponent, no trailing or negative zeros, 16 characters."""
    text = f"{number:.{places}f}"
    while len(text) > DECIMAL_LENGTH and places > 0:
        places -= 1
        text = f"{number:.{places}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def decimals(numbers: Iterable[float], places: int = 6) -> list[str]:
    """Several of them."""
    return [decimal(float(number), places) for number in numbers]


def plain(text: str, length: int, *, single_value: bool = True) -> str:
    """Text that every character set of DICOM holds: printable ASCII on one line, cut to `length`.

    Args:
        text: Any text of our own.
        length: Of the VR.
        single_value: Whether a backslash would split it into several values; it becomes a slash.
    """
    spaced = " ".join(unicodedata.normalize("NFKD", text.replace("×", "x")).split())
    letters = "".join(c for c in spaced if not unicodedata.combining(c))
    ascii_only = letters.encode("ascii", "replace").decode()
    ascii_only = "".join(c if c.isprintable() else "?" for c in ascii_only)
    if single_value:
        ascii_only = ascii_only.replace("\\", "/")
    return ascii_only if len(ascii_only) <= length else ascii_only[: length - 3].rstrip() + "..."


def code(value: str, meaning: str) -> Dataset:
    """An item of a code sequence, with a code of the standard itself (PS3.16, annex D)."""
    from pydicom import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def put_uid(dataset: Dataset, name: str, uid: str) -> None:
    """Set a UID as it is: an MR's may break the rules, as by leading zeros, and stays the MR's."""
    from pydicom import DataElement, config

    dataset[name] = DataElement(name, "UI", uid, validation_mode=config.IGNORE)


def single(value: Any) -> str:
    """A value as text without padding; several values are joined by backslashes."""
    if value is None:
        return ""
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return "\\".join(single(part) for part in value)
    as_read = getattr(value, "original_string", None)  # of a decimal string; a person's name keeps bytes
    return (as_read if isinstance(as_read, str) else str(value)).strip(" \0")


def is_valid(element: DataElement) -> bool:
    """Whether an element keeps the rules of its VR, and those of its attribute as far as they are known here."""
    from pydicom import config
    from pydicom.datadict import dictionary_VM, dictionary_VR
    from pydicom.valuerep import validate_value

    texts = single(element.value).split("\\")
    if dictionary_VR(element.tag) != element.VR or (len(texts) > 1 and dictionary_VM(element.tag) == "1"):
        return False
    allowed = ENUMERATED.get(element.keyword)
    for text in texts:
        if (allowed and text not in allowed) or (element.VR in ("DA", "TM") and "-" in text):  # "-" is for queries
            return False
        if element.keyword == "TimezoneOffsetFromUTC" and not OFFSET.fullmatch(text):
            return False
        if any(unicodedata.category(c) == "Cc" for c in text):
            return False
        try:
            validate_value(element.VR, text, config.RAISE)
        except ValueError:
            return False
    return True
