"""Trials of single changes: what each brings and what it costs, on validation patients.

    python -m benchmarks.recipe.trials COHORT WORK --steps 600

`trials.yaml` lists them; every trial is one ordinary training of an arm of benchmarks/accuracy with changed settings.
Each run is scored after every 300 steps. Results are kept in `results/trials-REGION.json`, trials that are there are
not run again. docs/ablation.md tells what they say.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.accuracy.options import parser, plan_of
from benchmarks.accuracy.plan import Plan
from benchmarks.accuracy.score import checkpoints, validation_figures
from benchmarks.accuracy.train import train
from creps import load
from creps.io.atomic import write_json
from creps.provenance import provenance

HERE = Path(__file__).parent

TRIALS: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "trials.yaml").read_text(encoding="utf-8"))
EVERY = 300
"""Steps between scores of a trial."""


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--trials", nargs="+", choices=list(TRIALS), default=list(TRIALS))
    arguments.add_argument("--steps", type=int, default=600)
    arguments.add_argument("--seed", type=int, default=10)
    chosen = arguments.parse_args()
    torch.set_num_threads(1)
    plan = plan_of(chosen)
    file = HERE / "results" / f"trials-{plan.region}.json"
    for name in chosen.trials:
        known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {"trials": {}}
        key = f"{name} seed {chosen.seed}"
        if any(point["steps"] >= chosen.steps for point in known["trials"].get(key, [])):
            continue
        points = run_trial(plan, name, chosen.seed, chosen.steps)
        file.parent.mkdir(exist_ok=True)
        write_json(file, {**known, **provenance(), "trials": known["trials"] | {key: points}})
        print(key, points[-1] if points else "was not trained", flush=True)


def run_trial(plan: Plan, name: str, seed: int, steps: int) -> list[dict[str, float]]:
    """Train, and score the validation patients after every `EVERY` steps."""
    trial = TRIALS[name]
    label = f"-trial-{name}"
    train(plan, trial["arm"], seed, steps, label=label, changes=trial.get("settings"))
    run = plan.run(trial["arm"], seed, label)
    found = checkpoints(run).items()
    return [{"steps": done} | validation_figures(plan, load(path)) for done, path in found if done % EVERY == 0]


if __name__ == "__main__":
    main()
