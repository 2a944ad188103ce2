"""How much an sCT depends on where its MR happens to end, and how accurate it is, on phantoms.

    python -m benchmarks.grid.grid [--phantoms N] [--regions head pelvis] [--spacing MM ...]
                                   [--fusion median single] [--model MODEL] [--out FILE]

Each phantom's MR is synthesized as it is and in every variant of `variants.py`: padded, cut, stored otherwise. The
table says by how many HU the sCT changes in the body: voxels that both have, compared without interpolation. Writes
results.json beside this file. Takes some minutes on one core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import creps
from benchmarks.grid.variants import MOVED_MM, VARIANTS, back
from creps.api.model import Model
from creps.io.atomic import write_json
from creps.metrics.image import mean_absolute_error_hu
from creps.metrics.segmentation import bone_dice
from creps.phantom import REGIONS
from creps.phantom.patient import Phantom, grow_patient
from creps.provenance import provenance
from creps.volume import Volume

HERE = Path(__file__).parent
SEED = 181

Row = dict[str, Any]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--phantoms", type=int, default=8)
    arguments.add_argument("--regions", nargs="+", default=["head", "pelvis"])
    arguments.add_argument("--spacing", type=float, nargs="+", default=[4.0, 3.0])
    arguments.add_argument("--variants", nargs="*", default=list(VARIANTS))
    arguments.add_argument("--fusion", nargs="+", default=["median", "single"])
    arguments.add_argument("--model", type=Path, default=None)
    arguments.add_argument("--out", type=Path, default=HERE / "results.json")
    chosen = arguments.parse_args()
    started = time.perf_counter()
    model = shipped() if chosen.model is None else creps.load(chosen.model)
    rows = []
    for row in measured(model, chosen.regions, chosen.spacing, chosen.phantoms, chosen.fusion, chosen.variants):
        print(row, flush=True)
        rows.append(row)
    seconds = round(time.perf_counter() - started)
    write_json(chosen.out, {**provenance(), "seconds": seconds, "summary": summary(rows), "rows": rows})
    for line in summary(rows):
        print(line)


def shipped() -> Model:
    """The demo's model of heads."""
    return creps.load("head")


def measured(
    model: Model,
    regions: Sequence[str],
    spacings_mm: Sequence[float],
    phantoms: int,
    fusions: Sequence[str],
    variants: Sequence[str],
) -> Iterable[Row]:
    """A row for each phantom, fusion and variant."""
    for region in regions:
        for i in range(phantoms):
            spacing_mm = spacings_mm[i % len(spacings_mm)]
            phantom = grow_patient(REGIONS[region], [SEED, i], spacing_mm, centre=i % 3)
            for fusion in fusions:
                common = {"region": region, "phantom": i, "spacing_mm": spacing_mm, "fusion": fusion}
                for row in of_phantom(model, phantom, fusion, variants):
                    yield common | row


def of_phantom(model: Model, phantom: Phantom, fusion: str, variants: Sequence[str]) -> Iterable[Row]:
    """Accuracy of the sCT of a phantom, and how much each variant changes it."""
    mr, truth, body = phantom.mr, phantom.ct_noise_free, phantom.mask.array > 0
    if mr is None or truth is None:
        raise ValueError("the phantom has no MR or no CT")
    plain = synthesized(model, mr, fusion)
    yield {
        "variant": "as it is",
        "mae_hu": round(mean_absolute_error_hu(plain.array, truth.array, body), 2),
        "bone_dice": round(bone_dice(plain.array, truth.array, body), 4),
    }
    for name in variants:
        moved = MOVED_MM if name == "moved in the header" else (0.0, 0.0, 0.0)
        other = back(synthesized(model, VARIANTS[name](mr, body), fusion), mr, moved)
        there = body & np.isfinite(other)
        change = np.abs(other[there] - plain.array[there])
        yield {
            "variant": name,
            "change_hu": round(float(change.mean()), 3),
            "change_p95_hu": round(float(np.percentile(change, 95)), 3),
            "mae_hu": round(mean_absolute_error_hu(np.nan_to_num(other), truth.array, there), 2),
        }


def synthesized(model: Model, mr: Volume, fusion: str) -> Volume:
    return model.synthesize(mr, fusion=fusion, precision="fp32", device="cpu", force=True).sct


def summary(rows: Sequence[Row]) -> list[Row]:
    """The mean and the worst phantom of each variant."""
    lines = []
    keys = list(dict.fromkeys((row["region"], row["fusion"], row["variant"]) for row in rows))
    for region, fusion, variant in keys:
        same = [r for r in rows if (r["region"], r["fusion"], r["variant"]) == (region, fusion, variant)]
        line: Row = {"region": region, "fusion": fusion, "variant": variant}
        for figure in ("change_hu", "change_p95_hu", "mae_hu", "bone_dice"):
            values = [row[figure] for row in same if figure in row]
            if values:
                line[figure] = round(float(np.mean(values)), 4)
                if figure.startswith("change"):
                    line[f"worst_{figure}"] = max(values)
        lines.append(line)
    return lines


if __name__ == "__main__":
    main()
