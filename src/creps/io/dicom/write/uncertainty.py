"""Write the uncertainty of a synthetic CT as a series of its own, beside the synthetic CT.

CT Image Storage, not Parametric Map Storage: GDCM, and so SimpleITK, opens the first and refuses the second, whether
its pixels are integers or floats. ImageType, description and comments say that it is no CT.
"""

from __future__ import annotations

from pathlib import Path

from creps.io.dicom.read.series import UNCERTAINTY_IMAGE
from creps.io.dicom.write.ct import SeriesKind, WrittenSeries, write_ct
from creps.io.dicom.write.derivation import Derivation
from creps.io.dicom.write.identity import SourceSeries
from creps.volume import Volume

__all__ = ["write_uncertainty"]


def write_uncertainty(
    folder: Path, half_width: Volume, source: SourceSeries, derivation: Derivation, confidence: float
) -> WrittenSeries:
    """Write ``UN.0001.dcm``, ``UN.0002.dcm``, ... into a folder of their own.

    Args:
        folder: Where; it is made if it is not there.
        half_width: Half width of the interval in HU, on the grid of the synthetic CT.
        source: The MR.
        derivation: How the synthetic CT was made.
        confidence: Share of true values that the interval is to hold.

    Raises:
        InputError: as `write_ct`.
    """
    stated = f"half width of the {100 * confidence:g} % interval"
    kind = SeriesKind(
        role="uncertainty",
        image_type=("DERIVED", "SECONDARY", "AXIAL", UNCERTAINTY_IMAGE),
        description="NOT A CT: sCT uncertainty, HU",
        place=3,
        letters="UN",
        windows=(("UNCERTAINTY", 200, 400),),
        remark=f"NOT A CT, never plan on it: {stated} around the synthetic CT in HU.",
    )
    return write_ct(folder, half_width, source, derivation, kind)
