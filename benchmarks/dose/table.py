"""The tables of docs/concepts/dose.md: dose error of sCTs, and how far MAE and bone Dice rank them as dose does.

Correlations are Spearman's rho / Kendall's tau of means over people; within a person and within a method Spearman's
rho, median (lowest to highest). "Methods" are all sCTs but true CTs with a known error.

python -m benchmarks.dose.table
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau, spearmanr

from benchmarks.dose.arms import KNOWN

__all__ = ["MEASURES", "RESULTS", "across_arms", "tables", "within_arms", "within_people"]

RESULTS = Path(__file__).with_name("results")

MEASURES: dict[str, tuple[str, Callable[[float], float]]] = {
    "dose_error_percent": ("dose error, %", float),
    "mean_difference_percent": ("mean difference, %", abs),
    "gamma_percent": ("gamma 2 %/2 mm, %", lambda value: 100 - value),
    "range_mean_mm": ("range, mean, mm", abs),
    "range_sd_mm": ("range, SD, mm", float),
    "range_p95_absolute_mm": ("range, 95th percentile, mm", float),
}
"""Key of a row → its name, and what makes it larger where the sCT is worse."""

IMAGE: dict[str, Callable[[float], float]] = {"mae_hu": float, "bone_dice": lambda value: 1 - value}

FEWEST_PEOPLE = 5
"""Of an arm, for a rank correlation among them."""

RADIATIONS = ("photons", "protons")

Rows = list[dict[str, Any]]


def tables(file: Path) -> str:
    """Both tables of one region, in Markdown, and what was refused."""
    every: Rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
    people, minutes = len({row["case"] for row in every}), sum(float(row["cpu_seconds"]) for row in every) / 60
    rows = [row for row in every if "refused" not in row]
    refused = [f"refused: {row['arm']}, {row['case']}: {row['refused']}" for row in every if "refused" in row]
    head = f"## {file.stem}: {people} people, {minutes:.0f} CPU minutes"
    return "\n\n".join([head, means_table(rows), correlation_table(rows), *refused])


def means_table(rows: Rows) -> str:
    """Means over people of each arm, by rising MAE."""
    columns = [(kind, key) for kind in RADIATIONS for key in _measured(_of(rows, kind))]
    titles = ["sCT", "people", "MAE, HU", "bone Dice", *(f"{kind}: {MEASURES[key][0]}" for kind, key in columns)]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for arm in sorted(_names(rows), key=lambda name: _mean(rows, name, "mae_hu")):
        people = str(len({row["case"] for row in rows if row["arm"] == arm}))
        image = [_written(key, _mean(rows, arm, key)) for key in IMAGE]
        dose = [_written(key, _mean(_of(rows, kind), arm, key)) for kind, key in columns]
        lines.append(f"| {' | '.join([arm, people, *image, *dose])} |")
    return "\n".join(lines)


def correlation_table(rows: Rows) -> str:
    """Rank correlations of MAE, and across arms of bone Dice, with each dose figure."""
    titles = [
        *("dose figure", "MAE: all sCTs", "MAE: methods", "bone Dice: methods"),
        *("MAE: methods, one person", "MAE: people, one method"),
    ]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for kind in RADIATIONS:
        own = _of(rows, kind)
        made = [row for row in own if row["arm"] not in KNOWN]
        for key in _measured(own):
            cells = [
                _both(*across_arms(own, "mae_hu", key)),
                _both(*across_arms(made, "mae_hu", key)),
                _both(*across_arms(made, "bone_dice", key)),
                _spread(list(within_people(made, "mae_hu", key))),
                _spread(list(within_arms(made, "mae_hu", key))),
            ]
            lines.append(f"| {kind}: {MEASURES[key][0]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def across_arms(rows: Rows, image: str, key: str) -> tuple[float, float]:
    """Spearman's rho and Kendall's tau over arms, of means over people; the size of a signed figure is averaged.

    Args:
        rows: Of one radiation.
        image: ``mae_hu`` or ``bone_dice``.
        key: Of `MEASURES`.
    """
    arms = [[_pair(row, image, key) for row in rows if row["arm"] == arm] for arm in _names(rows)]
    one, other = zip(*(np.mean(pairs, axis=0) for pairs in arms), strict=True)
    return _rank(list(zip(one, other, strict=True)))


def within_people(rows: Rows, image: str, key: str) -> Iterator[float]:
    """Spearman's rho over the arms of each person."""
    for case in sorted({row["case"] for row in rows}):
        yield _rank([_pair(row, image, key) for row in rows if row["case"] == case])[0]


def within_arms(rows: Rows, image: str, key: str) -> Iterator[float]:
    """Spearman's rho over the people of each arm that has at least five."""
    for arm in _names(rows):
        pairs = [_pair(row, image, key) for row in rows if row["arm"] == arm]
        if len(pairs) >= FEWEST_PEOPLE:
            yield _rank(pairs)[0]


def _pair(row: dict[str, Any], image: str, key: str) -> tuple[float, float]:
    return IMAGE[image](row[image]), MEASURES[key][1](row[key])


def _rank(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    one, other = zip(*pairs, strict=True)
    return float(spearmanr(one, other)[0]), float(kendalltau(one, other)[0])


def _names(rows: Rows) -> list[str]:
    return list(dict.fromkeys(row["arm"] for row in rows))


def _mean(rows: Rows, arm: str, key: str) -> float:
    return float(np.mean([row[key] for row in rows if row["arm"] == arm]))


def _measured(rows: Rows) -> list[str]:
    """Photons have no ranges."""
    return [key for key in MEASURES if all(row.get(key) is not None for row in rows)]


def _of(rows: Rows, radiation: str) -> Rows:
    return [row for row in rows if row["radiation"] == radiation]


def _written(key: str, value: float) -> str:
    if key == "mae_hu":
        return f"{value:.0f}"
    if key in ("mean_difference_percent", "range_mean_mm"):
        return f"{value:+.2f}"
    return f"{value:.1f}" if key == "gamma_percent" else f"{value:.2f}"


def _both(rho: float, tau: float) -> str:
    return f"{rho:.2f} / {tau:.2f}"


def _spread(values: list[float]) -> str:
    return f"{np.median(values):.2f} ({min(values):.2f} to {max(values):.2f})" if values else ""


def main() -> None:
    """Print the tables of all regions."""
    for file in sorted(RESULTS.glob("*.json")):
        print(tables(file), end="\n\n")


if __name__ == "__main__":
    main()
