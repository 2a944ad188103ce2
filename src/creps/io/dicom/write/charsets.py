"""Names in any script: in the character set of the MR wherever that is possible."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from creps.errors import InputError
from creps.io.dicom.write.values import single

if TYPE_CHECKING:
    from pydicom import DataElement, Dataset

__all__ = ["keep_texts"]

UNICODE = "ISO_IR 192"
ALONE = frozenset({"ISO_IR 192", "GB18030", "GBK"})
"""Character sets that know no extensions."""

REQUIRED = {"Manufacturer": "unknown"} | dict.fromkeys(
    ["AccessionNumber", "ReferringPhysicianName", "StudyID", "PositionReferenceIndicator"]
)
"""What stands in for a text that is dropped and must be there."""

TEXTS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""VRs whose text is in the data set's character set."""


def keep_texts(header: Dataset, copies: Sequence[Dataset], label: str) -> None:
    """Declare a character set for what was copied from a header, and drop texts that it does not hold.

    The MR's own character set stays where it is one of the standard's. Otherwise all is written as Unicode. Letters
    beyond ASCII without a declared character set stay in the patient's name and ID only.

    Args:
        header: What was copied from.
        copies: The copies; the first is of a whole data set and gets SpecificCharacterSet.
        label: Names the series in messages.

    Raises:
        InputError: the patient's name or ID cannot be decoded.
    """
    declared = single(header.get("SpecificCharacterSet", ""))
    standard = _is_standard(declared.split("\\"))
    if not standard and _is_guess(declared.split("\\"), copies):
        raise _undecodable(label)
    if declared:
        copies[0].SpecificCharacterSet = declared.split("\\") if standard else UNICODE
    encodings = _encodings(copies[0])
    for copy in copies:
        for holder, element in list(_texts(copy)):
            kept = all(_survives(text, encodings) for text in re.split(r"[\\^=]", single(element.value)))
            if holder is copies[0] and element.keyword in ("PatientName", "PatientID"):
                if not kept:
                    raise _undecodable(label)
            elif not kept or not (declared or single(element.value).isascii()):
                _drop(holder, element)


def _drop(holder: Dataset, element: DataElement) -> None:
    if element.keyword in REQUIRED:
        setattr(holder, element.keyword, REQUIRED[element.keyword])
    else:
        del holder[element.tag]


def _undecodable(label: str) -> InputError:
    return InputError(
        f"{label} has a patient's name or ID that its SpecificCharacterSet does not decode.",
        "Export it again, with the right character set.",
    )


def _is_standard(terms: Sequence[str]) -> bool:
    from pydicom.charset import python_encoding

    return all(term in python_encoding for term in terms) and (len(terms) == 1 or not ALONE & set(terms))


def _is_guess(terms: Sequence[str], copies: Sequence[Dataset]) -> bool:
    """Whether there are letters beyond ASCII and no telling which."""
    from pydicom.charset import convert_encodings, default_encoding

    unknown = default_encoding in convert_encodings(list(terms))
    return unknown and any(not single(element.value).isascii() for copy in copies for _, element in _texts(copy))


def _encodings(dataset: Dataset) -> list[str]:
    from pydicom.charset import convert_encodings

    return convert_encodings(single(dataset.get("SpecificCharacterSet", "")).split("\\"))


def _survives(text: str, encodings: Sequence[str]) -> bool:
    """Whether a text was decoded, has no control characters, and is the same after it was written and read."""
    from pydicom.charset import decode_bytes, encode_string

    if any(c == "\ufffd" or unicodedata.category(c) == "Cc" for c in text):
        return False
    return text.isascii() or decode_bytes(encode_string(text, encodings), encodings, set()) == text


def _texts(dataset: Dataset) -> Iterator[tuple[Dataset, DataElement]]:
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from _texts(item)
        elif element.VR in TEXTS and element.value:
            yield dataset, element
