"""What ITK lets pass in a NIfTI file: a truncated body (read as zeros) and a spacing of zero (read as 1 mm)."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

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
            spacing, wanted = _parse(header)
            length = len(header)
            while chunk := stream.read(CHUNK):
                length += len(chunk)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path} is truncated or damaged: its compressed data ends early.", "Copy it again.") from error
    except (struct.error, ValueError, KeyError) as error:
        raise InputError(f"{path} cannot be read as an image (no NIfTI header).", "Convert it again.") from error
    if length < wanted:
        raise InputError(f"{path} is truncated: it holds {length} of {wanted} bytes.", "Copy or convert it again.")
    if not all(0 < abs(s) < float("inf") for s in spacing):
        raise InputError(
            f"{path} has a voxel spacing of {' x '.join(f'{s:g}' for s in spacing)} mm.",
            "Spacing must be positive: correct the header.",
        )


def _parse(header: bytes) -> tuple[tuple[float, ...], int]:
    """Spacing along the axes in use (three at most), and the bytes that the file must have."""
    order = next((o for o in "<>" if struct.unpack_from(f"{o}i", header)[0] in (348, 540)), None)
    if order is None:
        raise ValueError("no header size")
    if struct.unpack_from(f"{order}i", header)[0] == 348:  # NIfTI-1
        dim = struct.unpack_from(f"{order}8h", header, 40)
        bits = struct.unpack_from(f"{order}h", header, 72)[0]
        pixdim = struct.unpack_from(f"{order}8f", header, 76)
        offset = int(struct.unpack_from(f"{order}f", header, 108)[0])
        single = header[344:347] == b"n+1"
    else:  # NIfTI-2
        bits = struct.unpack_from(f"{order}h", header, 14)[0]
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
    return pixdim[1 : 1 + min(axes, 3)], (offset + voxels * bits // 8) if single else 0
