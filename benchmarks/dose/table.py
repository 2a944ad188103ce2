"""The tables of docs/concepts/dose.md, and how far MAE and bone Dice rank sCTs as dose does.

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

Rows = list[dict[str, Any]]


def tables(file: Path) -> str:
    """All tables of one region, in Markdown."""
    rows: Rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
    parts = [f"## {file.stem}: {len({row['case'] for row in rows})} people, {_minutes(rows):.0f} CPU minutes"]
    for radiation in ("photons", "protons"):
        own = [row for row in rows if row["radiation"] == radiation and "refused" not in row]
        parts += [f"### {radiation}", means_table(own, rows), correlation_table(own)]
    parts += [f"refused: {row['arm']}, {row['case']}: {row['refused']}" for row in rows if "refused" in row]
    return "\n\n".join(parts)


def means_table(own: Rows, every: Rows) -> str:
    """Means over people of each arm, by rising MAE."""
    keys = ["mae_hu", "bone_dice", *_measured(own)]
    titles = ["MAE, HU", "bone Dice", *(MEASURES[key][0] for key in keys[2:])]
    lines = [f"| sCT | people | {' | '.join(titles)} |", "|---" * (len(keys) + 2) + "|"]
    people = len({row["case"] for row in every})
    for arm in sorted(_names(own), key=lambda name: _mean(own, name, "mae_hu")):
        count = sum(row["arm"] == arm for row in own)
        cells = [arm, f"{count} of {people}", *(_written(key, _mean(own, arm, key)) for key in keys)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def correlation_table(own: Rows) -> str:
    """Spearman's and Kendall's rank correlation of MAE and of bone Dice with each dose figure."""
    titles = [MEASURES[key][0] for key in _measured(own)]
    lines = [f"| ranking | by | {' | '.join(titles)} |", "|---" * (len(titles) + 2) + "|"]
    made = [row for row in own if row["arm"] not in KNOWN]
    for image in IMAGE:
        sets: dict[str, list[str]] = {
            "across arms": [_both(*across_arms(own, image, key)) for key in _measured(own)],
            "across arms, without known errors": [_both(*across_arms(made, image, key)) for key in _measured(own)],
            "arms of one person": [_spread(list(within_people(own, image, key))) for key in _measured(own)],
            "people of one arm, without known errors": [
                _spread(list(within_arms(made, image, key))) for key in _measured(own)
            ],
        }
        lines += [f"| {name} | {image} | {' | '.join(cells)} |" for name, cells in sets.items()]
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
        if len(pairs) >= 5 and len(set(pairs)) > 1 and len({one for one, _ in pairs}) > 1:
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


def _minutes(rows: Rows) -> float:
    return sum(float(row["cpu_seconds"]) for row in rows) / 60


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
