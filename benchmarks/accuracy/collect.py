"""From a work folder to what is kept: one result file and pictures, from which `page.py` writes the page.

    python -m benchmarks.accuracy.collect COHORT WORK --region head [--label long]

Writes `benchmarks/accuracy/results/REGION-SIZE[-LABEL].json` (every figure of every patient of every run) and
`docs/pictures/accuracy-REGION-SIZE[-LABEL]-*.png`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from benchmarks.accuracy.options import parser, plan_of
from benchmarks.accuracy.pictures import draw_curves, draw_patients
from benchmarks.accuracy.plan import ARMS, Plan
from benchmarks.accuracy.score import load_scores
from benchmarks.common.machine import processor
from creps.io.atomic import write_json
from creps.provenance import provenance

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PROVENANCE = ("notice", "versions", "machine")
PICTURES = HERE.parents[1] / "docs" / "pictures"


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--label", help="added to the files' names, for runs of another length")
    chosen = arguments.parse_args()
    plan = plan_of(chosen)
    name = "-".join(filter(None, (plan.region, plan.size, chosen.label)))
    runs = load_scores(plan)
    pace = _optional(plan.work / "pace.json")
    result = {
        **provenance(),
        "machine": {"processor": processor(), "cores": os.cpu_count()},
        "region": plan.region,
        "size": plan.size,
        "cohort": cohort_record(plan),
        "settings": {arm: without_path(plan.tree(arm)) for arm in plan.arms()},
        "core_seconds_per_step": pace.get("core_seconds_per_step", {}),
        "runs": [rounded({key: one for key, one in run.items() if key not in PROVENANCE}) for run in runs],
        "fusion": rounded(_optional(plan.work / "fusion.json")).get("rows", []),
        "common_steps": min((run["common_steps"] for run in runs if "common_steps" in run), default=None),
    }
    write_json(RESULTS / f"{name}.json", result)
    draw_curves(result, PICTURES / f"accuracy-{name}-curves.png")
    draw_patients(plan, result, PICTURES / f"accuracy-{name}-patients.png")
    print(RESULTS / f"{name}.json")


def cohort_record(plan: Plan) -> dict[str, Any]:
    """What the cohort is: who is in which part, and how phantoms were made."""
    counts = {
        part: len([path for path in (plan.cohort / part).iterdir() if path.is_dir()])
        for part in ("paired", "validation", "test")
        if (plan.cohort / part).is_dir()
    }
    unpaired = [arm for arm in plan.arms() if ARMS["arms"][arm].get("data") != "paired"]
    if unpaired:
        prepared = plan.prepared(unpaired[0])
        counts |= {f"training {m}": len(prepared.cases(m, "train")) for m in ("mr", "ct")}
    phantom = _optional(plan.cohort / "phantom.json")
    return {
        "patients": counts,
        "phantom": {key: phantom[key] for key in ("schema", "seed", "spacing_mm") if key in phantom},
    }


def without_path(tree: dict[str, Any]) -> dict[str, Any]:
    """Settings with the name of a weights file instead of where it lies on this machine."""
    if "weights" in tree.get("creps", {}):
        tree["creps"]["weights"] = Path(tree["creps"]["weights"]).name
    return tree


def rounded(value: Any) -> Any:
    """Numbers with the digits that mean something."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list) else value


def _optional(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


if __name__ == "__main__":
    main()
