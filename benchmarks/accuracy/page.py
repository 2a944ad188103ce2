"""Write the results page of the docs from the result files; nothing on it is typed by hand but the words.

    python -m benchmarks.accuracy.page

Reads `benchmarks/accuracy/results/*.json` and `words.yaml`, writes `docs/results.md`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from benchmarks.accuracy.plan import ARMS
from benchmarks.accuracy.tables import (
    REFERENCE,
    bias_by_coverage,
    conditions,
    fusion_table,
    main_table,
    paired_table,
    real_pair_table,
    summary_table,
    tissue_table,
)
from creps.io.atomic import atomic_file

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE.parents[1] / "docs" / "results.md"


def main() -> None:
    words = yaml.safe_load((HERE / "words.yaml").read_text(encoding="utf-8"))
    order = list(words["titles"])
    paths = sorted(
        RESULTS.glob("*.json"), key=lambda path: order.index(path.stem) if path.stem in order else len(order)
    )
    results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    trained = {name: result for name, result in results.items() if "runs" in result}
    lines = ["<!-- Written by benchmarks/accuracy/page.py from its result files: change those, or words.yaml. -->"]
    lines += ["# How good is it? Accuracy with known truth", "", words["introduction"], "## In short", ""]
    lines += [*summary_table(trained, words["short_titles"]), "", words["short"]]
    lines += ["## How it was measured", "", words["measured"]]
    for name, result in trained.items():
        lines += section(name, result, words)
    pairs = {name: result for name, result in results.items() if "pairs" in result}
    if pairs:
        lines += ["## A real pair", "", words["real_pair"], ""]
        lines += [*(line for one in pairs.values() for line in real_pair_table(one)), ""]
    lines += ["## Do it again", "", words["again"]]
    with atomic_file(PAGE) as temporary:
        temporary.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    print(PAGE)


def section(name: str, result: dict[str, Any], words: dict[str, Any]) -> list[str]:
    """One cohort at one size."""
    trained = {run["arm"] for run in result["runs"]} & set(ARMS["arms"])
    lines = [f"## {words['titles'].get(name, name)}", "", *conditions(result), "", words["read"].get(name, ""), ""]
    lines += ["### Equal wall time", "", words["wall_time"], "", *main_table(result, "patients"), ""]
    lines += [f"![curves](pictures/accuracy-{name}-curves.png)", ""]
    lines += [f"![median and worst patients](pictures/accuracy-{name}-patients.png)", ""]
    if REFERENCE in trained:
        lines += [f"### Equal steps: {result['common_steps']}", "", *main_table(result, "patients_at_common_steps"), ""]
    lines += ["### By tissue", "", words["tissue"], "", *tissue_table(result), ""]
    if REFERENCE in trained:
        lines += ["### Against the paper's arm, patient by patient", "", words["paired"], "", *paired_table(result), ""]
    if result["fusion"]:
        lines += ["### Fusion of overlapping patches", "", words["fusion"].get(name, ""), "", *fusion_table(result), ""]
        lines += [words["coverage"], "", *bias_by_coverage(result), ""]
    missing = [arm["title"] for key, arm in ARMS["arms"].items() if key not in trained]
    return lines + ([f"Not run here: {', '.join(missing)}.", ""] if missing else [])


if __name__ == "__main__":
    main()
