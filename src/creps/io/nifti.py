"""Read NIfTI-1 and NIfTI-2 files: the header, and the voxels as numbers.

ITK reads a truncated body and NaN as 0, a spacing of zero as 1 mm, and the qform where every other reader of the field
takes the sform. Files are therefore read here; `creps.io.placement` turns the header into a position. (nibabel takes
0.2 s for its import alone, and as long as all of this for a file of 256^3 voxels.)
"""

from __future__ import annotations

import gzip
import logging
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from creps.errors import InputError
from creps.io.contents import refuse_other_content
from creps.io.stored import surplus

__all__ = ["NiftiHeader", "read_nifti_header", "read_nifti_voxels"]

log = logging.getLogger(__name__)

CHUNK = 1 << 22

GZIP = b"\x1f\x8b"

HEADER_BYTES = 540

KINDS = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
"""NIfTI data type → numpy's: one number per voxel."""

SEVERAL = {32: "2 (complex)", 128: "3 (RGB)", 1792: "2 (complex)", 2048: "2 (complex)", 2304: "4 (RGBA)"}
"""NIfTI data type → numbers per voxel, of types that have several."""


@dataclass(frozen=True)
class NiftiHeader:
    """What a NIfTI header says, unchecked.

    Attributes:
        dim: Length of every axis in use, in the order of the file (i, j, k, ...).
        pixdim: qfac and the spacing along (i, j, k), in `units`.
        units: Code of the unit of length: 0 unknown, 1 m, 2 mm, 3 µm.
        qform_code: 0 if the qform is not used.
        sform_code: 0 if the sform is not used.
        quaternion: b, c, d of the qform.
        offset: Translation of the qform, RAS.
        sform: (3, 4), the sform, RAS.
        kind: NIfTI's number of the data type.
        bits: Bits of a voxel.
        order: ``<`` or ``>``.
        start: Byte at which the voxels start.
        header_bytes: Length of the header: 348 (NIfTI-1) or 540 (NIfTI-2).
        single_file: Whether the voxels are in the same file.
        slope: Of rescaling, as stored.
        intercept: Of rescaling, as stored.
    """

    dim: tuple[int, ...]
    pixdim: tuple[float, float, float, float]
    units: int
    qform_code: int
    sform_code: int
    quaternion: tuple[float, float, float]
    offset: tuple[float, float, float]
    sform: npt.NDArray[np.float64]
    kind: int
    bits: int
    order: str
    start: int
    header_bytes: int
    single_file: bool
    slope: float
    intercept: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of every axis, in the order of the file, without trailing axes of length 1 beyond the third."""
        dim = tuple(n if axis < 3 else max(n, 1) for axis, n in enumerate(self.dim))
        while len(dim) > 3 and dim[-1] == 1:
            dim = dim[:-1]
        return dim


def read_nifti_header(path: Path) -> NiftiHeader:
    """Read the header of a NIfTI file, compressed or not, whatever its name says.

    Raises:
        InputError: the file is something else, is damaged, or does not hold one 3-D image of one number per voxel.
    """
    with _opened(path) as stream:
        return _header(stream, path)


def read_nifti_voxels(path: Path) -> tuple[npt.NDArray[np.float32], NiftiHeader]:
    """Read the voxels of a NIfTI file, and check that they are all there.

    Returns:
        (D, H, W) voxels, rescaled by slope and intercept, and the header.

    Raises:
        InputError: as `read_nifti_header`, or the file is shorter than its header says, or cannot be rescaled.
    """
    with _opened(path) as stream:
        header = _header(stream, path)
        count = header.shape[0] * header.shape[1] * header.shape[2]
        expected = count * header.bits // 8
        stream.seek(header.start)
        body = bytearray()
        while chunk := _exactly(stream, min(CHUNK, expected - len(body))):
            body += chunk
        rest = _rest(stream)
    if len(body) < expected:
        raise InputError(
            f"{path} is truncated: it holds {len(body)} of {expected} bytes of voxels.", "Copy or convert it again."
        )
    for remark in surplus(path, expected + rest, expected):
        log.warning("%s %s.", path, remark)
    stored = np.frombuffer(body, np.dtype(header.order + KINDS[header.kind]))
    return _rescaled(stored, header, path).reshape(header.shape[::-1]), header


def _rest(stream: gzip.GzipFile | BinaryIO) -> int:
    """Bytes that follow the voxels; reading them to the end is what checks a gzip file's checksum."""
    count = 0
    try:
        while chunk := stream.read(CHUNK):
            count += len(chunk)
    except gzip.BadGzipFile as error:
        if not str(error).startswith("Not a gzipped"):  # that is something else after the compressed data, as gzip says
            raise
    return count


def _rescaled(stored: npt.NDArray[np.generic], header: NiftiHeader, path: Path) -> npt.NDArray[np.float32]:
    """The values that the stored numbers stand for: a slope of 0, or one that is no number, rescales nothing."""
    slope, intercept = header.slope, header.intercept
    if slope == 0 or not np.isfinite(slope):
        slope, intercept = 1.0, 0.0
    if not np.isfinite(intercept):
        raise InputError(
            f"{path} rescales its voxels with slope {slope:g} and intercept {intercept:g}, which is not a number.",
            "Correct scl_inter in its header, or convert it again.",
        )
    with np.errstate(over="ignore", invalid="ignore"):
        if slope == 1 and intercept == 0:
            return stored.astype(np.float32)
        return (stored.astype(np.float64) * slope + intercept).astype(np.float32)


