"""The stored values of a DICOM file, one slice at a time: decoded, unpacked, with their padding marked."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from creps.errors import InputError
from creps.io.dicom.identifiers import RLE_LOSSLESS
from creps.io.dicom.read.codestream import fault_of
from creps.io.dicom.read.elements import MalformedDicomError, malformed, value, whole
from creps.io.dicom.read.faults import no_valid, reason_of
from creps.io.dicom.read.headers import open_dicom

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.uid import UID

__all__ = ["Plane", "read_planes"]

Stored = npt.NDArray[np.integer[Any]]
"""(H, W): pixels as they are stored, with what else their bits hold."""

Plane = tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_] | None]
"""(H, W): stored values, and which of them are padding (None: nothing is)."""

RAW_BITS: dict[str, Any] = {"correct_unused_bits": False}

UNDECODABLE = (MalformedDicomError, RuntimeError, OSError)


def read_planes(path: Path, label: str) -> Iterator[Plane]:
    """Decode a file's slices one after the other.

    Read are uncompressed, deflated and big endian files, RLE, JPEG (baseline, extended, lossless), JPEG-LS and
    JPEG 2000. Bits outside BitsStored mean nothing (PS3.5 8.1.1): they are cut off. Besides the planes, no more than
    the file's own bytes are held.

    Args:
        path: The file.
        label: What messages call its series.

    Yields:
        The planes, in the file's order.

    Raises:
        InputError: the pixels are truncated, damaged or compressed in a way that cannot be decoded.
    """
    try:
        dataset = open_dicom(path)
        layout = _Layout(dataset, label)
        planes = _compressed(dataset, layout, label) if layout.encapsulated else _native(dataset, layout, label)
        for plane in planes:
            yield layout.unpacked(plane)
    except UNDECODABLE as error:
        what = f"{label} has pixels that cannot be read ({reason_of(error)})."
        raise InputError(what, "Copy or export it again.") from error


class _Layout:
    """How a file stores its pixels."""

    def __init__(self, dataset: Dataset, label: str) -> None:
        self.rows, self.columns, self.frames = (
            _whole(dataset, name, label) for name in ("Rows", "Columns", "NumberOfFrames")
        )
        self.allocated = _whole(dataset, "BitsAllocated", label)
        self.stored = _whole(dataset, "BitsStored", label)
        self.high = whole(dataset, "HighBit", self.stored - 1)
        sign = whole(dataset, "PixelRepresentation", -1)
        fine = {
            "BitsAllocated": self.allocated in (8, 16, 32),
            "BitsStored": self.stored <= self.allocated,
            "HighBit": self.high is not None and self.stored <= self.high + 1 <= self.allocated,
            "PixelRepresentation": sign in (0, 1),
        }
        for name, right in fine.items():
            if not right:
                raise no_valid(name, label)
        self.signed = sign == 1
        self.syntax = _transfer_syntax(dataset, label)
        self.encapsulated = self.syntax.is_encapsulated
        aligned = self.encapsulated and self.syntax != RLE_LOSSLESS  # samples of a codestream start at bit 0
        self.shift = 0 if aligned else (self.high or 0) + 1 - self.stored
        self.padding = _padding(dataset, self.allocated, self.signed, label)

    @property
    def frame_bytes(self) -> int:
        """Bytes of a frame that is not compressed."""
        return self.rows * self.columns * self.allocated // 8

    def unpacked(self, raw: Stored) -> Plane:
        """Take the bits that mean something, and find the padding."""
        width = 8 * raw.dtype.itemsize
        native = raw.astype(raw.dtype.newbyteorder("="), copy=False)
        values = native.view(f"u{raw.dtype.itemsize}").astype(np.int64)
        if self.shift or self.stored < width:
            values = (values >> self.shift) & ((1 << self.stored) - 1)
        bits = min(self.stored, width)
        if self.signed:
            values -= (values >> (bits - 1)) << bits
        if self.padding is None:
            return values, None
        low, high = self.padding
        whole_bits = native.view(f"{'i' if self.signed else 'u'}{raw.dtype.itemsize}").astype(np.int64)
        padded = ((values >= low) & (values <= high)) | ((whole_bits >= low) & (whole_bits <= high))
        return values, padded if padded.any() else None


def _whole(dataset: Dataset, name: str, label: str) -> int:
    number = whole(dataset, name, 1 if name == "NumberOfFrames" else 0)
    if number is None or number < 1:
        raise no_valid(name, label)
    return number


def _transfer_syntax(dataset: Dataset, label: str) -> UID:
    from pydicom import uid

    found = value(dataset.file_meta, "TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
    if not found:  # files from before 1998 have no file meta information
        implicit, little = dataset.original_encoding
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        return uid.ImplicitVRLittleEndian if implicit else explicit
    if not isinstance(found, uid.UID) or found.is_private or not found.is_transfer_syntax:
        raise InputError(f"{label} has an unknown transfer syntax ({found}).", "Export it uncompressed.")
    return found


def _padding(dataset: Dataset, bits: int, signed: bool, label: str) -> tuple[int, int] | None:
    """Lowest and highest value that stands for "no pixel here", as the pixels are signed."""
    limits = []
    for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        if name not in dataset or dataset.get_item(name).value in (None, "", b""):
            break
        found = value(dataset, name)
        if isinstance(found, bytes):  # signed or unsigned: an implicit header does not say
            little = dataset.original_encoding[1] is not False
            found = int.from_bytes(found, "little" if little else "big") if len(found) in (2, 4) else None
        if not isinstance(found, int):
            raise no_valid(name, label)
        if not -(2 ** (bits - 1)) <= found < 2**bits:
            break  # no pixel can have it
        turn = 2**bits if signed and found >= 2 ** (bits - 1) else -(2**bits) if not signed and found < 0 else 0
        limits.append(found - turn)
    return (min(limits), max(limits)) if limits else None


def _native(dataset: Dataset, layout: _Layout, label: str) -> Iterator[Stored]:
    from pydicom.pixels.decoders.base import get_decoder

    expected, found = layout.frame_bytes * layout.frames, len(dataset.get("PixelData", b"") or b"")
    what = "slice" if layout.frames == 1 else "file"
    if found < expected:
        raise InputError(
            f"{label} has a truncated {what}: {found} of {expected} bytes of pixels.", "Copy or export it again."
        )
    if found > expected + layout.frame_bytes // layout.rows:
        raise InputError(
            f"{label} has a {what} of {found} bytes of pixels, its size says {expected}.", "Copy or export it again."
        )
    decoder, options = get_decoder(layout.syntax), {"raw": True, **RAW_BITS}
    for index in range(layout.frames):
        with malformed():
            plane, _ = decoder.as_array(dataset, index=index, **options)
        yield plane


def _compressed(dataset: Dataset, layout: _Layout, label: str) -> Iterator[Stored]:
    frames = _encoded_frames(dataset, layout, label)
    for index, frame in enumerate(frames):
        if layout.syntax != RLE_LOSSLESS:
            fault = fault_of(frame, (layout.rows, layout.columns), layout.allocated)
            if fault:
                raise InputError(f"{label} has a compressed slice that {fault}.", "Copy or export it again.")
        try:
            with malformed():
                plane = _decoded(frame, layout)
        except UNDECODABLE as error:
            which = f" (frame {index + 1} of {len(frames)})" if len(frames) > 1 else ""
            raise InputError(
                f"{label} has a slice compressed as {layout.syntax.name} that cannot be decoded{which}.",
                "Copy it again, or export it uncompressed.",
            ) from error
        yield plane


def _encoded_frames(dataset: Dataset, layout: _Layout, label: str) -> list[bytes]:
    from pydicom.encaps import generate_frames
    from pydicom.pixels.decoders.base import get_decoder

    try:
        available = get_decoder(layout.syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        raise InputError(
            f"{label} is compressed as {layout.syntax.name}, which is not supported.",
            "Export it uncompressed.",
        )
    if not dataset.get("PixelData"):
        raise InputError(f"{label} has a truncated slice: it has no pixels.", "Copy or export it again.")
    names = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
    found = [value(dataset, name) for name in names]
    offsets = None if None in found else (found[0], found[1])
    with malformed():
        frames = list(generate_frames(dataset.PixelData, number_of_frames=layout.frames, extended_offsets=offsets))
    if len(frames) != layout.frames:
        raise InputError(
            f"{label} has a file that holds {len(frames)} frames and claims {layout.frames}.",
            "Copy or export it again.",
        )
    return frames


def _decoded(frame: bytes, layout: _Layout) -> Stored:
    from pydicom import uid
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import get_decoder

    if layout.syntax == uid.JPEGExtended12Bit and layout.stored > 8:
        return _decoded_12_bit(frame, layout)
    options: dict[str, Any] = {
        "rows": layout.rows,
        "columns": layout.columns,
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "pixel_representation": int(layout.signed),
        "bits_allocated": layout.allocated,
        "bits_stored": layout.stored,
        "pixel_keyword": "PixelData",
        **RAW_BITS,
    }
    plugin = "pydicom" if layout.syntax == RLE_LOSSLESS else "gdcm"
    decoder = get_decoder(layout.syntax)
    plane, _ = decoder.as_array(encapsulate([frame]), index=0, raw=True, decoding_plugin=plugin, **options)
    return plane


def _decoded_12_bit(frame: bytes, layout: _Layout) -> Stored:
    """JPEG with 12 bits and loss, which pydicom does not ask of GDCM."""
    gdcm: Any = importlib.import_module("gdcm")
    fragment, fragments = gdcm.Fragment(), gdcm.SequenceOfFragments.New()
    fragment.SetByteStringValue(frame)
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((layout.columns, layout.rows, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, 12, 11, int(layout.signed)))
    values = np.frombuffer(image.GetBuffer().encode("utf-8", "surrogateescape"), "<u2")
    return values.reshape(layout.rows, layout.columns)
