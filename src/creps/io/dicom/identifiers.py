"""Identifiers that the standard registers for objects and transfer syntaxes (PS3.6, annex A), each written once."""

from __future__ import annotations

__all__ = [
    "CLASSIC",
    "CT_IMAGE_STORAGE",
    "DEFLATED_EXPLICIT_LITTLE_ENDIAN",
    "ENCAPSULATED_PDF_STORAGE",
    "EXPLICIT_LITTLE_ENDIAN",
    "IMAGES",
    "IMPLICIT_LITTLE_ENDIAN",
    "MULTI_FRAME",
    "RLE_LOSSLESS",
    "RT_STRUCTURE_SET_STORAGE",
]

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
ENCAPSULATED_PDF_STORAGE = "1.2.840.10008.5.1.4.1.1.104.1"
RT_STRUCTURE_SET_STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"

CLASSIC = {CT_IMAGE_STORAGE: "ct", "1.2.840.10008.5.1.4.1.1.4": "mr"}
"""Storage classes of single-frame CT and MR."""

MULTI_FRAME = {
    "1.2.840.10008.5.1.4.1.1.2.1": "ct",
    "1.2.840.10008.5.1.4.1.1.2.2": "ct",
    "1.2.840.10008.5.1.4.1.1.4.1": "mr",
    "1.2.840.10008.5.1.4.1.1.4.4": "mr",
}
"""Storage classes of enhanced and of converted multi-frame CT and MR."""

IMAGES = CLASSIC | MULTI_FRAME
"""Storage classes of the images that are read."""

IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
DEFLATED_EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1.99"
RLE_LOSSLESS = "1.2.840.10008.1.2.5"
