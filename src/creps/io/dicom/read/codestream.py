"""Size and depth that a compressed image states, compared with its DICOM header before it is decoded.

A decoder trusts the codestream: one that claims other sizes or depths than the header yields a scrambled image, or
writes beyond its memory.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

__all__ = ["Codestream", "fault_of"]

J2K_START = b"\xff\x4f\xff\x51"
JPEG_START = b"\xff\xd8"
END = b"\xff\xd9"
FRAME_MARKERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""Second bytes of the JPEG and JPEG-LS markers that are followed by the size of the image."""

BOX = 128
"""A JPEG 2000 codestream may start after up to this many bytes of a box, although DICOM forbids boxes."""


@dataclass(frozen=True)
class Codestream:
    """Size and depth in a JPEG, JPEG-LS or JPEG 2000 codestream."""

    rows: int
    columns: int
    samples: int
    bits: int

    @classmethod
    def of(cls, frame: bytes) -> Codestream | None:
        """Read it; None if there is none."""
        try:
            at = frame.find(J2K_START, 0, BOX)
            if at >= 0:
                x, y, x0, y0 = struct.unpack_from(">4I", frame, at + 8)
                samples, depth = struct.unpack_from(">HB", frame, at + 40)
                return cls(y - y0, x - x0, samples, (depth & 0x7F) + 1)
            return cls._of_jpeg(frame) if frame.startswith(JPEG_START) else None
        except (struct.error, IndexError):
            return None

    @classmethod
    def _of_jpeg(cls, frame: bytes) -> Codestream | None:
        at = 2
        while frame[at] == 0xFF:
            marker = frame[at + 1]
            if marker in FRAME_MARKERS:
                bits, rows, columns, samples = struct.unpack_from(">BHHB", frame, at + 4)
                return cls(rows, columns, samples, bits)
            at += 1 if marker == 0xFF else 2 + struct.unpack_from(">H", frame, at + 2)[0]
        return None


def fault_of(frame: bytes, shape: tuple[int, int], bits: int) -> str | None:
    """What is wrong with a compressed frame, or nothing.

    Args:
        frame: One frame as it is stored.
        shape: Rows, columns that the header claims.
        bits: Bits of a pixel that the header allocates.

    Returns:
        What follows "has a compressed slice that".
    """
    found = Codestream.of(frame)
    if found is None:
        return "has no valid codestream"
    if (found.rows, found.columns) != shape:
        return f"is {found.rows} x {found.columns} pixels, its header says {shape[0]} x {shape[1]}"
    if found.samples != 1:
        return f"has {found.samples} values per pixel (colour)"
    if found.bits > bits:
        return f"has {found.bits} bits per pixel, its header says {bits}"
    if not frame.rstrip(b"\x00\xff").endswith(END):
        return "ends early (truncated)"
    return None
