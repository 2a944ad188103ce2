"""How far the choice of a label-free score lies from the best, checkpoint by checkpoint.

    python -m benchmarks.score.regret measure COHORT WORK OUT.json
    python -m benchmarks.score.regret judge HEAD.json PELVIS.json

`measure` takes some checkpoints of every run below WORK/runs (benchmarks/accuracy), computes the parts on three
MRs and three CTs of WORK/prepared/unpaired (the last ones; all runs but the supervised were trained on them), and the
true MAE on patients of COHORT/validation. It goes on where it was stopped. `judge` says what choosing by each part
costs, into benchmarks/score/results.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from benchmarks.accuracy.score import brief, checkpoints, quickly
from benchmarks.score.candidates import Candidates
from creps import load, read_volume
from creps.cohort.cohort import Cohort, load_cohort
from creps.io.atomic import write_json
from creps.label_free.score import BLANK, combined
from creps.provenance import provenance

POINTS, PATIENTS, HELD_OUT = 4, 2, 3
RESULTS = Path(__file__).parent / "results"
PARTS_OF_TRUTH = ("mae_hu", "bone_dice")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    verbs = arguments.add_subparsers(required=True)
    measuring = verbs.add_parser("measure")
    for name in ("cohort", "work", "out"):
        measuring.add_argument(name, type=Path)
    measuring.set_defaults(call=measure)
    judging = verbs.add_parser("judge")
    judging.add_argument("measured", type=Path, nargs="+")
    judging.set_defaults(call=judge)
    chosen = vars(arguments.parse_args())
    chosen.pop("call")(**chosen)


def measure(cohort: Path, work: Path, out: Path) -> None:
    """Write the parts and the true error of every run's checkpoints."""
    torch.set_num_threads(1)
    found = json.loads(out.read_text(encoding="utf-8"))["runs"] if out.is_file() else {}
    held_out = hold_out(load_cohort(work / "prepared" / "unpaired"))
    looking: dict[tuple[int, int, int], Candidates] = {}
    for run in sorted(path for path in (work / "runs").iterdir() if path.is_dir()):
        known = found.setdefault(run.name, {})
        scored = scored_before(work, run)
        for steps, path in spread(checkpoints(run), scored).items():
            if str(steps) in known:
                continue
            started, model = time.perf_counter(), load(path)
            size = model.plan.patch_size
            if size not in looking:
                looking[size] = Candidates(held_out, size)
            known[str(steps)] = {
                "parts": looking[size](model.generator),
                "true": scored.get(steps) or truth(model, cohort),
            }
            write_json(out, {**provenance(), "runs": found})
            print(run.name, steps, known[str(steps)]["true"], f"{time.perf_counter() - started:.1f} s", flush=True)


def hold_out(cohort: Cohort) -> Cohort:
    """The cohort with its last cases for validation, if it has none."""
    if cohort.cases("mr", "validation"):
        return cohort
    names = {(c.modality, c.case) for m in ("mr", "ct") for c in cohort.cases(m, "train")[-HELD_OUT:]}
    cases = tuple(
        c.model_copy(update={"split": "validation"}) if (c.modality, c.case) in names else c
        for c in cohort.manifest.cases
    )
    return Cohort(cohort.folder, cohort.manifest.model_copy(update={"cases": cases}))


def scored_before(work: Path, run: Path) -> dict[int, dict[str, float]]:
    """Steps → figures of validation patients that benchmarks/accuracy/score.py found."""
    file = work / "scores" / f"{run.name}.json"
    curve = json.loads(file.read_text(encoding="utf-8"))["curve"] if file.is_file() else []
    return {point["steps"]: {name: point.get(name, float("nan")) for name in PARTS_OF_TRUTH} for point in curve}


def spread(found: dict[int, Path], scored: dict[int, dict[str, float]]) -> dict[int, Path]:
    """The checkpoints that are scored already, or some from the first to the last."""
    steps = sorted(set(found) & set(scored)) or sorted(found)
    wanted = len(steps) if scored else min(POINTS, len(steps))
    return {steps[round(i)]: found[steps[round(i)]] for i in np.linspace(0, len(steps) - 1, wanted)} if steps else {}


def truth(model: Any, cohort: Path) -> dict[str, float]:
    """Mean figures of validation patients against the truth."""
    cases = sorted(path for path in (cohort / "validation").iterdir() if path.is_dir())[:PATIENTS]
    scores = [brief(case, quickly(model, read_volume(case / "mr.nii.gz"))) for case in cases]
    return {n: float(np.mean([s[n] for s in scores if s[n] is not None] or [np.nan])) for n in PARTS_OF_TRUTH}


