"""Tables of the results page, as lines of Markdown."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.accuracy.pictures import WATER, by_arm, mean_of, values_of
from benchmarks.accuracy.plan import ARMS
from creps.metrics.statistics import paired_comparison

MAIN = {
    "mae_hu": ("MAE (HU)", ".1f"),
    "mae_with_noise_hu": ("with CT noise", ".1f"),
    "bias_hu": ("bias (HU)", "+.1f"),
    "bone_dice": ("bone Dice", ".3f"),
    "bone_hd95_mm": ("bone HD95 (mm)", ".1f"),
    "air_dice": ("air Dice", ".3f"),
    "synthrad2023_psnr_db": ("PSNR 2023 (dB)", ".2f"),
    "synthrad2023_ssim": ("SSIM 2023", ".3f"),
    "synthrad2025_ms_ssim": ("MS-SSIM 2025", ".3f"),
    "edge_sharpness": ("sharpness", ".2f"),
    "histogram_distance_hu": ("histogram (HU)", ".0f"),
}
"""Columns of the main table: name, title, format."""

REFERENCE = "paper-vgg16"
"""The arm that the others are tested against, chosen before any result."""

PLUS_MINUS = "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}"  # a mean and its spread stay on one line

TISSUES = ("air", "fat", "soft", "muscle", "brain", "spongy_bone", "cortical_bone", "other")


def conditions(result: dict[str, Any]) -> list[str]:
    """Who, on what, with which versions."""
    patients = ", ".join(f"{count} {part}" for part, count in result["cohort"]["patients"].items())
    phantom = ", ".join(f"{key} {value}" for key, value in result["cohort"]["phantom"].items())
    versions = ", ".join(f"{name} {result['versions'][name]}" for name in ("creps", "python", "torch"))
    machine = result["machine"]
    return [
        f"- Patients: {patients}." + (f" Digital phantoms ({phantom})." if phantom else ""),
        f"- Machine: {machine['cores']} cores, {machine['processor']}; {versions}; {result['created'][:10]}.",
    ]


def summary_table(results: dict[str, dict[str, Any]], titles: dict[str, str]) -> list[str]:
    """A row for each method, a column for each cohort: MAE and bone Dice, mean over patients and seeds."""
    methods: dict[str, dict[str, str]] = {}
    for name, result in results.items():
        named = [(run["arm"], [run]) for run in result["runs"] if run["arm"] not in ARMS["arms"]]
        for title, runs in named + [(title_of(arm), runs) for arm, runs in by_arm(result)]:
            mae, dice = (statistics.mean(mean_of(run, key) for run in runs) for key in ("mae_hu", "bone_dice"))
            methods.setdefault(title, {})[name] = f"{mae:.0f} / {dice:.2f}"
    head = ["MAE (HU) / bone Dice", *[titles.get(name, name) for name in results]]
    return table([head, *[[title, *[cells.get(name, "–") for name in results]] for title, cells in methods.items()]])


def main_table(result: dict[str, Any], patients: str) -> list[str]:
    """A row for each baseline and arm: mean over patients and seeds, ± the spread of the seeds' means."""
    columns = MAIN if patients == "patients" else {key: MAIN[key] for key in ("mae_hu", "bias_hu", "bone_dice")}
    rows = [["method", "seeds", "collapsed", "steps", "core min", *[title for title, _ in columns.values()]]]
    if patients == "patients":
        untrained = [run for run in result["runs"] if run["arm"] not in ARMS["arms"]]
        rows += [[run["arm"], "–", "–", "–", "–", *_cells([run], columns, patients)] for run in untrained]
    for arm, runs in by_arm(result):
        have = [run for run in runs if patients in run]
        if not have:
            continue
        pace = result["core_seconds_per_step"].get(arm)
        steps = have[0]["steps"] if patients == "patients" else have[0]["common_steps"]
        minutes = f"{steps * pace / 60:.1f}" if pace else "?"
        gone = str(sum(collapsed(run, result, patients) for run in have))
        rows.append([title_of(arm), str(len(have)), gone, str(steps), minutes, *_cells(have, columns, patients)])
    return table(rows)


def collapsed(run: dict[str, Any], result: dict[str, Any], patients: str = "patients") -> bool:
    """No bone worth the name, or an error of more than twice that of constant water."""
    water = [mean_of(one, "mae_hu") for one in result["runs"] if one["arm"] == WATER]
    return mean_of(run, "bone_dice", patients) < 0.05 or bool(water and mean_of(run, "mae_hu", patients) > 2 * water[0])


def _cells(runs: Sequence[dict[str, Any]], columns: dict[str, tuple[str, str]], patients: str) -> list[str]:
    """Means over patients and seeds; how many patients lack a figure is said, as leaving them out flatters."""
    cells = []
    for name, (_, form) in columns.items():
        known = [values_of(run, name, patients) for run in runs]
        means = [statistics.mean(values) for values in known if values]
        lacking = sum(len(run[patients]) for run in runs) - sum(map(len, known))
        beside = f" ({lacking} missing)" if lacking and means else ""
        spread = f"{PLUS_MINUS}{statistics.stdev(means):{form.lstrip('+')}}" if len(means) > 1 else ""
        cells.append(f"{statistics.mean(means):{form}}{spread}{beside}" if means else "–")
    return cells


