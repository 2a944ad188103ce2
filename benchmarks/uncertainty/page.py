"""Write the tables of docs/concepts/uncertainty.md from results.json.

::

    python -m benchmarks.uncertainty.page
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

__all__ = ["PAGE", "RESULTS", "main", "written"]

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).parents[2] / "docs" / "concepts" / "uncertainty.md"

TISSUES = ("air", "fat", "soft", "spongy_bone", "cortical_bone")

TESTED_ON = {
    "own_seeds": "other phantoms",
    "other_region": "the other region's calibration",
    "unseen_family": "another family of phantoms",
}


def written(page: str, results: dict[str, Any]) -> str:
    """The page with its tables as the results say."""
    for name, table in {
        "coverage": _coverage(results),
        "sharpness": _sharpness(results),
        "mae": _mae(results),
        "options": _options(results),
    }.items():
        page = re.sub(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", rf"\g<1>{table}\g<2>", page, flags=re.DOTALL)
    return page


def _rows(results: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Label → scores by tissue."""
    return [
        (f"{region}, {label}", found["tissues"])
        for key, label in TESTED_ON.items()
        for region, found in results.get(key, {}).items()
    ] + [("real thigh, pelvis model", results["thigh"]["tissues"])] * ("thigh" in results)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n"


def _coverage(results: dict[str, Any]) -> str:
    rows = [
        [label, *(f"{100 * found[name]['coverage']:.0f}" if name in found else "–" for name in TISSUES)]
        for label, found in _rows(results)
    ]
    return _table(["Share held (%), stated 90", *(name.replace("_", " ") for name in TISSUES)], rows)


def _sharpness(results: dict[str, Any]) -> str:
    keys = {
        "mean half width (HU)": "mean_half_width_hu",
        "width / constant width": "width_ratio",
        "least possible": "narrowest_ratio",
        "Spearman(width, error)": "spearman",
        "held, least sure tenth": "coverage_of_the_least_sure_tenth",
    }
    rows = [
        [f"{region}: {label}", *(f"{found['tissues'][name][key]:g}" for name in TISSUES)]
        for region, found in results.get("own_seeds", {}).items()
        for label, key in keys.items()
    ]
    return _table(["Other phantoms", *(name.replace("_", " ") for name in TISSUES)], rows)


def _mae(results: dict[str, Any]) -> str:
    predicted = results["predicted_mae"]
    found = {
        f"all {predicted['models']} models, both regions": predicted["all_models"],
        "trained models only, both regions": predicted["trained_models"],
        **{f"all models, {region}": row for region, row in predicted["by_region"].items()},
        **{f"shipped {region}, other phantoms": row["predicted_mae"] for region, row in results["own_seeds"].items()},
        **{f"shipped {region}, slices": row["slices"] for region, row in results["own_seeds"].items()},
        **{
            f"shipped {region}, another family": row["predicted_mae"]
            for region, row in results.get("unseen_family", {}).items()
        },
    }
    rows = [
        [label, str(row["cases"]), f"{row['spearman']:.2f}", f"{100 * row['median_relative_error']:.0f}"]
        for label, row in found.items()
    ]
    return _table(["Predicted against true MAE", "n", "Spearman", "median relative error (%)"], rows)


def _options(results: dict[str, Any]) -> str:
    ratios = {region: row["ratios"] for region, row in results.get("time", {}).items()}
    rows = []
    for region, ways in results.get("gains", {}).items():
        for name, row in ways.items():
            key = "ensemble of two" if name.startswith("ensemble") else name
            time = ratios.get(region, {}).get(key)
            shown = "–" if time is None else f"{time:.2f}"
            figures = [f"{row['mae_hu']:.1f}", f"{row['mean_half_width_hu']:.1f}", f"{100 * row['coverage']:.0f}"]
            rows.append([f"{region}: {name}", str(row["cases"]), *figures, shown])
    rows += [
        [f"{region}: uncertainty", "1", "–", "–", "–", f"{row['uncertainty']:.2f}"] for region, row in ratios.items()
    ]
    return _table(["Way", "n", "MAE (HU)", "mean half width (HU)", "held (%)", "time ratio"], rows)


def main() -> None:
    """Rewrite the page."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")


if __name__ == "__main__":
    main()
