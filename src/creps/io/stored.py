"""Check that a MetaImage or NRRD file holds exactly the voxels that its header describes.

ITK reads a damaged or shortened zlib stream of a MetaImage without a word, and ignores what follows the voxels, also
when a header states a wrong data type or size.
"""

from __future__ import annotations

import math
import re
import zlib
from pathlib import Path

from creps.errors import InputError
from creps.io.text_headers import TextHeader, read_text_header

__all__ = ["check_stored", "surplus"]

CHUNK = 1 << 20

ANY_HEADER = 32 + zlib.MAX_WBITS
"""zlib's code for either a zlib or a gzip stream."""

BYTES = {
    "met_char": 1, "met_uchar": 1, "met_short": 2, "met_ushort": 2, "met_int": 4, "met_uint": 4,
    "met_long": 4, "met_ulong": 4, "met_long_long": 8, "met_ulong_long": 8, "met_float": 4, "met_double": 8,
    "signed char": 1, "int8": 1, "int8_t": 1, "uchar": 1, "unsigned char": 1, "uint8": 1, "uint8_t": 1,
    "short": 2, "short int": 2, "signed short": 2, "int16": 2, "int16_t": 2, "ushort": 2, "unsigned short": 2,
    "uint16": 2, "uint16_t": 2, "int": 4, "signed int": 4, "int32": 4, "int32_t": 4, "uint": 4, "unsigned int": 4,
    "uint32": 4, "uint32_t": 4, "float": 4, "double": 8,
}  # fmt: skip
"""Data type → bytes of a voxel."""


def check_stored(path: Path) -> list[str]:
    """Compare the stored voxels with what the header says.

    Args:
        path: A MetaImage or NRRD file; its data file exists.

    Returns:
        A sentence, to follow the file's name, if bytes follow the voxels.

    Raises:
        InputError: compressed voxels of a MetaImage are damaged or too few, or there are twice as many voxels or more.
    """
    header = read_text_header(path)
    fields = header.fields
    sizes = fields.get("sizes" if header.nrrd else "dimsize", "").split()
    kind = BYTES.get(fields.get("type" if header.nrrd else "elementtype", "").lower())
    if kind is None or not sizes or not all(size.isdecimal() for size in sizes):
        return []
    expected = kind * math.prod(map(int, sizes))
    if header.nrrd:
        return _of_nrrd(path, header, expected)
    channels = fields.get("elementnumberofchannels", "1")
    return _of_metaimage(path, header, expected * (int(channels) if channels.isdecimal() else 1))


def surplus(path: Path | str, found: int, expected: int) -> list[str]:
    """What to say of bytes that follow the voxels.

    Args:
        path: The file.
        found: Bytes of voxels in the file.
        expected: Bytes that the header describes.

    Raises:
        InputError: there are twice as many or more.
    """
    if expected > 0 and found >= 2 * expected:
        raise InputError(
            f"{path} holds {found} bytes of voxels, but its header describes {expected}.",
            "Correct size and data type in its header, or convert it again.",
        )
    if found > expected:
        return [f"holds {found - expected} bytes more than the {expected} that its header describes; they are ignored"]
    return []


def _of_nrrd(path: Path, header: TextHeader, expected: int) -> list[str]:
    skipped = header.fields.keys() & {"byte skip", "line skip", "byteskip", "lineskip"}
    if header.fields.get("encoding", "").lower() != "raw" or skipped:
        return []
    named = header.fields.get("data file", header.fields.get("datafile"))
    if named is not None:
        data = _data_file(path, named)
        return [] if data is None else surplus(path, data.stat().st_size, expected)
    with path.open("rb") as stream:
        stream.seek(header.end)
        blank = re.match(rb"\r?\n\r?\n", stream.read(4))
    return surplus(path, path.stat().st_size - header.end - (blank.end() if blank else 2), expected)


def _of_metaimage(path: Path, header: TextHeader, expected: int) -> list[str]:
    fields = header.fields
    named = fields.get("elementdatafile", "")
    local = named.upper() == "LOCAL"
    data = path if local else _data_file(path, named)
    skipped = fields.get("headersize", "0")
    if data is None or fields.get("binarydata", "true").lower() not in ("true", "1") or skipped != "0":
        return []
    start = header.end + 1 if local else 0
    if fields.get("compresseddata", "false").lower() not in ("true", "1"):
        return surplus(path, data.stat().st_size - start, expected)
    try:
        found = _inflated(data, start)
    except zlib.error as error:
        raise InputError(
            f"{path} is damaged: its compressed voxels contradict their checksum.", "Copy it again."
        ) from error
    if found is None or found < expected:
        raise InputError(f"{path} is truncated: its compressed voxels end early.", "Copy or convert it again.")
    return surplus(path, found, expected)


def _inflated(data: Path, start: int) -> int | None:
    """Bytes of a compressed stream that starts there; None if it has no end. Raises zlib.error if it is damaged."""
    stream, found = zlib.decompressobj(ANY_HEADER), 0
    with data.open("rb") as file:
        file.seek(start)
        while not stream.eof and (chunk := file.read(CHUNK)):
            found += len(stream.decompress(chunk))
    return found if stream.eof else None


def _data_file(path: Path, named: str) -> Path | None:
    """The one data file that a header names; None if it names several."""
    data = path.parent / named
    if not data.is_file():
        data = path.parent / named.replace("\\", "/")
    return data if data.is_file() else None
