"""How much of the patient a body mask loses, and how much of couch, coil and air it takes along.

    python -m benchmarks.mask.mask [--real FOLDER] [--seeds N] [--out FILE] [--sheets FOLDER]

Phantoms with limbs, a coil, a couch and a cut field of view, as an MR and a CT; then the real MRs and CTs in
FOLDER/{head,pelvis}/{mr,ct}/*.nii.gz (default: shared/data beside the project, if it is there), of which only volumes
are told: what is kept and what is left out. Takes some minutes on one core. Writes results.json and the tables of
README.md beside this file, and with --sheets pictures of the real volumes with the outline of their masks.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from benchmarks.mask.scenes import CUTS, LIMBS, Scene, draw_scene
from benchmarks.mask.tables import draw_sheet, write_tables
from creps import hu
from creps.io.atomic import write_json
from creps.io.itk import read_volume
from creps.preprocessing.mask import body_mask_ct, left_out_ml
from creps.preprocessing.preparation import body_in_mr
from creps.preprocessing.resample import resample
from creps.provenance import provenance
from creps.volume import Mask, Volume

HERE = Path(__file__).parent
SPACING_MM = {"head": 2.5, "pelvis": 4.0}
REAL_MM = {"head": (1.5, 1.5, 1.5), "pelvis": (2.5, 1.5, 1.5)}
LIMITS = {"lost_percent": 0.5, "lost_piece_ml": 5.0, "extra_percent": 1.0, "thing_piece_ml": 5.0}
"""Most that may be wrong: patient lost, its largest piece, non-patient kept, the largest piece of a thing."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    beside = HERE.parents[1].parent / "shared" / "data"
    arguments.add_argument("--real", type=Path, default=beside if beside.is_dir() else None)
    arguments.add_argument("--seeds", type=int, default=1)
    arguments.add_argument("--out", type=Path, default=HERE / "results.json")
    arguments.add_argument("--sheets", type=Path)
    chosen = arguments.parse_args()
    rows = [row for seed in range(chosen.seeds) for region in SPACING_MM for row in on_phantoms(region, seed)]
    real = [] if chosen.real is None else list(on_real(chosen.real, chosen.sheets))
    missed = [row for row in rows if any(row[key] > limit for key, limit in LIMITS.items())]
    write_json(chosen.out, {**provenance(), "limits": LIMITS, "phantoms": rows, "real": real})
    if chosen.out == HERE / "results.json":
        write_tables(HERE / "README.md", rows, real)
    print(f"{len(missed)} of {len(rows)} beyond a limit")


def on_phantoms(region: str, seed: int, spacing_mm: float | None = None) -> Iterable[dict[str, Any]]:
    """Every limb and every cut, as MR and CT."""
    for limbs in LIMBS:
        whole = draw_scene(region, limbs, seed, spacing_mm or SPACING_MM[region])
        for name in CUTS:
            scene = whole.cut(name)
            for modality in ("mr", "ct"):
                row = {"region": region, "seed": seed, "limbs": limbs, "view": name, "modality": modality}
                yield shown({**row, **measured(scene, modality)})


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """Print a row; return it."""
    bad = "".join(f"  {key}!" for key, limit in LIMITS.items() if row[key] > limit)
    print(*row.values(), bad, flush=True)
    return row


def measured(scene: Scene, modality: str) -> dict[str, float]:
    """What a mask gets wrong.

    A voxel counts as lost or extra only if its whole neighbourhood of one voxel is: where the skin runs through a voxel
    is a matter of partial volume. `*_raw` counts every voxel.
    """
    volume, find = (scene.mr, found_in_mr) if modality == "mr" else (scene.ct, body_mask_ct)
    things = scene.things[0 if modality == "mr" else 1]
    return compared(find(volume), scene.patient, things, volume)


def found_in_mr(volume: Volume) -> Mask:
    """As in preparation, of a volume without padding."""
    depth, height, width = (slice(0, n) for n in volume.shape)
    return body_in_mr(volume, (depth, height, width))


def compared(mask: Mask, patient: Mask, things: Mask, volume: Volume) -> dict[str, float]:
    """See `measured`."""
    ball = ndimage.generate_binary_structure(3, 1)
    lost = patient & ~ndimage.binary_dilation(mask, ball) & ndimage.binary_erosion(patient, ball, border_value=1)
    extra = mask & ~ndimage.binary_dilation(patient, ball)
    ml, whole = float(np.prod(volume.spacing_mm)) / 1000, float(patient.sum())
    return {
        "lost_percent": round(100 * float(lost.sum()) / whole, 3),
        "lost_piece_ml": largest_ml(lost, ml),
        "extra_percent": round(100 * float(extra.sum()) / whole, 3),
        "thing_piece_ml": largest_ml(extra & things, ml),
        "lost_raw_percent": round(100 * float((patient & ~mask).sum()) / whole, 3),
        "extra_raw_percent": round(100 * float((mask & ~patient).sum()) / whole, 3),
    }


def largest_ml(mask: Mask, voxel_ml: float) -> float:
    """Volume of the largest piece."""
    labels, count = ndimage.label(mask)
    return round(float(np.bincount(labels.ravel())[1:].max()) * voxel_ml, 2) if count else 0.0


def on_real(folder: Path, sheets: Path | None = None) -> Iterable[dict[str, Any]]:
    """What is kept and what is left out of real volumes.

    Left out is signal outside the mask: of an MR as in its record (`left_out_ml`), of a CT what is denser than the skin
    and at least as thick as two voxels.
    """
    for region, spacing_mm in REAL_MM.items():
        for path in sorted((folder / region).glob("[cm][rt]/*.nii.gz")):
            modality = path.parent.name
            volume = resample(read_volume(path).reoriented(), spacing_mm)
            mask = (found_in_mr if modality == "mr" else body_mask_ct)(volume)
            name = path.name.removesuffix(".nii.gz")
            sizes = piece_sizes_ml(mask, spacing_mm)
            left_out = left_out_ml(volume, mask) if modality == "mr" else dense_outside_ml(volume, mask)
            row = {"file": name, "region": region, "modality": modality, "kept_ml": round(sum(sizes))}
            row |= {"pieces": len(sizes), "smallest_piece_ml": sizes[-1], "left_out_ml": left_out}
            print(*row.values(), flush=True)
            if sheets is not None:
                draw_sheet(sheets / f"{region}_{modality}_{name}.png", volume, mask, modality)
            yield row


def piece_sizes_ml(mask: Mask, spacing_mm: Sequence[float]) -> list[float]:
    """Volume of every piece, the largest first."""
    labels, _ = ndimage.label(mask)
    sizes = np.sort(np.bincount(labels.ravel())[1:])[::-1] * float(np.prod(spacing_mm)) / 1000
    return [round(float(size), 2) for size in sizes]


def dense_outside_ml(ct: Volume, mask: Mask) -> float:
    """Volume of couch, immobilisation mask and whatever else is denser than skin outside the mask and its rim."""
    ball = ndimage.generate_binary_structure(3, 1)
    outside = (ct.array > hu.SKIN) & ~ndimage.binary_dilation(mask, ball)
    solid = ndimage.binary_opening(outside, np.ones((2, 2, 2)))
    return round(float(solid.sum()) * float(np.prod(ct.spacing_mm)) / 1000, 1)


if __name__ == "__main__":
    main()
