"""The tissue table of the unseen family.

CT numbers are computed, not measured: mass densities and electron densities of ICRU Report 44 and of Woodard & White
(Br J Radiol 1986;59:1209) at an effective 70 keV, rounded. Relaxation times follow Bojorquez et al. (Magn Reson Imaging
2017;35:69) at 3 T and Gold et al. (AJR 2004;183:343) at 1.5 T; where a tissue has a range, its middle. Proton density
is water content after Woodard & White, of fat its mobile protons.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["LABEL", "TISSUES", "Tissue"]


class Tissue(NamedTuple):
    """Name, CT number and its spread in HU, proton density, T1 and T2 in ms at 1.5 T and at 3 T."""

    name: str
    hu: float
    spread_hu: float
    pd: float
    t1_ms: tuple[float, float]
    t2_ms: tuple[float, float]


TISSUES = (
    Tissue("air", -998, 2, 0.0, (900, 900), (8, 8)),
    Tissue("skin", 65, 14, 0.62, (620, 720), (32, 28)),
    Tissue("fat", -92, 9, 0.92, (343, 382), (58, 68)),
    Tissue("muscle", 44, 7, 0.78, (1130, 1295), (35, 33)),
    Tissue("connective tissue", 95, 16, 0.55, (740, 860), (24, 22)),
    Tissue("white matter", 30, 3, 0.70, (660, 850), (82, 70)),
    Tissue("grey matter", 38, 3, 0.82, (1110, 1450), (98, 92)),
    Tissue("cerebrospinal fluid", 9, 3, 1.0, (3900, 4100), (1900, 1500)),
    Tissue("blood", 47, 4, 0.80, (1480, 1750), (250, 180)),
    Tissue("eye", 12, 3, 0.98, (3200, 3600), (500, 350)),
    Tissue("mucosa", 28, 10, 0.83, (880, 1080), (75, 66)),
    Tissue("compact bone", 1320, 170, 0.14, (180, 210), (0.5, 0.5)),
    Tissue("petrous bone", 1640, 160, 0.11, (180, 210), (0.5, 0.5)),
    Tissue("spongy bone", 310, 95, 0.52, (430, 520), (48, 40)),
    Tissue("red marrow", 110, 60, 0.66, (560, 640), (46, 40)),
    Tissue("yellow marrow", 5, 45, 0.88, (300, 350), (54, 62)),
    Tissue("tooth", 2150, 250, 0.05, (150, 150), (0.2, 0.2)),
    Tissue("filling", 3000, 20, 0.0, (900, 900), (1, 1)),
    Tissue("cartilage", 105, 14, 0.60, (980, 1150), (34, 30)),
    Tissue("prostate", 36, 6, 0.83, (1260, 1600), (85, 78)),
    Tissue("uterus", 42, 7, 0.82, (1220, 1530), (80, 72)),
    Tissue("urine", 5, 3, 0.99, (3100, 3500), (900, 700)),
    Tissue("bowel wall", 34, 8, 0.80, (950, 1180), (60, 54)),
    Tissue("bowel content", 18, 24, 0.80, (1100, 1300), (110, 95)),
)
LABEL = {tissue.name: number for number, tissue in enumerate(TISSUES)}
"""Name → value in a label map."""
