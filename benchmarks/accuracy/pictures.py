"""The benchmark's pictures: curves over wall time, and each arm's median and worst patient."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.accuracy.plan import ARMS, Plan
from creps import read_volume
from creps.figures import BONE_WINDOW_HU, Panel, comparison_figure, mr_window
from creps.io.atomic import atomic_file
from creps.io.picture import write_picture

COLOURS = {
    "supervised": "#000000",
    "adversarial": "#999999",
    "paper-random": "#56b4e9",
    "paper-vgg16": "#0072b2",
    "cyclegan": "#d55e00",
    "cut": "#009e73",
}
"""Okabe and Ito's colours, told apart by everybody."""

SHOWN = {"mae_hu": "MAE (HU)", "bone_dice": "bone Dice"}
WATER = "constant water"


def draw_curves(result: dict[str, Any], path: Path) -> None:
    """Validation figures over minutes of one core: a thin line for each seed, a thick one for their mean."""
    figure = Figure(figsize=(13, 4.2))
    FigureCanvasAgg(figure)
    for axis, (figure_name, label) in zip(figure.subplots(1, 2), SHOWN.items(), strict=True):
        for arm, runs in by_arm(result):
            pace = result["core_seconds_per_step"].get(arm)
            if pace is None or not any(run.get("curve") for run in runs):
                continue
            colour = COLOURS.get(arm, "#cc79a7")
            lines = [{p["steps"] * pace / 60: p[figure_name] for p in run["curve"] if figure_name in p} for run in runs]
            for line in lines:
                axis.plot(list(line), list(line.values()), color=colour, alpha=0.25, linewidth=0.8)
            minutes = sorted(set.intersection(*[set(line) for line in lines]))
            mean = [statistics.mean(line[minute] for line in lines) for minute in minutes]
            axis.plot(minutes, mean, color=colour, linewidth=2, label=ARMS["arms"][arm]["title"])
        water = [run for run in result["runs"] if run["arm"] == WATER]
        if water:
            axis.axhline(
                mean_of(water[0], figure_name), color="#bbbbbb", linestyle=":", label=f"{WATER} (test patients)"
            )
        axis.set_xlabel("minutes of one core")
        axis.set_ylabel(f"{label}, validation patients")
        axis.grid(alpha=0.3)
    figure.axes[0].set_ylim(0, min(700, figure.axes[0].get_ylim()[1]))
    figure.axes[1].set_ylim(0, 1)
    figure.axes[1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))
    kind = "digital phantoms" if result["cohort"]["phantom"] else "patients"
    figure.suptitle(f"{result['region']}, {kind}, {result['size']} setting. Not for diagnosis.", fontsize=10)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=110)


def draw_patients(plan: Plan, result: dict[str, Any], path: Path) -> None:
    """A row for each arm: MR, sCT and truth of the median and the worst patient of its median seed."""
    rows = []
    for arm, runs in by_arm(result):
        run = sorted(runs, key=lambda one: mean_of(one, "mae_hu"))[len(runs) // 2]
        order = sorted(run["patients"], key=lambda name: run["patients"][name]["values"]["mae_hu"])
        rows.append(
            [
                panel
                for kind, name in (("median", order[len(order) // 2]), ("worst", order[-1]))
                for panel in _panels(plan, run, name, f"{ARMS['arms'][arm]['title']}, {kind}")
            ]
        )
    if rows:
        figure = comparison_figure(rows, f"Median and worst test patient of each arm ({plan.region})", planes=(0, 2))
        write_picture(figure, path)
        with Image.open(path) as picture:
            small = picture.convert("L").resize((3 * picture.width // 4, 3 * picture.height // 4)).quantize(64)
        with atomic_file(path) as temporary:
            small.save(temporary, optimize=True)


def _panels(plan: Plan, run: dict[str, Any], name: str, title: str) -> list[Panel]:
    case = plan.cohort / "test" / name
    mr, ct = read_volume(case / "mr.nii.gz"), read_volume(case / "ct.nii.gz")
    sct = read_volume(plan.work / "sct" / run["run"] / f"{name}_sct.nii.gz")
    mae = run["patients"][name]["values"]["mae_hu"]
    return [
        Panel(mr, f"MR {name}", mr_window(mr)),
        Panel(sct, f"{title}: {mae:.0f} HU", BONE_WINDOW_HU),
        Panel(ct, "true CT", BONE_WINDOW_HU),
    ]


def by_arm(result: dict[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The trained arms in the plan's order, each with the runs of its seeds."""
    for arm in ARMS["arms"]:
        runs = [run for run in result["runs"] if run["arm"] == arm]
        if runs:
            yield arm, runs


def values_of(run: dict[str, Any], name: str, patients: str = "patients") -> list[float]:
    """A figure of those of a run's patients that have it."""
    values = [one[name] if name in one else one["values"].get(name) for one in run[patients].values()]
    return [value for value in values if value is not None]


def mean_of(run: dict[str, Any], name: str, patients: str = "patients") -> float:
    """The mean of a figure over a run's patients that have it; NaN if none has."""
    return statistics.mean(values_of(run, name, patients) or [math.nan])
