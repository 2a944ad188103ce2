"""The table of docs/concepts/dose.md, and how far MAE ranks the sCTs as dose does.

python -m benchmarks.dose.table
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from benchmarks.dose.__main__ import RESULTS

MEASURES = {
    "photons": ("dose_error_percent", "mean_difference_percent", "gamma"),
    "protons": ("dose_error_percent", "mean_difference_percent", "gamma", "range_mean_mm", "range_sd_mm"),
}


def value_of(row: dict[str, Any], measure: str) -> float:
    """A measure of a row; gamma is the share within 1 at 2 %/2 mm, in percent."""
    return 100 * float(row["gamma"]["2%/2mm"]) if measure == "gamma" else float(row[measure])


def badness(row: dict[str, Any], measure: str) -> float:
    """The same, larger where it is worse."""
    value = value_of(row, measure)
    return 100 - value if measure == "gamma" else abs(value)


def main() -> None:
    """Print means over the cases, by arm and radiation, and rank correlations with MAE."""
    every = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]
    refused = sorted({row["arm"] for row in every if "failed" in row})
    rows = [row for row in every if row["arm"] not in refused]
    cases = sorted({row["case"] for row in rows})
    names = list(dict.fromkeys(row["arm"] for row in rows))
    for row in (row for row in every if row["arm"] in refused):
        figures = row.get("failed") or f"dose error {row['dose_error_percent']:.2f} %"
        print(f"left out: {row['arm']}, {row['case']}, {row['radiation']}, MAE {row['mae_hu']:.0f} HU: {figures}")
    print(f"{len(cases)} cases: {', '.join(cases)}\n")
    for radiation, measures in MEASURES.items():
        own = [row for row in rows if row["radiation"] == radiation]
        print(f"| {radiation} | MAE HU | {' | '.join(measures)} |")
        arms = sorted(names, key=lambda name: np.mean([row["mae_hu"] for row in own if row["arm"] == name]))
        for name in arms:
            mine = [row for row in own if row["arm"] == name]
            means = [float(np.mean([value_of(row, measure) for row in mine])) for measure in measures]
            mae = float(np.mean([row["mae_hu"] for row in mine]))
            print(f"| {name} | {mae:.0f} | " + " | ".join(f"{mean:.2f}" for mean in means) + " |")
        for measure in measures:
            per_case = []
            for case in cases:
                mine = [row for row in own if row["case"] == case]
                per_case.append(float(spearmanr([r["mae_hu"] for r in mine], [badness(r, measure) for r in mine])[0]))
            print(f"rank correlation of MAE with {measure}: " + ", ".join(f"{one:.2f}" for one in per_case))
        print()


if __name__ == "__main__":
    main()