@contextmanager
def _opened(path: Path) -> Iterator[gzip.GzipFile | BinaryIO]:
    """The file's bytes, decompressed if they are compressed; damage becomes an InputError."""
    try:
        with path.open("rb") as raw:
            compressed = raw.read(2) == GZIP
            raw.seek(0)
            if not compressed:
                yield raw
                return
            with gzip.open(raw) as stream:
                yield stream
    except EOFError as error:
        raise InputError(
            f"{path} is truncated or damaged: its compressed data ends early.", "Copy it again."
        ) from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path} is damaged: its compressed data contradicts its checksum ({error}).", "Copy it again."
        ) from error


def _header(stream: gzip.GzipFile | BinaryIO, path: Path) -> NiftiHeader:
    """The header, checked as far as size and type of the voxels go."""
    first = _exactly(stream, HEADER_BYTES)
    refuse_other_content(path, first)
    try:
        header = _parsed(first)
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"{path} cannot be read as an image (no NIfTI header: {error}).",
            "It may be truncated or damaged: copy or convert it again.",
        ) from error
    if not header.single_file:
        raise InputError(
            f"{path} is a header only: it says that its voxels are in a separate .img file.",
            "Convert the pair of files to one .nii.gz.",
        )
    if header.start < header.header_bytes + 4:
        raise InputError(
            f"{path} says that its voxels start at byte {header.start} (vox_offset), inside its header.",
            f"Correct vox_offset (usually {header.header_bytes + 4}), or convert it again.",
        )
    if header.kind in SEVERAL:
        raise InputError(
            f"{path} has {SEVERAL[header.kind]} values per voxel, not 1.",
            "Give a scalar image: the magnitude, not colour.",
        )
    if header.kind not in KINDS or header.bits != 8 * int(KINDS[header.kind][1]):
        raise InputError(
            f"{path} has voxels of NIfTI data type {header.kind} with {header.bits} bits, which creps does not read.",
            "Convert it to int16 or float32.",
        )
    return header


def _exactly(stream: gzip.GzipFile | BinaryIO, count: int) -> bytes:
    """Read `count` bytes, fewer only at the end of the file."""
    parts, wanted = [], count
    while wanted > 0 and (part := stream.read(wanted)):
        parts.append(part)
        wanted -= len(part)
    return b"".join(parts)


def _parsed(data: bytes) -> NiftiHeader:
    """A NIfTI-1 or NIfTI-2 header of either byte order."""
    order = next((o for o in "<>" if data[:4] in (struct.pack(f"{o}i", 348), struct.pack(f"{o}i", 540))), None)
    if order is None:
        raise ValueError("its first 4 bytes are not a header size")
    (size,) = struct.unpack_from(f"{order}i", data)
    if len(data) < size:
        raise ValueError(f"only {len(data)} of its {size} bytes are there")
    if size == 348:
        version, at = 1, NIFTI1
        magic = data[344:348]
    else:
        version, at = 2, NIFTI2
        magic = data[4:8]
    if magic[:3] not in (b"n+%d" % version, b"ni%d" % version):
        raise ValueError("its magic number is missing, as in an Analyze file, which does not say left from right")

    def get(name: str) -> tuple[float, ...]:
        kind, place = at[name]
        return struct.unpack_from(order + kind, data, place)

    axes, *lengths = (int(n) for n in get("dim"))
    if not 1 <= axes <= 7 or min(lengths[: min(axes, 3)]) < 1:
        raise ValueError(f"dimensions {axes}: {lengths}")
    b, c, d, x, y, z = get("qform")
    qfac, *spacing = get("pixdim")
    start = get("start")[0]
    if not np.isfinite(start) or start < 0:
        raise ValueError(f"voxels that start at byte {start}")
    return NiftiHeader(
        dim=tuple(lengths[:axes]),
        pixdim=(qfac, spacing[0], spacing[1], spacing[2]),
        units=int(get("units")[0]) & 7,
        qform_code=int(get("codes")[0]),
        sform_code=int(get("codes")[1]),
        quaternion=(b, c, d),
        offset=(x, y, z),
        sform=np.reshape(get("sform"), (3, 4)).astype(np.float64),
        kind=int(get("type")[0]),
        bits=int(get("type")[1]),
        order=order,
        start=int(start),
        header_bytes=int(size),
        single_file=magic[1:2] == b"+",
        slope=get("scale")[0],
        intercept=get("scale")[1],
    )


NIFTI1 = {
    "dim": ("8h", 40),
    "type": ("2h", 70),
    "pixdim": ("4f", 76),
    "start": ("f", 108),
    "scale": ("2f", 112),
    "units": ("B", 123),
    "codes": ("2h", 252),
    "qform": ("6f", 256),
    "sform": ("12f", 280),
}
"""Field → struct format and first byte, in NIfTI-1."""

NIFTI2 = {
    "dim": ("8q", 16),
    "type": ("2h", 12),
    "pixdim": ("4d", 104),
    "start": ("q", 168),
    "scale": ("2d", 176),
    "units": ("i", 500),
    "codes": ("2i", 344),
    "qform": ("6d", 352),
    "sform": ("12d", 400),
}
"""The same in NIfTI-2."""
