"""What ITK lets pass in a NIfTI file: a truncated body and NaN (read as 0), a spacing of zero (read as 1 mm)."""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from creps.errors import InputError

__all__ = ["check_nifti"]

CHUNK = 1 << 22


def check_nifti(path: Path) -> None:
    """Refuse a NIfTI file that is shorter than its header says, or has no positive spacing.

    Raises:
        InputError: as above, or no NIfTI header at all.
    """
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as stream:
            header = stream.read(540)
            layout = _parse(header)
            stream.seek(layout.offset)
            length, broken = 0, 0
            while chunk := _exactly(stream, min(CHUNK, layout.data_bytes - length)):
                length += len(chunk)
                if layout.real is not None:
                    whole = len(chunk) - len(chunk) % layout.real.itemsize
                    broken += int((~np.isfinite(np.frombuffer(chunk[:whole], layout.real))).sum())
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path} is truncated or damaged: its compressed data ends early.", "Copy it again."
        ) from error
    except (struct.error, ValueError, KeyError, OverflowError) as error:
        raise InputError(f"{path} cannot be read as an image (no NIfTI header).", "Convert it again.") from error
    if layout.single_file and length < layout.data_bytes:
        raise InputError(
            f"{path} is truncated: it holds {length} of {layout.data_bytes} bytes of voxels.",
            "Copy or convert it again.",
        )
    if broken:
        raise InputError(
            f"{path} has {broken} voxels that are NaN or infinite.", "Replace them (0 in MR, -1000 in CT) first."
        )
    if not all(0 < abs(s) < float("inf") for s in layout.spacing_mm):
        raise InputError(
            f"{path} has a voxel spacing of {' x '.join(f'{s:g}' for s in layout.spacing_mm)} mm.",
            "Spacing must be positive: correct the header.",
        )


def _exactly(stream: gzip.GzipFile | BinaryIO, count: int) -> bytes:
    """Read `count` bytes, fewer only at the end of the file."""
    parts, wanted = [], count
    while wanted > 0 and (part := stream.read(wanted)):
        parts.append(part)
        wanted -= len(part)
    return b"".join(parts)


@dataclass(frozen=True)
class Layout:
    """What a NIfTI header says of its file.

    Attributes:
        spacing_mm: Along the axes in use, three at most.
        offset: Where the voxels start.
        data_bytes: Bytes of voxels.
        single_file: Whether the voxels are in the same file.
        real: Type of the voxels if it is a floating-point one.
    """

    spacing_mm: tuple[float, ...]
    offset: int
    data_bytes: int
    single_file: bool
    real: np.dtype[np.floating] | None


def _parse(header: bytes) -> Layout:
    """The layout from a NIfTI-1 or NIfTI-2 header."""
    order = next((o for o in "<>" if struct.unpack_from(f"{o}i", header)[0] in (348, 540)), None)
    if order is None:
        raise ValueError("no header size")
    if struct.unpack_from(f"{order}i", header)[0] == 348:  # NIfTI-1
        dim = struct.unpack_from(f"{order}8h", header, 40)
        kind, bits = struct.unpack_from(f"{order}2h", header, 70)
        pixdim = struct.unpack_from(f"{order}8f", header, 76)
        offset = int(struct.unpack_from(f"{order}f", header, 108)[0])
        single = header[344:347] == b"n+1"
    else:  # NIfTI-2
        kind, bits = struct.unpack_from(f"{order}2h", header, 12)
        dim = struct.unpack_from(f"{order}8q", header, 16)
        pixdim = struct.unpack_from(f"{order}8d", header, 104)
        offset = struct.unpack_from(f"{order}q", header, 168)[0]
        single = header[4:7] == b"n+2"
    axes = dim[0]
    if not 1 <= axes <= 7 or min(dim[1 : axes + 1]) < 1:
        raise ValueError("no dimensions")
    voxels = 1
    for n in dim[1 : axes + 1]:
        voxels *= n
    real = np.dtype({16: f"{order}f4", 64: f"{order}f8"}[kind]) if kind in (16, 64) else None
    if offset < 0:
        raise ValueError("a negative offset")
    return Layout(pixdim[1 : 1 + min(axes, 3)], offset, voxels * bits // 8, single, real)
