"""Dose error of several sCTs beside their MAE.

    python -m benchmarks.dose CASE [CASE ...] --other CASE [--model NAME=FOLDER ...]

CASE is a folder with mr, ct_noise_free and mask, as creps phantom --test writes them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import creps
from benchmarks.dose.arms import arms
from creps.dose.compare import DoseOptions
from creps.dose.compare import compare_dose as compare
from creps.dose.images import CtImage, axial
from creps.dose.plan import default_plan
from creps.errors import CrepsError
from creps.io.atomic import write_json
from creps.provenance import provenance
from creps.volume import Mask, Volume

RESULTS = Path(__file__).with_name("results.json")

SMALL = {"gantry_degrees": (0.0, 90.0), "dose_grid_mm": 4.0, "spot_mm": 8.0, "iterations": 40}
"""Two beams on a coarse grid: a comparison takes seconds, and every sCT has the same plan."""

RADIUS_MM, ASIDE_MM = 18.0, 30.0


def structures(ct: Volume, body: Mask) -> dict[str, Volume]:
    """A ball to the left of the head's middle as target, its mirror image as organ."""
    index = np.argwhere(body)
    middle = (index.min(axis=0) + index.max(axis=0)) / 2
    found = {}
    for name, side in (("PTV", 1), ("organ", -1)):
        centre = ct.to_patient_mm(middle) + np.array([side * ASIDE_MM, 0.0, 0.0])
        grid = np.stack(np.meshgrid(*map(np.arange, ct.shape), indexing="ij"), axis=-1)
        distance = np.linalg.norm(ct.to_patient_mm(grid) - centre, axis=-1)
        found[name] = ct.with_array(distance <= RADIUS_MM)
    return found


def rows_of(
    case: Path, models: dict[str, Path], other_hu: np.ndarray[Any, Any], known: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """One row for each sCT and radiation of a case; what is known is not computed again."""
    mr, ct, mask = (creps.read_volume(case / f"{name}.nii.gz") for name in ("mr", "ct_noise_free", "mask"))
    body = mask.array > 0
    rows = []
    for name, make in arms(creps.load("head"), models, mr, ct, body, other_hu).items():
        done = [row for row in known if row["case"] == case.name and row["arm"] == name]
        if len(done) == 2:
            rows += done
            continue
        sct = make()
        truth, predicted = (CtImage(axial(one), name, None, {}) for one, name in ((ct, "the CT"), (sct, "the sCT")))
        mae = float(np.abs(sct.array - ct.array)[body].mean())
        for radiation in ("photons", "protons"):
            plan = default_plan("brain", radiation).model_copy(update=SMALL)
            row: dict[str, Any] = {"case": case.name, "arm": name, "radiation": radiation, "mae_hu": mae}
            try:
                document = compare(truth, predicted, structures(ct, body), DoseOptions(plan)).document
            except CrepsError as error:
                rows.append(row | {"failed": str(error)})
                continue
            ranges = [one for one in document.ranges if one.mean_mm is not None]
            rows.append(
                row
                | {
                    "dose_error_percent": document.target.error_percent,
                    "mean_difference_percent": document.target.mean_difference_percent,
                    "synthrad_dvh": document.synthrad_dvh,
                    "gamma": document.gamma,
                    "range_mean_mm": float(np.mean([one.mean_mm for one in ranges])) if ranges else None,
                    "range_sd_mm": float(np.mean([one.sd_mm for one in ranges])) if ranges else None,
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("cases", type=Path, nargs="+", metavar="CASE")
    parser.add_argument("--other", type=Path, required=True, help="Another patient, for the histogram.")
    parser.add_argument("--model", action="append", default=[], metavar="NAME=FOLDER", help="Another model.")
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    models = {name: Path(folder) for name, _, folder in (one.partition("=") for one in given.model)}
    other = creps.read_volume(given.other / "ct_noise_free.nii.gz").array
    values = other[creps.read_volume(given.other / "mask.nii.gz").array > 0]
    rows = json.loads(given.output.read_text())["rows"] if given.output.exists() else []
    for case in given.cases:
        rows = [row for row in rows if row["case"] != case.name] + rows_of(case, models, values, rows)
        write_json(given.output, {"plan": {k: str(v) for k, v in SMALL.items()}, "rows": rows, **provenance()})


if __name__ == "__main__":
    main()
