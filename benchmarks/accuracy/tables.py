"""Tables of the results page, as lines of Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from pictures import WATER, by_arm, mean_of
from plan import ARMS

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
        rows.append(
            [ARMS["arms"][arm]["title"], str(len(have)), gone, str(steps), minutes, *_cells(have, columns, patients)]
        )
    return table(rows)


def collapsed(run: dict[str, Any], result: dict[str, Any], patients: str = "patients") -> bool:
    """No bone worth the name, or an error of more than twice that of constant water."""
    water = [mean_of(one, "mae_hu") for one in result["runs"] if one["arm"] == WATER]
    return mean_of(run, "bone_dice", patients) < 0.05 or bool(water and mean_of(run, "mae_hu", patients) > 2 * water[0])


def _cells(runs: Sequence[dict[str, Any]], columns: dict[str, tuple[str, str]], patients: str) -> list[str]:
    cells = []
    for name, (_, form) in columns.items():
        means = [_mean(run, name, patients) for run in runs]
        means = [value for value in means if value == value]
        if not means:
            cells.append("–")
        elif len(means) == 1:
            cells.append(format(means[0], form))
        else:
            cells.append(f"{statistics.mean(means):{form}} ± {statistics.stdev(means):{form.lstrip('+')}}")
    return cells


def _mean(run: dict[str, Any], name: str, patients: str) -> float:
    if name == "mae_with_noise_hu":
        return statistics.mean(one[name] for one in run[patients].values())
    return mean_of(run, name, patients)


def tissue_table(result: dict[str, Any]) -> list[str]:
    """MAE and bias by tissue of the truth, mean over patients and seeds."""
    tissues = [t for t in TISSUES if any(_has(run, f"mae_{t}_hu") for run in result["runs"])]
    rows = [["MAE / bias (HU)", *[tissue.replace("_", " ") for tissue in tissues]]]
    named = [(run["arm"], [run]) for run in result["runs"] if run["arm"] not in ARMS["arms"]]
    named += [(ARMS["arms"][arm]["title"], runs) for arm, runs in by_arm(result)]
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
    """Each arm against the best unpaired one: MAE of the same patients, each the mean over seeds."""
    maes = {arm: _patient_means(runs) for arm, runs in by_arm(result)}
    unpaired = [arm for arm in maes if ARMS["arms"][arm].get("data") != "paired"]
    if len(unpaired) < 2:
        return []
    best = min(unpaired, key=lambda arm: statistics.mean(maes[arm].values()))
    rows = [["arm", f"MAE minus that of {ARMS['arms'][best]['title']} (HU)", "95 % interval", "Wilcoxon p", "patients"]]
    for arm, values in maes.items():
        if arm != best:
            patients = sorted(values)
            test = paired_comparison([values[p] for p in patients], [maes[best][p] for p in patients])
            interval = "–" if test.interval is None else f"{test.interval.low:+.1f} to {test.interval.high:+.1f}"
            p_value = "–" if test.p_value is None else f"{test.p_value:.3f}"
            rows.append(
                [ARMS["arms"][arm]["title"], f"{test.mean_difference:+.1f}", interval, p_value, str(len(patients))]
            )
    return table(rows)


def _patient_means(runs: Sequence[dict[str, Any]]) -> dict[str, float]:
    return {
        name: statistics.mean(run["patients"][name]["values"]["mae_hu"] for run in runs) for name in runs[0]["patients"]
    }


def fusion_table(result: dict[str, Any]) -> list[str]:
    """MAE, bias and bone Dice of each fusion."""
    fusions = list(dict.fromkeys(row["fusion"] for row in result["fusion"]))
    rows = [["MAE / bias (HU) / bone Dice", *[fusion.replace("_", " ") for fusion in fusions]]]
    for arm in dict.fromkeys(row["arm"] for row in result["fusion"]):
        cells = []
        for fusion in fusions:
            found = [row for row in result["fusion"] if (row["arm"], row["fusion"]) == (arm, fusion)]
            mae, bias, dice = (
                statistics.mean(row[name] for row in found) for name in ("mae_hu", "bias_hu", "bone_dice")
            )
            cells.append(f"{mae:.1f} / {bias:+.1f} / {dice:.3f}")
        rows.append([ARMS["arms"][arm]["title"], *cells])
    return table(rows)


def bias_by_coverage(result: dict[str, Any]) -> list[str]:
    """Signed bias of the upper median minus that of the median, by how many patches predict a voxel."""
    rows_of = {(row["arm"], row["fusion"]): row for row in result["fusion"]}
    arms = list(dict.fromkeys(row["arm"] for row in result["fusion"]))
    counts = sorted({int(c) for row in result["fusion"] for c in row["bias_by_coverage"]})
    rows = [["bias of the upper median / of the median (HU)", *[f"{count} predictions" for count in counts]]]
    for arm in arms:
        cells = []
        for count in counts:
            pair = [rows_of[arm, fusion]["bias_by_coverage"].get(str(count)) for fusion in ("upper_median", "median")]
            cells.append("–" if None in pair else " / ".join(f"{one['bias_hu']:+.0f}" for one in pair))
        rows.append([ARMS["arms"][arm]["title"], *cells])
    return table(rows)


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
