"""Computed tomography: HU with texture, the couch, the reconstruction's blur and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from creps.hu import AIR, STORED_RANGE
from creps.phantom.painting.canvas import Canvas
from creps.phantom.painting.fields import gaussian_noise, smoothstep
from creps.phantom.painting.tissues import TISSUES
from creps.phantom.scanners.couch import Couch
from creps.volume import Array

__all__ = ["CT_SCANNERS", "PELVIS_CT_SCANNERS", "CtScanner", "acquire_ct"]


@dataclass(frozen=True)
class CtScanner:
    """One planning CT.

    Attributes:
        name: Short name, used in records.
        noise_hu: Standard deviation of the noise.
        noise_voxels: Its correlation in the plane, in voxels.
        blur_mm: Standard deviation of the point spread.
        stretch: Voxel size along D, H, W against the nominal spacing.
        couch_hu: Skin and core of the couch top.
    """

    name: str
    noise_hu: float
    noise_voxels: float
    blur_mm: float
    stretch: tuple[float, float, float]
    couch_hu: tuple[float, float]


CT_SCANNERS: tuple[CtScanner, ...] = (
    CtScanner("P", 13.0, 0.6, 0.5, (1.2, 0.95, 0.95), (-150.0, -920.0)),
    CtScanner("Q", 17.0, 0.5, 0.4, (1.0, 1.0, 1.0), (-250.0, -890.0)),
)
"""Two planning CT scanners, as set for heads."""

PELVIS_CT_SCANNERS: tuple[CtScanner, ...] = (
    CtScanner("P", 14.0, 0.6, 0.6, (1.5, 0.98, 0.98), (-180.0, -920.0)),
    CtScanner("Q", 18.0, 0.5, 0.5, (1.25, 1.02, 1.02), (-260.0, -890.0)),
)
"""The same two scanners, as set for pelves: more noise, thicker slices."""


def acquire_ct(
    rng: np.random.Generator,
    canvas: Canvas,
    scanner: CtScanner,
    texture: dict[float, Array],
    skin_mm: Array,
    couch: Couch,
) -> tuple[Array, Array]:
    """Image a patient on the couch.

    Args:
        rng: Source of the noise.
        canvas: The patient.
        scanner: Scanner and couch.
        texture: Unit-variance fields (D, H, W) by correlation length (mm).
        skin_mm: (D, H, W) distance to the skin; the couch stays outside.
        couch: Shape of the couch.

    Returns:
        Two (D, H, W) arrays of whole HU within `creps.hu.STORED_RANGE`: as reconstructed, and free of noise.
    """
    hu = canvas.mix({tissue.name: tissue.hu for tissue in TISSUES})
    for length, field in texture.items():
        hu += canvas.mix({t.name: t.hu_sd for t in TISSUES if t.texture_mm == length}) * field
    add_couch(hu, canvas, scanner, skin_mm, couch)
    spacing = [float(axis[1] - axis[0]) for axis in canvas.axes]
    hu = ndimage.gaussian_filter(hu, [scanner.blur_mm / s for s in spacing], mode="nearest", truncate=3.0)
    noise = np.float32(scanner.noise_hu) * gaussian_noise(rng, canvas.shape, scanner.noise_voxels)
    noise *= np.float32(0.9) + np.float32(0.25) * smoothstep(-skin_mm, 0.0, 60.0)
    return _store(hu + noise), _store(hu)


def _store(hu: Array) -> Array:
    return np.asarray(np.clip(np.rint(hu), *STORED_RANGE), dtype=np.float32)


def add_couch(hu: Array, canvas: Canvas, scanner: CtScanner, skin_mm: Array, couch: Couch) -> None:
    """Put the couch behind the body, in place.

    Args:
        hu: (D, H, W), changed outside the body only.
        canvas: Gives the patient coordinates.
        scanner: Material of the couch.
        skin_mm: (D, H, W) distance to the skin.
        couch: Its shape.
    """
    inside = np.flatnonzero((skin_mm < 0).any(axis=(0, 2)))
    if inside.size == 0:
        return
    shape = couch(canvas.axes, float(canvas.axes[1][inside[-1]]))
    outside = 1 - canvas.inside(skin_mm - np.float32(canvas.voxel_mm))
    hard, soft = (np.float32(value - AIR) for value in scanner.couch_hu)
    shell = canvas.inside(shape.top)
    core = canvas.inside(shape.top + np.float32(2))
    foam = canvas.inside(shape.foam) * (1 - shell)
    hu += (hard * (shell - core) + soft * core + np.float32(180) * foam) * outside
