"""Bias field of an MR: N4 (Tustison et al. 2010) on a coarse grid, corrected at full resolution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from skimage.filters import threshold_otsu

from creps.preprocessing.morphology import box_around
from creps.volume import Array, Mask, Volume

__all__ = ["correct_bias_field"]

COARSE_MM = 4.0
"""Voxels of the grid on which the field is estimated: it is smooth."""

ITERATIONS = (50, 50, 50, 50)
"""Largest number of iterations at each resolution of the field."""

CONVERGENCE = 1e-3


def correct_bias_field(mr: Array, body: Mask, spacing_mm: Sequence[float]) -> Array:
    """Divide an MR by its estimated bias field.

    The geometric mean of the field in the body is 1, so that a fixed divisor keeps its meaning; outside the body it
    stays within the range it has inside. Computed with one thread, so that it does not depend on the machine.

    Args:
        mr: (D, H, W) in scanner units.
        body: (D, H, W) body mask.
        spacing_mm: Voxel spacing along D, H, W.

    Returns:
        (D, H, W) in scanner units; `mr` itself if the body is too small to estimate anything.
    """
    import SimpleITK as sitk

    whole, whole_tissue = mr, _tissue(mr, body)
    if not whole_tissue.any():
        return mr
    box = box_around(whole_tissue, (0, 0, 0))  # the field must not depend on the air around it
    mr, tissue = whole[box], whole_tissue[box]
    factors = [max(1, min(round(COARSE_MM / s), n // 4)) for s, n in zip(spacing_mm, mr.shape, strict=True)]
    d, h, w = spacing_mm
    image, mask = Volume(mr, (d, h, w)).to_sitk(), Volume(tissue.astype(np.float32), (d, h, w)).to_sitk() > 0.5
    coarse, coarse_mask = sitk.Shrink(image, factors[::-1]), sitk.Shrink(mask, factors[::-1])
    if min(coarse.GetSize()) < 4 or int(sitk.GetArrayViewFromImage(coarse_mask).sum()) < 64:
        return whole
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(list(ITERATIONS))
    n4.SetConvergenceThreshold(CONVERGENCE)
    with _one_itk_thread():
        n4.Execute(coarse, coarse_mask)
        log_field = np.asarray(sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image)), dtype=np.float32)
    inside = log_field[tissue]
    low, high = float(inside.min()), float(inside.max())
    centred = np.clip(log_field, low, high) - np.float32(inside.mean())
    around = [(part.start, n - part.stop) for part, n in zip(box, whole.shape, strict=True)]
    return np.asarray(whole / np.exp(np.pad(centred, around, mode="edge")), dtype=np.float32)


@contextmanager
def _one_itk_thread() -> Iterator[None]:
    """Let ITK use one thread in all filters that begin inside.

    N4's own number of threads is not enough: the filters within it, which sum over the image, take the global one.
    """
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _tissue(mr: Array, body: Mask) -> Mask:
    """Voxels of the body that give signal: N4 takes logarithms, and air and cortical bone would distort the fit."""
    inside = mr[body & (mr > 0)]
    if inside.size == 0 or inside.min() == inside.max():
        return np.zeros_like(body)
    return np.asarray(body & (mr > 0.5 * threshold_otsu(inside.ravel())))
