"""Score models on the people of the unseen family with known truth: at most twice a candidate.

::

    python -m benchmarks.unseen.score OUT MODEL [MODEL ...] -o scores.json

OUT is what `benchmarks.unseen.cohort` wrote. MAE and bone Dice are inside the body, against the noise-free CT.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from creps import evaluate, load


def scored(model: Path, people: list[Path]) -> list[dict[str, Any]]:
    """A row for each person."""
    loaded, rows = load(model), []
    for person in people:
        sct = loaded.synthesize(person / "mr.nii.gz", force=True).sct
        evaluation: Any = evaluate(sct, person / "ct_noise_free.nii.gz", mask=person / "mask.nii.gz")
        rows.append(
            {"case": person.name} | {name: round(evaluation.values[name], 4) for name in ("mae_hu", "bone_dice")}
        )
        print(model, rows[-1], flush=True)
    return rows


def summary(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Means over people, and the worst of them."""
    errors = [row["mae_hu"] for row in rows]
    return {
        "mae_hu": round(float(np.mean(errors)), 1),
        "worst_mae_hu": round(max(errors), 1),
        "bone_dice": round(float(np.mean([row["bone_dice"] for row in rows])), 3),
    }


def main() -> None:
    """Score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    people = sorted((options.cohort / "test").iterdir())
    rows = {str(model): scored(model, people) for model in options.models}
    for model, of_model in rows.items():
        found = summary(of_model)
        worst, dice = found["worst_mae_hu"], found["bone_dice"]
        print(f"{model}: MAE {found['mae_hu']:.1f} HU, worst {worst:.1f}, bone Dice {dice:.3f}")
    if options.output is not None:
        options.output.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
