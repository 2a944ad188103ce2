"""Measure sCTs as transcranial ultrasound uses them: error in head and skull, thickness and travel time along rays.

::

    python -m benchmarks.ultrasound.heads head --work WORK [--unseen FOLDER] [--pictures FOLDER]

Three sources: phantoms of the family that the shipped models learned from, heads of the unseen family, and one real T1
with a label of its skull but no CT. Phantoms that no folder is given for are grown in WORK.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.machine import machine
from benchmarks.ultrasound.cases import Head, heads_in, options, own_phantoms, unseen_heads
from benchmarks.ultrasound.rays import along_rays, brain_centre, directions, thickness_mm
from creps import Model, Volume, load, read_volume
from creps.figures import Panel, comparison_figure
from creps.io.picture import write_picture
from creps.provenance import provenance
from creps.synthesis.purpose import patient_of
from creps.ultrasound.curves import acoustic_curves
from creps.ultrasound.maps import RIGHT_ANTERIOR_SUPERIOR, AcousticMaps, acoustic_maps

RAYS = 2000

DELAY_MM = 140.0
"""Travel time is compared over this length: from the middle of the brain to beyond the scalp."""

PUBLISHED = (
    {"from": "T1, supervised U-Net", "head_mae_hu": 133, "skull_mae_hu": 398, "source": "Miscouridou et al. 2022"},
    {"from": "ZTE, supervised U-Net", "head_mae_hu": 83, "skull_mae_hu": 222, "source": "Miscouridou et al. 2022"},
    {"from": "ZTE, linear mapping", "head_mae_hu": 145, "skull_mae_hu": 336, "source": "Miscouridou et al. 2022"},
    {"from": "T1, supervised CNN", "head_mae_hu": 109.8, "skull_mae_hu": 319.3, "source": "Yaakub et al. 2023"},
)
"""Mean absolute errors in HU as the papers' abstracts state them: doi 10.1109/TUFFC.2022.3198522 and
10.1016/j.brs.2023.01.838. Other people, other definitions of head and skull."""


def maps_of(volume: Volume, patient: np.ndarray, name: str) -> AcousticMaps:
    """Acoustic maps by the usual curves."""
    return acoustic_maps(volume, patient, acoustic_curves(), name)


def measure(model: Model, head: Head) -> tuple[dict[str, Any], AcousticMaps, AcousticMaps]:
    """All figures of a head with known truth, and both sets of maps."""
    result = model.synthesize(head.mr, force=True)
    sct, ct = result.sct.array, head.ct.array
    made, true = maps_of(result.sct, patient_of(result), head.name), maps_of(head.ct, head.mask, head.name)
    error = np.abs(sct - ct)
    skull = true.skull.reoriented(head.ct.direction).array > 0
    figures = {
        "case": head.name,
        "spacing_mm": [round(s, 3) for s in head.mr.spacing_mm],
        "head_mae_hu": round(float(error[head.mask].mean()), 1),
        "skull_mae_hu": round(float(error[skull].mean()), 1),
        "skull_bias_hu": round(float((sct - ct)[skull].mean()), 1),
        "highest_hu": [float(ct.max()), round(float(sct.max()))],
    }
    return figures | compared(made, true.skull) | delays(made, true), made, true


def compared(made: AcousticMaps, true_skull: Volume) -> dict[str, Any]:
    """Overlap of the skull masks, and thickness along rays."""
    mine, truth = made.skull.array > 0, true_skull.reoriented(RIGHT_ANTERIOR_SUPERIOR)
    theirs, centre, along = truth.array > 0, brain_centre(truth), directions(RAYS)
    vault = _above(truth, centre)
    a, b = thickness_mm(made.skull, centre, along), thickness_mm(truth, centre, along)
    met = (a > 0) & (b > 0)
    return {
        "skull_dice": _dice(mine, theirs),
        "vault_dice": _dice(mine & vault, theirs & vault),
        "thickness_mm": [round(float(b[met].mean()), 2), round(float(a[met].mean()), 2)],
        "thickness_mae_mm": round(float(np.abs(a - b)[met].mean()), 2),
        "thickness_bias_mm": round(float((a - b)[met].mean()), 2),
        "thickness_correlation": round(float(np.corrcoef(a[met], b[met])[0, 1]), 3),
        "rays_without_skull": round(float(((a == 0) & (b > 0)).mean()), 4),
    }


def _above(volume: Volume, centre: np.ndarray) -> np.ndarray:
    """(D, H, W) voxels above the middle of the brain."""
    index = (centre - np.asarray(volume.origin_mm)) @ volume.direction / np.asarray(volume.spacing_mm)
    return np.arange(volume.shape[0])[:, None, None] >= index[0]


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return round(float(2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))), 3)


def delays(made: AcousticMaps, true: AcousticMaps) -> dict[str, Any]:
    """How far the travel times of rays are off; the mean over all rays only shifts the phase of the whole beam."""
    centre, along = brain_centre(true.skull), directions(RAYS)
    slowness = [
        1e6 * along_rays(maps.speed.with_array(1 / maps.speed.array), centre, along, DELAY_MM) for maps in (made, true)
    ]
    nanoseconds = slowness[0] - slowness[1]
    return {
        "delay_error_ns": round(float(np.std(nanoseconds)), 1),
        "delay_mean_ns": round(float(nanoseconds.mean()), 1),
    }


def real_head(model: Model, folder: Path, name: str = "seg3d_T1") -> tuple[dict[str, Any], AcousticMaps, Volume]:
    """Mask and thickness of the one real T1 whose skull is labelled; nobody has its CT."""
    mr, label = read_volume(folder / "mr" / f"{name}.nii.gz"), read_volume(folder / "labels" / f"{name}_skull.nii.gz")
    maps = model.synthesize(mr, force=True).ultrasound()
    return {"case": name, "spacing_mm": [round(s, 3) for s in mr.spacing_mm]} | compared(maps, label), maps, label


def mean_of(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Mean of every figure that is one number."""
    keys = [key for key, value in rows[0].items() if isinstance(value, (int, float))]
    return {key: round(float(np.mean([row[key] for row in rows])), 3) for key in keys}


