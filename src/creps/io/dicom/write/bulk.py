"""Write a CT of bulk densities as a series of its own, beside the synthetic CT."""

from __future__ import annotations

from pathlib import Path

from creps.io.dicom.read.series import BULK_IMAGE
from creps.io.dicom.write.ct import SCT, SeriesKind, WrittenSeries, write_ct
from creps.io.dicom.write.derivation import Derivation
from creps.io.dicom.write.identity import SourceSeries
from creps.volume import Volume

__all__ = ["write_bulk"]

BULK = SeriesKind(
    role="bulk",
    image_type=("DERIVED", "SECONDARY", "AXIAL", BULK_IMAGE),
    description="BULK DENSITY CT from MR",
    place=4,
    letters="BD",
    windows=SCT.windows,
    remark="BULK DENSITIES: one HU per class, for an independent dose check.",
)


def write_bulk(folder: Path, bulk: Volume, source: SourceSeries, derivation: Derivation) -> WrittenSeries:
    """Write ``BD.0001.dcm``, ``BD.0002.dcm``, ... into a folder of their own.

    Args:
        folder: Where; it is made if it is not there.
        bulk: In HU, on the grid of the synthetic CT.
        source: The MR.
        derivation: How it was made.

    Raises:
        InputError: as `write_ct`.
    """
    return write_ct(folder, bulk, source, derivation, BULK)
