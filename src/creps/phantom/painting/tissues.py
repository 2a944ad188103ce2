"""The tissue table: what each tissue looks like to a CT and to an MR scanner."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PHANTOM_CLASSES", "TEXTURE_LENGTHS_MM", "TISSUES", "TISSUE_ID", "Tissue"]


@dataclass(frozen=True)
class Tissue:
    """One row of the table.

    Attributes:
        name: Lower case; its position in `TISSUES` is its value in a label map.
        hu: Mean CT number (HU).
        hu_sd: Standard deviation of the smooth texture inside the tissue (HU).
        texture_mm: Correlation length of that texture: one of `TEXTURE_LENGTHS_MM`.
        pd: Proton density, water = 1.
        t1_ms: T1 at 1.5 T and 3 T (ms).
        t2_ms: T2 at 1.5 T and 3 T (ms).
    """

    name: str
    hu: float
    hu_sd: float
    texture_mm: float
    pd: float
    t1_ms: tuple[float, float]
    t2_ms: tuple[float, float]


# HU: Schneider, Bortfeld & Schlegel 2000 (Phys Med Biol 45:459, tables 3-6) and clinical reference
# ranges. T1 and T2: Stanisz et al. 2005 (Magn Reson Med 54:507) for brain, muscle, blood and
# cartilage; de Bazelaire et al. 2004 (Radiology 230:652) for fat and marrow; CSF after
# Rooney et al. 2007 (Magn Reson Med 57:308); cortical bone after Reichert et al. 2005 (Magn Reson
# Imaging 23:611). PD: BrainWeb (Collins et al. 1998) and, for bone, its water content. Rounded;
# the rows without a published value (gland, mucosa, lens) copy the nearest tissue of alike water
# and protein content.
#
# Pelvis, after a further look at the sources: prostate, uterus (myometrium), and lumbar marrow
# after de Bazelaire et al. 2004; urine as water with solutes; peripheral zone and seminal vesicles
# as gland filled with fluid; bladder and bowel wall as smooth muscle; stool and chyme as mixtures
# of water and residue, after clinical reference ranges; yellow marrow as fat with a little water;
# trabecular HU after quantitative CT of hip and sacrum.
TISSUES: tuple[Tissue, ...] = (
    #       name          HU    sd  mm   PD   T1 1.5/3 T      T2 1.5/3 T
    Tissue("air", -1000, 0, 2, 0.00, (1000, 1000), (10, 10)),
    Tissue("skin", 20, 20, 5, 0.75, (700, 800), (35, 30)),
    Tissue("fat", -100, 12, 5, 0.80, (290, 370), (80, 70)),
    Tissue("muscle", 52, 9, 5, 0.85, (1010, 1400), (44, 40)),
    Tissue("gland", 20, 16, 5, 0.85, (800, 1000), (60, 55)),
    Tissue("mucosa", 40, 12, 5, 0.90, (1000, 1250), (70, 60)),
    Tissue("cartilage", 80, 15, 5, 0.65, (1030, 1170), (35, 30)),
    Tissue("disc", 80, 12, 5, 0.70, (1000, 1150), (50, 45)),
    Tissue("blood", 50, 3, 12, 0.85, (1440, 1930), (200, 150)),
    Tissue("cortical bone", 1450, 130, 5, 0.15, (200, 250), (0.4, 0.4)),
    Tissue("dense bone", 1750, 150, 5, 0.12, (200, 250), (0.4, 0.4)),
    Tissue("thin bone", 850, 100, 5, 0.25, (250, 300), (0.8, 0.6)),
    Tissue("diploe", 520, 130, 5, 0.60, (380, 460), (50, 45)),
    Tissue("marrow", 330, 90, 5, 0.70, (360, 440), (55, 50)),
    Tissue("tooth", 2200, 200, 5, 0.05, (200, 250), (0.2, 0.2)),
    Tissue("csf", 8, 3, 12, 1.00, (4000, 4200), (1800, 1500)),
    Tissue("grey matter", 37, 3, 5, 0.82, (1050, 1400), (95, 99)),
    Tissue("deep grey matter", 37, 3, 5, 0.78, (900, 1200), (85, 80)),
    Tissue("white matter", 30, 3, 5, 0.70, (640, 800), (75, 70)),
    Tissue("dura", 65, 5, 5, 0.65, (800, 950), (40, 35)),
    Tissue("vitreous", 15, 4, 12, 0.98, (3500, 3900), (1200, 1000)),
    Tissue("lens", 75, 4, 5, 0.65, (1100, 1400), (30, 25)),
    Tissue("nerve", 35, 5, 5, 0.72, (750, 950), (75, 70)),
    # From here on the pelvis. New rows go to the end: label values and textures above must not change.
    Tissue("urine", 6, 2, 12, 1.00, (3200, 3600), (900, 700)),
    Tissue("bladder wall", 38, 5, 5, 0.85, (1000, 1350), (60, 52)),
    Tissue("bowel wall", 40, 8, 5, 0.85, (1000, 1300), (65, 58)),
    Tissue("bowel content", 22, 10, 5, 0.92, (1300, 1600), (140, 110)),
    Tissue("stool", 35, 35, 5, 0.70, (750, 900), (60, 50)),
    Tissue("prostate", 42, 6, 5, 0.86, (1320, 1600), (88, 74)),
    Tissue("peripheral zone", 36, 5, 5, 0.92, (1500, 1850), (150, 130)),
    Tissue("seminal vesicle", 24, 8, 5, 0.93, (1700, 2000), (190, 160)),
    Tissue("uterus", 55, 7, 5, 0.86, (1310, 1510), (117, 79)),
    Tissue("endometrium", 40, 5, 5, 0.92, (1450, 1700), (180, 150)),
    Tissue("ovary", 30, 10, 5, 0.90, (1350, 1650), (120, 105)),
    Tissue("erectile tissue", 48, 5, 5, 0.90, (1400, 1750), (170, 140)),
    Tissue("trabecular bone", 210, 55, 5, 0.70, (430, 500), (58, 52)),
    Tissue("yellow marrow", -45, 22, 5, 0.78, (310, 390), (76, 68)),
)

TISSUE_ID: dict[str, int] = {tissue.name: number for number, tissue in enumerate(TISSUES)}
"""Tissue name to its value in a label map."""

TEXTURE_LENGTHS_MM: tuple[float, ...] = tuple(sorted({tissue.texture_mm for tissue in TISSUES if tissue.hu_sd > 0}))
"""The correlation lengths used in the table."""

PHANTOM_CLASSES: dict[str, tuple[str, ...]] = {
    "air": ("air",),
    "fat": ("fat", "yellow marrow"),
    "muscle": ("muscle",),
    "brain": ("grey matter", "deep grey matter", "white matter"),
    "spongy_bone": ("diploe", "marrow", "trabecular bone"),
    "cortical_bone": ("cortical bone", "dense bone", "thin bone", "tooth"),
}
"""Class → tissues of the digital phantoms; all the others are ``other``."""