def tissue_table(result: dict[str, Any]) -> list[str]:
    """MAE and bias by tissue of the truth, mean over patients and seeds."""
    tissues = [t for t in TISSUES if any(_has(run, f"mae_{t}_hu") for run in result["runs"])]
    rows = [["MAE / bias (HU)", *[tissue.replace("_", " ") for tissue in tissues]]]
    named = [(run["arm"], [run]) for run in result["runs"] if run["arm"] not in ARMS["arms"]]
    named += [(title_of(arm), runs) for arm, runs in by_arm(result)]
    for title, runs in named:
        cells = []
        for tissue in tissues:
            mae, bias = (
                statistics.mean(mean_of(run, f"{kind}_{tissue}_hu") for run in runs) for kind in ("mae", "bias")
            )
            cells.append(f"{mae:.0f} / {bias:+.0f}")
        rows.append([title, *cells])
    return table(rows)


def _has(run: dict[str, Any], name: str) -> bool:
    return any(one["values"].get(name) is not None for one in run["patients"].values())


def paired_table(result: dict[str, Any]) -> list[str]:
    """Every other arm against the paper's, on the same patients, each the mean over seeds."""
    maes = {arm: _patient_means(runs) for arm, runs in by_arm(result)}
    if REFERENCE not in maes:
        return []
    rows = [["arm", f"MAE minus that of {title_of(REFERENCE)} (HU)", "95 % interval", "p", "p, Holm", "patients"]]
    tests = {}
    for arm, values in maes.items():
        shared = sorted(values.keys() & maes[REFERENCE].keys())
        if arm != REFERENCE and shared:
            tests[arm] = paired_comparison([values[p] for p in shared], [maes[REFERENCE][p] for p in shared])
    corrected = holm({arm: test.p_value for arm, test in tests.items() if test.p_value is not None})
    for arm, test in tests.items():
        interval = "–" if test.interval is None else f"{test.interval.low:+.1f} to {test.interval.high:+.1f}"
        p_values = [f"{p:.3f}" if p is not None else "–" for p in (test.p_value, corrected.get(arm))]
        rows.append([title_of(arm), f"{test.mean_difference:+.1f}", interval, *p_values, str(test.patients)])
    return table(rows)


def holm(p_values: dict[str, float]) -> dict[str, float]:
    """P values corrected for their number (Holm 1979)."""
    corrected, highest = {}, 0.0
    for place, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, (len(p_values) - place) * p))
        corrected[name] = highest
    return corrected


def _patient_means(runs: Sequence[dict[str, Any]]) -> dict[str, float]:
    shared = set.intersection(*[set(run["patients"]) for run in runs])
    return {name: statistics.mean(run["patients"][name]["values"]["mae_hu"] for run in runs) for name in shared}


def title_of(arm: str) -> str:
    """What an arm is called in tables."""
    return str(ARMS["arms"][arm]["title"])


def fusion_table(result: dict[str, Any]) -> list[str]:
    """MAE, bias and bone Dice of each fusion, means over seeds."""
    fusions = list(dict.fromkeys(row["fusion"] for row in result["fusion"]))
    rows = [["MAE / bias (HU) / bone Dice", *[fusion.replace("_", " ") for fusion in fusions]]]
    for arm in dict.fromkeys(row["arm"] for row in result["fusion"]):
        cells = []
        for fusion in fusions:
            found = [row for row in result["fusion"] if (row["arm"], row["fusion"]) == (arm, fusion)]
            mae, bias = (statistics.mean(row[name] for row in found) for name in ("mae_hu", "bias_hu"))
            dices = [row["bone_dice"] for row in found if row["bone_dice"] is not None]
            cells.append(
                f"{mae:.1f} / {bias:+.1f} / {statistics.mean(dices):.3f}" if dices else f"{mae:.1f} / {bias:+.1f}"
            )
        rows.append([title_of(arm), *cells])
    return table(rows)


def bias_by_coverage(result: dict[str, Any]) -> list[str]:
    """Signed bias of the upper median and of the median by how many patches predict a voxel, means over seeds."""
    counts = sorted({int(c) for row in result["fusion"] for c in row["bias_by_coverage"]})
    rows = [["bias of the upper median / of the median (HU)", *[f"{count} predictions" for count in counts]]]
    for arm in dict.fromkeys(row["arm"] for row in result["fusion"]):
        cells = []
        for count in counts:
            biases = [_bias(result, arm, fusion, str(count)) for fusion in ("upper_median", "median")]
            cells.append(" / ".join(f"{bias:+.0f}" for bias in biases) if biases[0] == biases[0] else "–")
        rows.append([title_of(arm), *cells])
    return table(rows)


def _bias(result: dict[str, Any], arm: str, fusion: str, count: str) -> float:
    rows = [row["bias_by_coverage"] for row in result["fusion"] if (row["arm"], row["fusion"]) == (arm, fusion)]
    return statistics.mean([row[count]["bias_hu"] for row in rows if count in row] or [math.nan])


def real_pair_table(result: dict[str, Any]) -> list[str]:
    """Scores on real pairs; how each was aligned stands in its title."""
    rows = [["pair", "method", "MAE (HU)", "bias (HU)", "bone Dice"]]
    for pair in result["pairs"]:
        for method, values in pair["scores"].items():
            dice = "–" if values["bone_dice"] is None else f"{values['bone_dice']:.3f}"
            rows.append([pair["title"], method, f"{values['mae_hu']:.1f}", f"{values['bias_hu']:+.1f}", dice])
    return table(rows)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells, the first one the head, as a Markdown table."""
    head, *body = rows
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *body)]