def judge(measured: list[Path]) -> None:
    """Write regrets and rank correlations of every part, as JSON and as a table."""
    lines = []
    for file in measured:
        found = json.loads(file.read_text(encoding="utf-8"))
        runs = {name: run for name, run in found["runs"].items() if run}
        for point in (point for run in runs.values() for point in run.values()):
            point["parts"].pop("validation_score", None)
            point["parts"] = combinations(point["parts"]) | point["parts"]
        shown = {name: kept for name, run in runs.items() if (kept := without_blank(run))}
        result = {"all": verdicts(runs), "without_blank": verdicts(shown)}
        versions = {key: found[key] for key in ("created", "versions") if key in found}
        write_json(RESULTS / file.name, {**provenance(), "measured_with": versions, "verdicts": result, "runs": runs})
        for title, kept in (("all checkpoints", runs), ("without blank ones", shown)):
            count = f"{len(kept)} runs, {sum(map(len, kept.values()))} checkpoints"
            lines += [f"## {file.stem}, {title}: {count}", "", *table(verdicts(kept)), ""]
    (RESULTS / "table.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


def without_blank(run: dict[str, Any]) -> dict[str, Any]:
    """The checkpoints whose sCT is an image: nearly constant HU have a low MAE where all others are bad."""
    return {steps: point for steps, point in run.items() if point["parts"]["spread_ratio"] >= BLANK}


def combinations(parts: dict[str, Any]) -> dict[str, float]:
    """The product's score and what was weighed against it."""
    place, disagreement = (filled(parts[name]) for name in ("place_distance_hu", "disagreement_hu"))
    plain = place + disagreement
    return {
        "score": combined(place, disagreement, parts["spread_ratio"]),
        "place + disagreement": plain,
        "place + disagreement + texture": plain + filled(parts["texture"]),
        "place + disagreement + simulated / 2": plain + filled(parts["simulated"]) / 2,
    }


def verdicts(runs: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Rule of choice → what it costs and how it ranks."""
    several = [list(run.values()) for run in runs.values() if len(run) > 1]
    points = [point for run in runs.values() for point in run.values()]
    result = {"take the last": summary([regret(run, -1) for run in several])}
    for part in points[0]["parts"]:
        chosen = [regret(run, int(np.argmin([filled(point["parts"][part]) for point in run]))) for run in several]
        result[part] = summary(chosen) | {
            "rank_correlation_over_all": rank(points, part),
            "rank_correlation_over_last_checkpoints": rank([list(run.values())[-1] for run in runs.values()], part),
            "regret_over_all_unpaired_runs": regret_over_runs(runs, part),
        }
    return result


def regret(run: list[dict[str, Any]], number: int) -> float:
    """True error of a checkpoint over that of the run's best one."""
    errors = [point["true"]["mae_hu"] for point in run]
    return float(errors[number] / min(errors))


def regret_over_runs(runs: dict[str, Any], part: str) -> float:
    """The same when one checkpoint is chosen of all runs without pairs."""
    return regret(
        points := [point for name, run in runs.items() if "supervised" not in name for point in run.values()],
        int(np.argmin([filled(point["parts"][part]) for point in points])),
    )


def summary(regrets: list[float]) -> dict[str, float]:
    values = np.array(regrets)
    return {
        "mean_regret": float(values.mean()),
        "largest_regret": float(values.max()),
        "share_within_1_05": float((values <= 1.05).mean()),
    }


def rank(points: list[dict[str, Any]], part: str) -> float:
    """Spearman's correlation of a part with the true error."""
    values = [filled(point["parts"][part]) for point in points]
    if len(set(values)) < 2:
        return float("nan")
    return float(spearmanr(values, [point["true"]["mae_hu"] for point in points]).statistic)


def filled(value: float | None) -> float:
    return float("inf") if value is None or np.isnan(value) else value


def table(result: dict[str, dict[str, float]]) -> list[str]:
    titles = ("mean regret", "largest", "share ≤ 1.05", "rank, all", "rank, last", "regret over runs")
    rows = [f"| Choose by | {' | '.join(titles)} |", "|---|" + "---|" * len(titles)]
    for name, verdict in result.items():
        cells = [f"{value:.2f}" if np.isfinite(value) else "" for value in verdict.values()]
        rows.append(f"| {name} | {' | '.join(cells + [''] * (len(titles) - len(cells)))} |")
    return rows


if __name__ == "__main__":
    main()
