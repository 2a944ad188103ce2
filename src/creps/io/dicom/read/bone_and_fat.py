"""Whether an MR shows bone and fat as most sequences do: bone dark, fat with signal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from creps.io.dicom.read.sequence_words import Topics

if TYPE_CHECKING:
    from creps.io.dicom.read.acquisition import Acquisition

__all__ = ["STIR_TI_MS", "ULTRASHORT_TE_MS", "is_fat_suppressed", "is_ultrashort"]

ULTRASHORT_TE_MS = 0.2
"""Echo time in ms below which compact bone (T2* of 0.3 to 0.5 ms) produces signal."""

STIR_TI_MS = (80.0, 260.0)
"""An inversion time in this range suppresses fat (150 to 230 ms at 1.5 and 3 T)."""

FAT_SUPPRESSED = frozenset({"FS", "FATSAT", "SPAIR", "SPIR", "STIR", "TIRM", "SFS", "CHESS", "PROSET"})
"""Values of ScanOptions."""

WATER_ONLY = {"WATER", "W", "STIR"}
"""Values of ImageType and FrameType of images without fat."""


def is_fat_suppressed(acquisition: Acquisition, topics: Topics) -> bool:
    """What was set at the scanner decides; words count only where the header has no such attribute."""
    inversion = acquisition.inversion_time_ms
    stir = inversion is not None and STIR_TI_MS[0] <= inversion <= STIR_TI_MS[1]
    options = FAT_SUPPRESSED.intersection(re.split(r"[\W_]+", acquisition.scan_options.upper()))
    if stir or options or acquisition.fat_suppressed or WATER_ONLY & acquisition.image_types:
        return True
    return acquisition.fat_suppressed is None and "fat suppression" in topics


def is_ultrashort(acquisition: Acquisition, topics: Topics) -> bool:
    """Whether compact bone has a signal; words count only where the header has no echo time."""
    echo = acquisition.echo_time_ms
    return echo < ULTRASHORT_TE_MS if echo is not None else "ultra-short echo" in topics
