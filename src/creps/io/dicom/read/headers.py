"""The headers of DICOM files, read once: all that is known of a series before its pixels are decoded."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from creps.errors import InputError
from creps.io.dicom.identifiers import DEFLATED_EXPLICIT_LITTLE_ENDIAN, IMAGES
from creps.io.dicom.read.elements import MalformedDicomError, malformed, text
from creps.io.dicom.read.faults import changed_while_read, reason_of
from creps.io.dicom.read.functional_groups import frame_headers

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["ENDINGS", "DamagedFileError", "FileHeader", "files_below", "is_dicom", "open_dicom", "read_header"]

EVERY_IMAGE_HAS = ("SOPClassUID", "SeriesInstanceUID", "Rows")
"""Attributes of every image. Of a file that is neither CT nor MR, no others are read."""

ENDINGS = (".dcm", ".ima", ".dicom")
"""A file with one of these endings is DICOM, or damaged."""

OLD_STARTS = (b"\x02\x00\x00\x00", *(b"\x08\x00%c\x00" % element for element in (0, 1, 5, 8, 0x12, 0x13, 0x16, 0x18)))
"""First bytes of DICOM files without preamble and mark."""

MARK_END = 132

START = 2**12
"""First bytes of a file: long enough to name the kind of object and how it is encoded."""

KINDS = b"|".join(re.escape(kind.encode()) for kind in IMAGES)
IMAGE = re.compile(rb"(?:\x02\0\x02\0|\x08\0\x16\0|\0\x08\0\x16)[\s\S]{4}(?:" + KINDS + rb")(?![0-9.])")
"""MediaStorageSOPClassUID or SOPClassUID of a CT or MR, in any encoding."""

GROUPS = frozenset([0x0008, 0x0010, 0x0012, 0x0018, 0x0020, 0x0028, 0x0032, 0x5200])
"""Groups of public attributes that are kept."""

PRIVATE_GROUPS = frozenset([0x0019, 0x0021, 0x0043, 0x2001, 0x2005])
"""Groups of private attributes that are kept: b-values, image types and scalings; other groups hold much data."""

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

    Pipes, sockets and devices are passed over: opening one can wait for ever.

    Args:
        folder: The folder.
        refuse: Called for every folder that cannot be opened.
    """

    def closed(error: OSError) -> None:
        refuse(_closed(Path(error.filename), error))

    seen: set[str] = set()
    for place, folders, names in os.walk(folder, onerror=closed, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files = (Path(place) / name for name in sorted(names) if not name.startswith("."))
        yield from (file for file in files if file.is_file() or not file.exists())


@dataclass(frozen=True, eq=False)
class FileHeader:
    """The header of one CT or MR file. Treat it as read-only: all readers of a series share it.

    Attributes:
        path: The file.
        dataset: Its attributes of `GROUPS` and `PRIVATE_GROUPS`, without pixels.
        stamp: Size and time of the last change when it was read.
    """

    path: Path
    dataset: Dataset
    stamp: tuple[int, int]

    @classmethod
    def read(cls, path: Path) -> FileHeader:
        """Read it from a file.

        Raises:
            MalformedDicomError: it cannot be read as DICOM.
            OSError: it cannot be opened.
        """
        with path.open("rb") as stream:
            return cls._of(path, stream, stream.read(START))

    @classmethod
    def _of(cls, path: Path, stream: BinaryIO, start: bytes) -> FileHeader:
        image = IMAGE.search(start) is not None
        dataset = _parsed(stream, start, pixels=False, tags=None if image else EVERY_IMAGE_HAS)
        if not image and text(dataset, "SOPClassUID") in IMAGES:
            dataset = _parsed(stream, start, pixels=False)
        for tag in tuple(dataset.keys()):
            if tag.group not in (PRIVATE_GROUPS if tag.is_private else GROUPS):
                del dataset[tag]
        return cls(path, dataset, _stamp(os.fstat(stream.fileno())))

    @cached_property
    def slices(self) -> tuple[Dataset, ...]:
        """The header of each slice, see `frame_headers`.

        Raises:
            MalformedDicomError: what an enhanced object says of its frames cannot be read.
        """
        return tuple(frame_headers(self.dataset))

    def check_unchanged(self, label: str) -> None:
        """Refuse a file that was changed after its header was read.

        Raises:
            InputError: it was; `label` names the series.
        """
        if _stamp(self.path.stat()) != self.stamp:
            raise changed_while_read(label)


def _stamp(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def is_dicom(path: Path) -> bool:
    """Whether a file starts as DICOM does.

    Raises:
        DamagedFileError: it is called DICOM but does not, or it cannot be opened.
    """
    try:
        with path.open("rb") as stream:
            return _starts_as_dicom(path, stream.read(MARK_END))
    except OSError as error:
        raise _closed(path, error) from error


def _closed(path: Path, error: OSError) -> DamagedFileError:
    return DamagedFileError(path, f"cannot be opened ({error.strerror})", "Check its permissions.")


def _starts_as_dicom(path: Path, start: bytes) -> bool:
    called = path.suffix.lower() in ENDINGS
    if not start and called:
        raise DamagedFileError(path, "is empty", "Copy or export it again.")
    if start[128:MARK_END] == b"DICM" or start.startswith(OLD_STARTS):
        return True
    nameless = path.suffix == "" or path.suffix[1:].isdigit()
    if called or (nameless and start and not any(start[:128])):
        raise DamagedFileError(path, "is truncated or damaged: it has no DICOM header", "Copy or export it again.")
    return False


def read_header(path: Path) -> FileHeader | None:
    """The header of a file; None if the file is no DICOM file.

    Of an object that is neither CT nor MR, only its kind is read.

    Raises:
        DamagedFileError: it is a DICOM file, or is called one, but cannot be read.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise _closed(path, error) from error
    with stream:
        try:
            start = stream.read(START)
        except OSError as error:
            raise _closed(path, error) from error
        if not _starts_as_dicom(path, start[:MARK_END]):
            return None
        try:
            header = FileHeader._of(path, stream, start)
        except (MalformedDicomError, OSError) as error:
            fault = f"cannot be read as DICOM ({reason_of(error)})"
            raise DamagedFileError(path, fault, "Copy or export it again.") from error
    _check_kind(header)
    return header


def _check_kind(header: FileHeader) -> None:
    """Refuse a header that ends early or contradicts itself."""
    dataset = header.dataset
    kind = text(getattr(dataset, "file_meta", None) or dataset, "MediaStorageSOPClassUID")
    own = text(dataset, "SOPClassUID")
    if kind and own and kind != own and {kind, own} & IMAGES.keys():
        raise DamagedFileError(
            header.path, "is damaged: its header names two kinds of object", "Copy or export it again."
        )
    lacking = not set(EVERY_IMAGE_HAS) <= set(dataset.dir())
    if lacking and (kind in IMAGES or (not kind and "SOPClassUID" not in dataset)):
        raise DamagedFileError(header.path, "is truncated: its DICOM header ends early", "Copy or export it again.")


def open_dicom(path: Path) -> Dataset:
    """Read a whole file, with its pixels.

    Raises:
        MalformedDicomError: it cannot be read as DICOM.
        OSError: it cannot be opened.
    """
    with path.open("rb") as stream:
        return _parsed(stream, stream.read(START))


def _parsed(stream: BinaryIO, start: bytes, *, pixels: bool = True, tags: Sequence[str] | None = None) -> Dataset:
    import pydicom

    wanted: list[Any] | None = None if tags is None else list(tags)
    with malformed():
        _check_inflated(stream, start)
        stream.seek(0)
        return pydicom.dcmread(stream, stop_before_pixels=not pixels, specific_tags=wanted, force=True)


def _check_inflated(stream: BinaryIO, start: bytes) -> None:
    """Refuse a deflated file that is far larger than any image once it is inflated."""
    if start[128:MARK_END] != b"DICM" or DEFLATED_EXPLICIT_LITTLE_ENDIAN.encode() not in start:
        return
    from pydicom.filereader import read_file_meta_info

    meta = read_file_meta_info(stream.name)
    if meta.get("TransferSyntaxUID") != DEFLATED_EXPLICIT_LITTLE_ENDIAN:
        return
    stream.seek(MARK_END + 12 + int(meta.FileMetaInformationGroupLength))
    inflate, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while (packed := inflate.unconsumed_tail or stream.read(2**16)) and not inflate.eof:
        size += len(inflate.decompress(packed, INFLATE_STEP))
        if size > LARGEST_INFLATED:
            raise ValueError("it inflates to more than any image holds")
