"""Open DICOM files and take values from them: a damaged file or a malformed value becomes one sentence."""

from __future__ import annotations

import os
import re
import struct
import unicodedata
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from creps.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = [
    "CLASSIC",
    "MALFORMED",
    "MULTI_FRAME",
    "DamagedFileError",
    "files_below",
    "first_look",
    "floats",
    "items",
    "open_dicom",
    "parts",
    "private",
    "text",
    "value",
    "whole",
    "words",
]

CLASSIC = {"1.2.840.10008.5.1.4.1.1.2": "ct", "1.2.840.10008.5.1.4.1.1.4": "mr"}
"""Storage classes of single-frame CT and MR."""

MULTI_FRAME = {
    "1.2.840.10008.5.1.4.1.1.2.1": "ct",
    "1.2.840.10008.5.1.4.1.1.2.2": "ct",
    "1.2.840.10008.5.1.4.1.1.4.1": "mr",
    "1.2.840.10008.5.1.4.1.1.4.4": "mr",
}
"""Storage classes of enhanced and of converted multi-frame CT and MR."""

HEADER_TAGS = [
    "SOPClassUID", "SeriesInstanceUID", "SeriesDescription", "PatientID", "PatientName", "ImageType", "Rows",
    "Columns", "PixelSpacing", "ImagePositionPatient", "NumberOfFrames",
]  # fmt: skip

ENDINGS = (".dcm", ".ima", ".dicom")
"""A file with one of these endings is DICOM, or damaged."""

OLD_STARTS = (b"\x02\x00\x00\x00", *(b"\x08\x00%c\x00" % element for element in (0, 1, 5, 8, 0x12, 0x13, 0x16, 0x18)))
"""First bytes of DICOM files without preamble and mark."""

MARK_END = 132

MALFORMED = (
    ValueError, TypeError, LookupError, AttributeError, ArithmeticError, EOFError, NotImplementedError, RecursionError,
    MemoryError, AssertionError, struct.error, zlib.error,
)  # fmt: skip
"""What pydicom raises for a malformed value: it converts values when they are asked for."""

DEFLATED = "1.2.840.10008.1.2.1.99"

LARGEST_INFLATED = 2**32
"""Bytes that a deflated file may hold: a crafted one could fill any memory."""

INFLATE_STEP = 2**24


class DamagedFileError(InputError):
    """A file or folder that cannot be read, found among those of a patient.

    Args:
        path: The file or folder; it may carry a patient's name.
        what: What is wrong, to follow its name.
        remedy: One sentence.
    """

    def __init__(self, path: Path, what: str, remedy: str) -> None:
        super().__init__(f"{path} {what}.", remedy)
        self.path, self.fault = path, what

    def __reduce__(self) -> tuple[type[DamagedFileError], tuple[Path, str, str]]:
        """For the way to another process."""
        return type(self), (self.path, self.fault, self.remedy)


def files_below(folder: Path, refuse: Callable[[DamagedFileError], None]) -> Iterator[Path]:
    """The files in a folder and below it that are not hidden, sorted; linked folders are followed once.

    Args:
        folder: The folder.
        refuse: Called for every folder that cannot be opened.
    """

    def closed(error: OSError) -> None:
        refuse(DamagedFileError(Path(error.filename), f"cannot be opened ({error.strerror})", "Check its rights."))

    seen: set[str] = set()
    for place, folders, names in os.walk(folder, onerror=closed, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place) / name for name in sorted(names) if not name.startswith("."))


