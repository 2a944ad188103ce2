"""The MR beside the sCT: air where there is signal, voids, and artefacts of the MR that an sCT inherits."""

from __future__ import annotations

from itertools import product

import numpy as np
from scipy import ndimage

from creps import hu
from creps.preprocessing.mask import depth_mm
from creps.preprocessing.morphology import grow
from creps.qa.measures.measure import Measure, argmax, total_ml
from creps.qa.scene import Scene
from creps.volume import Array, Mask, Volume

__all__ = ["air_and_signal", "artefacts", "bias_field", "noise"]

SIGNAL, VOID = 0.5, 0.15
"""Times the body's median signal: above there is tissue, below there is air, compact bone, metal or flow."""

SKIN_MM = 6.0
TISSUE_HU = (-200.0, 150.0)
RING_MM = (6.0, 20.0)
SMOOTH_MM = 15.0
SMALLEST = 200
FIELD_DEPTH_MM, FIELD_HU, FIELD_SIGNAL = 9.0, (10.0, 70.0), 0.05
FIELD_ORDER, FIELD_ROUNDS, FIELD_TRIMMED, EVERY = 2, 4, 0.8, 3
NOISE_SLICES = 12


def air_and_signal(scene: Scene) -> dict[str, Measure]:
    """Air in ml where the MR has signal, soft tissue in ml where it has none, radius in mm of the largest void."""
    deep = scene.depth_mm > SKIN_MM
    air = ndimage.binary_opening(deep & (scene.sct_hu < hu.AIR_BELOW) & (scene.mr > SIGNAL))
    void = deep & (scene.mr < VOID) & scene.imaged
    soft = void & (scene.sct_hu > TISSUE_HU[0]) & (scene.sct_hu < TISSUE_HU[1])
    radius = depth_mm(void, scene.spacing_mm)
    largest = Measure(float(radius.max()), argmax(radius) if void.any() else None)
    return {
        "air_in_signal": total_ml(air, scene),
        "tissue_in_void": total_ml(ndimage.binary_opening(soft), scene),
        "void_radius": largest,
    }


def artefacts(scene: Scene) -> dict[str, Measure]:
    """Signal in % beside the body (ghosts, noise), and how many times as bright one part of the body is as another."""
    covered = scene.body | scene.sct_body
    ring = grow(covered, scene.spacing_mm, RING_MM[1]) & ~grow(covered, scene.spacing_mm, RING_MM[0]) & scene.imaged
    beside = 100 * float(np.percentile(scene.mr[ring], 75)) if ring.sum() >= SMALLEST else None
    inner = (scene.depth_mm > SKIN_MM) & scene.imaged
    smooth, seen = _smoothed(scene.mr[::2, ::2, ::2], inner[::2, ::2, ::2], SMOOTH_MM / 2 / scene.spacing_mm[0])
    low, high = np.percentile(smooth[seen], (2, 98)) if seen.sum() >= SMALLEST else (1.0, 1.0)
    return {"signal_beside": Measure(beside), "shading": Measure(float(high / max(low, 1e-3)))}


def _smoothed(signal: Array, where: Mask, sigma: float) -> tuple[Array, Mask]:
    """Mean signal around each voxel of a mask, of that mask alone."""
    weight = ndimage.gaussian_filter(where.astype(np.float32), sigma)
    sums = ndimage.gaussian_filter(np.where(where, signal, np.float32(0)), sigma)
    return sums / np.maximum(weight, np.float32(1e-3)), where


def bias_field(scene: Scene) -> Measure:
    """Standard deviation in % of a smooth bias field of the MR in deep soft tissue of the sCT.

    A polynomial of second order is fitted to the logarithm of the signal where the sCT has 10 to 70 HU, without the
    fifth of the voxels that fit worst. Only one tissue is used, so contrast between tissues hardly counts.
    """
    low, high = FIELD_HU
    tissue = (scene.sct_hu > low) & (scene.sct_hu < high) & (scene.depth_mm > FIELD_DEPTH_MM)
    tissue = ndimage.binary_erosion(tissue & scene.imaged & (scene.mr > FIELD_SIGNAL))
    if tissue.sum() < SMALLEST:
        return Measure(None)
    places, signal = np.argwhere(tissue)[::EVERY] * scene.spacing_mm, np.log(scene.mr[tissue][::EVERY])
    places = (places - places.mean(axis=0)) / 100
    reach = range(FIELD_ORDER + 1)
    powers = [p for p in product(reach, reach, reach) if sum(p) <= FIELD_ORDER]
    terms = np.stack([np.prod(places**power, axis=1) for power in powers], axis=1)
    kept = np.ones(len(signal), dtype=bool)
    for _ in range(FIELD_ROUNDS):
        fit, *_ = np.linalg.lstsq(terms[kept], signal[kept], rcond=None)
        off = np.abs(signal - terms @ fit)
        kept = off <= np.quantile(off, FIELD_TRIMMED)
    return Measure(100 * float((terms @ fit).std()))


def noise(mr: Volume) -> Measure:
    """Noise of the MR in % of its usual signal, from a Laplacian that cancels edges.

    Source: Immerkær 1996, Comput Vis Image Underst 64:300.

    Args:
        mr: As it was given; a few slices are used.
    """
    upright = mr.reoriented().array
    chosen = upright[:: max(1, len(upright) // NOISE_SLICES)]
    bright = chosen > 0.5 * np.percentile(chosen, 90)
    inner = ndimage.binary_erosion(bright, np.ones((1, 3, 3), dtype=bool))
    if inner.sum() < SMALLEST:
        return Measure(None)
    kernel = np.array([[[1.0, -2, 1], [-2, 4, -2], [1, -2, 1]]], dtype=np.float32)
    sigma = np.median(np.abs(ndimage.convolve(chosen, kernel)[inner])) / 0.6745 / 6
    return Measure(100 * float(sigma / max(float(np.median(chosen[inner])), 1e-6)))
