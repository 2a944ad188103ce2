"""Read the voxels of a NIfTI file, and refuse what ITK lets pass.

ITK reads a truncated body and NaN as 0, and a spacing of zero as 1 mm. It would also decompress the file once more, so
the voxels are kept here, and ITK reads the geometry alone. (nibabel takes as long for a file of 256^3 voxels as all of
this, and 0.2 s more for its import.)
"""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from creps.errors import InputError

__all__ = ["read_nifti_voxels"]

CHUNK = 1 << 22


KINDS = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
"""NIfTI data type → numpy's: one number per voxel."""


def read_nifti_voxels(path: Path) -> npt.NDArray[np.float32] | None:
    """Read the voxels of a NIfTI file in the order of the file, and check that they are all there.

    Returns:
        (voxels,), rescaled by slope and intercept; None if ITK has to read them: they are in a second file, or are
        not one number each.

    Raises:
        InputError: the file is no NIfTI file, is shorter than its header says, holds NaN or infinite values, or has no
            positive spacing.
    """
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as stream:
            header = stream.read(540)
            layout = _parse(header)
            stream.seek(layout.offset)
            body = bytearray()
            while chunk := _exactly(stream, min(CHUNK, layout.data_bytes - len(body))):
                body += chunk
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path} is truncated or damaged: its compressed data ends early.", "Copy it again."
        ) from error
    except (struct.error, ValueError, KeyError, OverflowError) as error:
        raise InputError(f"{path} cannot be read as an image (no NIfTI header).", "Convert it again.") from error
    if layout.single_file and len(body) < layout.data_bytes:
        raise InputError(
            f"{path} is truncated: it holds {len(body)} of {layout.data_bytes} bytes of voxels.",
            "Copy or convert it again.",
        )
    voxels = layout.values(body) if layout.single_file and layout.kind is not None else None
    if voxels is not None and not np.isfinite(voxels).all():
        count = int((~np.isfinite(voxels)).sum())
        raise InputError(
            f"{path} has {count} voxels that are NaN or infinite.", "Replace them (0 in MR, -1000 in CT) first."
        )
    if not all(0 < abs(s) < float("inf") for s in layout.spacing_mm):
        raise InputError(
            f"{path} has a voxel spacing of {' x '.join(f'{s:g}' for s in layout.spacing_mm)} mm.",
            "Spacing must be positive: correct the header.",
        )
    return voxels


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
        kind: Type of the voxels if each is one number.
        slope: Of rescaling, as ITK takes it: 0 and NaN are 1.
        intercept: Of rescaling, as ITK takes it: NaN is 0.
    """

    spacing_mm: tuple[float, ...]
    offset: int
    data_bytes: int
    single_file: bool
    kind: np.dtype[np.generic] | None
    slope: float
    intercept: float

    def values(self, body: bytearray) -> npt.NDArray[np.float32]:
        """The voxels (n,) that the bytes stand for."""
        stored = np.frombuffer(body, self.kind)
        with np.errstate(over="ignore", invalid="ignore"):
            if self.slope == 1 and self.intercept == 0:
                return stored.astype(np.float32)
            return (stored.astype(np.float64) * self.slope + self.intercept).astype(np.float32)


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
        slope, intercept = struct.unpack_from(f"{order}2f", header, 112)
    else:  # NIfTI-2
        kind, bits = struct.unpack_from(f"{order}2h", header, 12)
        dim = struct.unpack_from(f"{order}8q", header, 16)
        pixdim = struct.unpack_from(f"{order}8d", header, 104)
        offset = struct.unpack_from(f"{order}q", header, 168)[0]
        single = header[4:7] == b"n+2"
        slope, intercept = struct.unpack_from(f"{order}2d", header, 176)
    axes = dim[0]
    if not 1 <= axes <= 7 or min(dim[1 : axes + 1]) < 1:
        raise ValueError("no dimensions")
    voxels = 1
    for n in dim[1 : axes + 1]:
        voxels *= n
    numeric = np.dtype(order + KINDS[kind]) if kind in KINDS and bits == 8 * int(KINDS[kind][1]) else None

    def scale(number: float) -> float:
        return number if np.isfinite(number) and abs(number) > np.finfo(np.float64).eps else 0.0

    if offset < 0:
        raise ValueError("a negative offset")
    return Layout(
        pixdim[1 : 1 + min(axes, 3)], offset, voxels * bits // 8, single, numeric, scale(slope) or 1.0, scale(intercept)
    )