def picture(path: Path, made: AcousticMaps, truth: Volume, hu: Volume | None) -> None:
    """Draw the maps of a head beside its truth."""
    rows = [[Panel(made.hu, "sCT", (-1000, 2000)), Panel(made.skull, "skull of the sCT", (0, 1))]]
    if hu is not None:
        rows.append([Panel(hu, "CT", (-1000, 2000)), Panel(truth, "skull of the CT", (0, 1))])
    else:
        rows.append([Panel(made.speed, "speed of sound", (1400, 3000)), Panel(truth, "label of the skull", (0, 1))])
    write_picture(comparison_figure(rows, path.stem), path)


def main() -> None:
    """Measure, print, write."""
    chosen = options(__doc__).parse_args()
    model = load(chosen.model)
    families = {
        "own": own_phantoms(chosen.work, min(chosen.count, 3), chosen.spacing, chosen.seed),
        "unseen": chosen.unseen or unseen_heads(chosen.work, chosen.count, chosen.seed),
    }
    content: dict[str, Any] = {"model": model.plan.weights_sha256, "curves": acoustic_curves().name, "rays": RAYS}
    for family, folder in families.items():
        rows = []
        for head in heads_in(folder, chosen.count):
            row, made, true = measure(model, head)
            rows.append(row)
            print(family, json.dumps(row), flush=True)
            if chosen.pictures is not None:
                picture(chosen.pictures / f"{family}_{head.name}.png", made, true.skull, true.hu)
        content[family] = {"mean": mean_of(rows), "cases": rows}
    if chosen.real.is_dir():
        row, made, label = real_head(model, chosen.real)
        content["real"] = row
        print("real", json.dumps(row), flush=True)
        if chosen.pictures is not None:
            picture(chosen.pictures / "seg3d_T1.png", made, label, None)
    content |= {"published": list(PUBLISHED), "machine": machine(), "provenance": provenance()}
    chosen.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
