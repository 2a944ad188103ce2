"""The training curves of a run: which columns belong in one chart, and all of them in one figure."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from creps.figures.picture import Picture, rendered

__all__ = ["LOSSES", "TIME", "VALIDATION", "averaged", "curves_figure"]

LOSSES: dict[str, tuple[str, ...]] = {
    "pairs": ("supervised", "simulated"),
    "discriminators": ("d_real", "d_fake", "r1", "d_real_mr", "d_fake_mr", "r1_mr"),
    "generator, adversarial": ("adversarial", "adversarial_mr"),
    "generator, style": ("style",),
    "generator, content": ("content",),
    "generator, cycle and identity": ("cycle_mr", "cycle_ct", "identity_mr", "identity_ct"),
    "generator, contrastive": ("nce", "nce_identity"),
}
"""Title of a chart → columns of ``curves.csv``: unweighted loss terms."""

VALIDATION: dict[str, tuple[tuple[str, ...], str]] = {
    "validation without pairs": (
        (
            *("validation_score", "simulated_error_hu", "place_distance_hu", "disagreement_hu"),
            "train_eval_difference_hu",
        ),
        "HU",
    ),
    "ratios of sCT to CT": (("bone_ratio", "spread_ratio"), "ratio"),
}
"""Title of a chart → columns of ``curves.csv`` and what they measure."""

TIME = "seconds_per_step"

WEIGHTED = ("style",)
"""Columns that the figure shows times their weight, which is measured in the run's first steps."""

SMOOTH = 200
"""Points drawn per curve, approximately; more are averaged in groups."""


def curves_figure(curves: Path, title: str = "") -> Picture:
    """Draw the columns of ``curves.csv`` over the steps.

    Args:
        curves: The file.
        title: The text above the panels.

    Returns:
        The figure, (rows, columns, 3).
    """
    from matplotlib.figure import Figure

    with curves.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    panels = (
        LOSSES | {f"{title} ({unit})": columns for title, (columns, unit) in VALIDATION.items()} | {"time": (TIME,)}
    )
    shown = {title: [c for c in columns if any(row.get(c) for row in rows)] for title, columns in panels.items()}
    shown = {title: columns for title, columns in shown.items() if columns}
    figure = Figure(figsize=(11, 2.6 * -(-max(1, len(shown)) // 2)), layout="constrained")
    axes = figure.subplots(-(-max(1, len(shown)) // 2), 2, squeeze=False).flat
    for (name, columns), axis in zip(shown.items(), axes, strict=False):
        for column in columns:
            steps, values = _points(rows, column)
            label = f"{column} × weight" if column in WEIGHTED else column
            axis.plot(steps, values, label=label, linewidth=1.2, marker="." if len(steps) < 30 else None)
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("step", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    for axis in axes:  # unused panels of the last row
        axis.axis("off")
    figure.suptitle(title, fontsize=10)
    return rendered(figure, dpi=90)


def _points(rows: list[dict[str, str]], column: str) -> tuple[list[float], list[float]]:
    """Steps and values of a column, averaged in groups if there are more than `SMOOTH`."""
    points = []
    for row in rows:
        if row.get(column):
            weight = float(row.get(f"{column}_weight") or 1) if column in WEIGHTED else 1.0
            points.append((float(row["step"]), weight * float(row[column])))
    return averaged(points, SMOOTH)


def averaged(points: Sequence[tuple[float, float]], most: int) -> tuple[list[float], list[float]]:
    """Steps and values of a curve, averaged in groups so that about `most` are left.

    Args:
        points: (step, value) in order.
        most: About how many are left; fewer are returned as they are.
    """
    size = max(1, len(points) // most)
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [group[-1][0] for group in groups], [sum(value for _, value in group) / len(group) for group in groups]