def first_look(path: Path) -> Dataset | None:
    """The tags needed for a first look; None if the file is no DICOM file.

    Raises:
        DamagedFileError: it is one, or is called one, but cannot be read.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(MARK_END)
    except OSError as error:
        raise DamagedFileError(path, f"cannot be opened ({error.strerror})", "Check its access rights.") from error
    called = path.suffix.lower() in ENDINGS
    if not start and called:
        raise DamagedFileError(path, "is empty", "Copy or export it again.")
    marked = start[128:] == b"DICM"
    if not marked and not start.startswith(OLD_STARTS):
        nameless = path.suffix == "" or path.suffix[1:].isdigit()
        if called or (nameless and start and not any(start[:128])):
            raise DamagedFileError(path, "is truncated or damaged: it has no DICOM header", "Copy or export it again.")
        return None
    try:
        header = open_dicom(path, header_only=True)
    except (*MALFORMED, OSError) as error:
        raise DamagedFileError(
            path, f"cannot be read as DICOM ({type(error).__name__})", "Copy or export it again."
        ) from error
    kind = text(getattr(header, "file_meta", None) or header, "MediaStorageSOPClassUID")
    own, images = text(header, "SOPClassUID"), {*CLASSIC, *MULTI_FRAME}
    if kind and own and kind != own and {kind, own} & images:
        raise DamagedFileError(path, "is damaged: its header names two kinds of object", "Copy or export it again.")
    lacking = not {"SOPClassUID", "SeriesInstanceUID", "Rows"} <= set(header.dir())
    if lacking and (kind in images or (not kind and "SOPClassUID" not in header)):
        raise DamagedFileError(path, "is truncated: its DICOM header ends early", "Copy or export it again.")
    return header


def open_dicom(
    path: Path, *, header_only: bool = False, pixels: bool = True, tags: Sequence[str] | None = None
) -> Dataset:
    """Read a file, or a part of it.

    Args:
        path: The file.
        header_only: The tags of a first look.
        pixels: Whether the pixels are wanted, too.
        tags: Keywords of the only attributes that are wanted.

    Raises:
        Exception: one of `MALFORMED`, or OSError.
    """
    import pydicom

    wanted: list[Any] | None = list(HEADER_TAGS) if header_only else None if tags is None else list(tags)
    with _converting():
        _check_inflated(path)
        return pydicom.dcmread(path, stop_before_pixels=header_only or not pixels, specific_tags=wanted, force=True)


@contextmanager
def _converting() -> Iterator[None]:
    """Every error of pydicom is one of `MALFORMED`; odd values of attributes of no interest here are no warning."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (BytesLengthException, InvalidDicomError) as error:
        raise ValueError(str(error)) from error


def _check_inflated(path: Path) -> None:
    """Refuse a deflated file that is far larger than any image once it is inflated."""
    from pydicom.filereader import read_file_meta_info

    with path.open("rb") as stream:
        start = stream.read(2**12)
    if start[128:MARK_END] != b"DICM" or DEFLATED.encode() not in start:
        return
    meta = read_file_meta_info(path)
    if meta.get("TransferSyntaxUID") != DEFLATED:
        return
    with path.open("rb") as stream:
        stream.seek(MARK_END + 12 + int(meta.FileMetaInformationGroupLength))
        inflate, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while (packed := inflate.unconsumed_tail or stream.read(2**16)) and not inflate.eof:
            size += len(inflate.decompress(packed, INFLATE_STEP))
            if size > LARGEST_INFLATED:
                raise ValueError("it inflates to more than any image holds")


def value(dataset: Dataset, name: str) -> Any:
    """An attribute; None if it is absent, empty or malformed."""
    try:
        with _converting():
            return dataset.get(name, None)
    except MALFORMED:
        return None


def text(dataset: Dataset, name: str) -> str:
    """An attribute as text without spaces around it; empty if it is absent or malformed."""
    try:
        found = value(dataset, name)
        return "" if found is None else str(found).strip(" \0")
    except MALFORMED:
        return ""


def words(dataset: Dataset, name: str) -> tuple[str, ...]:
    """The values of an attribute of one or more codes, in capitals."""
    found = value(dataset, name)
    try:
        values = found if isinstance(found, Sequence) and not isinstance(found, str | bytes) else [found]
        return tuple(str(part).strip().upper() for part in values if part not in (None, ""))
    except MALFORMED:
        return ()


def items(dataset: Dataset, name: str) -> list[Dataset]:
    """The items of a sequence; none if it is absent or malformed."""
    from pydicom import Dataset, Sequence

    found = value(dataset, name)
    return [item for item in found if isinstance(item, Dataset)] if isinstance(found, Sequence) else []


def private(dataset: Dataset, group: int, creator: str, element: int) -> Any:
    """A private attribute; None if it is absent or malformed."""
    try:
        with _converting():
            return dataset.private_block(group, creator)[element].value
    except MALFORMED:
        return None


def floats(dataset: Dataset, name: str, count: int) -> list[float] | None:
    """An attribute of `count` numbers; None if it is anything else."""
    found = value(dataset, name)
    try:
        numbers = [float(part) for part in (found if count > 1 else [found])]
    except MALFORMED:
        return None
    return numbers if len(numbers) == count else None


def whole(dataset: Dataset, name: str, default: int) -> int | None:
    """A whole number; `default` if it is absent or empty, None if it is malformed."""
    try:
        with _converting():
            found = dataset.get(name, None)
        return default if found is None or found == "" else int(found)
    except MALFORMED:
        return None


def parts(text: str) -> list[str]:
    """The words of a name or ID, in small letters: it is split at everything but letters and digits."""
    plain = unicodedata.normalize("NFC", text).casefold()
    return [part for part in re.split(r"[\W_]+", plain) if part]
