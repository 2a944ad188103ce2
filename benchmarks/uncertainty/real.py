"""Uncertainty on real scans: the pair of a thigh, and the labelled skull of a head without a CT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.accuracy.real_pair import prepare_pair, series_folder
from benchmarks.uncertainty.cases import measure
from benchmarks.uncertainty.coverage import by_tissue
from benchmarks.uncertainty.predicted import agreement, of_cases
from creps import hu, load, read_volume

__all__ = ["skull", "thigh"]

THIGH = "dicom/ibsi_STS_042*.tar.gz"


def thigh(data: Path, work: Path) -> dict[str, Any]:
    """The one real pair, registered, with the model of pelves: other anatomy than it was taught and calibrated on."""
    (archive,) = sorted(data.glob(THIGH))
    with series_folder(archive, work) as folder:
        pair = prepare_pair(folder, "thigh", True)
    model = load("pelvis")
    case = measure(model, "thigh", pair.mr, pair.ct, pair.mask)
    if model.calibration is None:
        raise ValueError("the shipped model has no calibration")
    row = of_cases(model.calibration, [case])[0]
    width, _ = model.calibration.read(case.sct, case.spread)
    return {
        "coverage": round(float((case.error <= width).mean()), 3),
        "tissues": by_tissue(model.calibration, [case]),
        "predicted_mae_hu": row["predicted_hu"],
        "true_mae_hu": row["true_hu"],
        "relative_error": agreement([row, row])["median_relative_error"],
    }


def skull(data: Path) -> dict[str, float]:
    """Voxels that a person labelled as skull: the share that is bone in the sCT, and the share that may be.

    A voxel may be bone if the upper end of its interval is above `hu.BONE_ABOVE`. The same share among the other voxels
    of the head tells what that costs.
    """
    result = load("head").synthesize(data / "head/mr/seg3d_T1.nii.gz", uncertainty=True, force=True)
    if result.uncertainty is None:
        raise ValueError("an uncertainty was asked for")
    label = read_volume(data / "head/labels/seg3d_T1_skull.nii.gz").array > 0
    body = result.body_mask()
    is_bone = result.sct.array > hu.BONE_ABOVE
    may_be = result.sct.array + result.uncertainty.array > hu.BONE_ABOVE
    others = body & ~label
    return {
        "labelled_voxels": int(label.sum()),
        "bone_in_sct": round(float(is_bone[label].mean()), 3),
        "bone_within_interval": round(float(may_be[label].mean()), 3),
        "others_bone_in_sct": round(float(is_bone[others].mean()), 3),
        "others_bone_within_interval": round(float(may_be[others].mean()), 3),
        "mean_half_width_hu_in_label": round(float(result.uncertainty.array[label].mean()), 1),
        "mean_half_width_hu_of_others": round(float(result.uncertainty.array[others].mean()), 1),
    }
