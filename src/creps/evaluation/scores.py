"""Compute every metric of one synthetic CT, or record why it is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from creps import hu
from creps.evaluation.definitions import AIR_DEPTH_MM, METRICS
from creps.metrics.image import edge_sharpness, histogram_distance_hu, mean_absolute_error_hu, mean_error_hu
from creps.metrics.segmentation import dice, surface_distance
from creps.metrics.synthrad import (
    RANGE_4024_HU,
    synthrad2023_mae_hu,
    synthrad2023_psnr_db,
    synthrad2023_ssim,
    synthrad2025_mae_hu,
    synthrad2025_ms_ssim,
    synthrad2025_psnr_db,
)
from creps.metrics.tissues import TISSUE_WINDOWS_HU, error_by_class, tissue_classes
from creps.preprocessing.mask import depth_mm
from creps.volume import Mask, Volume

__all__ = ["Scores", "score_image", "score_structures", "score_tissues"]


@dataclass(frozen=True)
class Scores:
    """The metrics, collected one by one.

    Attributes:
        values: Name → value; None where it cannot be computed.
        missing: Name → why it is None.
    """

    values: dict[str, float | None] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, compute: Callable[[], float]) -> None:
        """Compute a metric; if it has no value, record why."""
        try:
            self.values[name] = compute()
        except ValueError as error:
            self.miss(name, str(error))

    def miss(self, name: str, reason: str) -> None:
        """Record a metric without a value."""
        self.values[name] = None
        self.missing[name] = reason

    def ordered(self) -> dict[str, float | None]:
        """Return MAE and bias, then errors by tissue, then the others in the order of `METRICS`."""
        known = [metric.name for metric in METRICS]
        by_tissue = [name for name in self.values if name not in known]
        return {name: self.values[name] for name in (*known[:2], *by_tissue, *known[2:]) if name in self.values}


def score_image(scores: Scores, ct: Volume, sct: Volume, inside: Mask) -> None:
    """Score the agreement of HU inside the mask; all images are on one grid."""
    images = (ct.array, sct.array, inside)
    spacing_mm = ct.spacing_mm
    scores.add("mae_hu", lambda: mean_absolute_error_hu(*images))
    scores.add("bias_hu", lambda: mean_error_hu(*images))
    scores.add("synthrad2023_mae_hu", lambda: synthrad2023_mae_hu(*images))
    scores.add("synthrad2023_psnr_db", lambda: synthrad2023_psnr_db(*images))
    scores.add("synthrad2023_ssim", lambda: synthrad2023_ssim(*images))
    scores.add("synthrad2025_mae_hu", lambda: synthrad2025_mae_hu(*images))
    scores.add("synthrad2025_psnr_db", lambda: synthrad2025_psnr_db(*images))
    scores.add("synthrad2025_psnr_4024_db", lambda: synthrad2025_psnr_db(*images, RANGE_4024_HU))
    scores.add("synthrad2025_ms_ssim", lambda: synthrad2025_ms_ssim(*images))
    scores.add("synthrad2025_ms_ssim_4024", lambda: synthrad2025_ms_ssim(*images, RANGE_4024_HU))
    scores.add("edge_sharpness", lambda: edge_sharpness(*images, spacing_mm))
    scores.add("histogram_distance_hu", lambda: histogram_distance_hu(*images))


def score_tissues(
    scores: Scores, ct: Volume, sct: Volume, inside: Mask, labels: Volume | None, names: Mapping[int, str] | None
) -> dict[str, Any]:
    """Score the error by tissue: by HU windows on the CT, or by labels.

    Returns:
        The classes and their voxel counts, as plain JSON values.

    Raises:
        ValueError: a label is negative.
    """
    if names is None or labels is None:
        classes, names = tissue_classes(ct.array)
        finite = {n: [None if np.isinf(end) else end for end in ends] for n, ends in TISSUE_WINDOWS_HU.items()}
        source: dict[str, Any] = {"source": "HU windows on the CT", "windows_hu": finite}
    else:
        classes = np.rint(labels.array).astype(np.int32)
        source = {"source": "labels", "numbers": {str(number): name for number, name in names.items()}}
    errors = error_by_class(ct.array, sct.array, inside, classes, names)
    for name, error in errors.items():
        for kind, value in (("mae", error.mae_hu), ("bias", error.bias_hu)):
            flat = f"{kind}_{name}_hu"
            if value is None:
                scores.miss(flat, f"the CT has no {name.replace('_', ' ')} inside the mask")
            else:
                scores.values[flat] = value
    counted = sum(error.voxels for error in errors.values())
    voxels = {name: error.voxels for name, error in errors.items()}
    return {**source, "voxels": voxels, "voxels_of_no_class": int(inside.sum()) - counted}


def score_structures(
    scores: Scores, ct: Volume, sct: Volume, inside: Mask, bodies: tuple[Mask, Mask]
) -> dict[str, Any]:
    """Score the shapes of bone, internal air and body.

    Args:
        scores: Receives the metrics.
        ct: The true CT.
        sct: The synthetic CT on the same grid.
        inside: (D, H, W), the region in which bone and air are scored.
        bodies: The body in the CT and the one in the sCT, (D, H, W) each.

    Returns:
        Voxel counts, as plain JSON values.
    """
    ct_hu, sct_hu = ct.array, sct.array
    deep = inside & (depth_mm(bodies[0], ct.spacing_mm) >= AIR_DEPTH_MM)
    pairs: dict[str, tuple[Mask, Mask]] = {
        "bone": ((ct_hu > hu.BONE_ABOVE) & inside, (sct_hu > hu.BONE_ABOVE) & inside),
        "air": ((ct_hu < hu.AIR_BELOW) & deep, (sct_hu < hu.AIR_BELOW) & deep),
        "body": bodies,
    }
    for structure, (in_ct, in_sct) in pairs.items():
        names = [f"{structure}_dice", f"{structure}_assd_mm", f"{structure}_hd95_mm"]
        absent = [where for where, there in (("CT", in_ct.any()), ("sCT", in_sct.any())) if not there]
        reason = f"the {' and the '.join(absent)} {'have' if len(absent) == 2 else 'has'} no {structure} there"
        if len(absent) == 2:
            scores.miss(names[0], reason)
        else:
            scores.values[names[0]] = dice(in_ct, in_sct)
        if absent:
            for name in names[1:]:
                scores.miss(name, reason)
        else:
            distance = surface_distance(in_ct, in_sct, ct.spacing_mm)
            scores.values[names[1]], scores.values[names[2]] = distance.average_mm, distance.hd95_mm
    return {name: {"ct_voxels": int(a.sum()), "sct_voxels": int(b.sum())} for name, (a, b) in pairs.items()}
