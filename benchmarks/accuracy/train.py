"""Train the arms of the benchmark: every seed of every arm is one ordinary run of 'creps train'.

    python -m benchmarks.accuracy.train COHORT WORK --minutes 5 --seeds 0 1 2

`--minutes` is wall time on `--cores` cores. It becomes a number of steps by the pace of each arm (`pace.py`), so
that other work on the machine costs patience and changes no result. Runs that are there are gone on with.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from benchmarks.accuracy.options import parser, plan_of
from benchmarks.accuracy.plan import Plan

CHECKPOINT_EVERY = 100
"""Steps between points of the curves."""


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    budget = arguments.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=float, help="wall time of a run on --cores cores")
    budget.add_argument("--steps", type=int, help="steps of a run")
    arguments.add_argument("--cores", type=int, default=2, help="that --minutes counts with")
    arguments.add_argument("--jobs", type=int, default=2, help="runs side by side, with equal shares of the cores")
    arguments.add_argument("--label", default="", help="added to the runs' names, for tuning")
    arguments.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings to change, for tuning")
    chosen = arguments.parse_args()
    plan = plan_of(chosen)
    arms = plan.arms(chosen.arms)
    for arm in arms:
        plan.prepared(arm)
    steps = {arm: chosen.steps or affordable_steps(plan, arm, 60 * chosen.minutes * chosen.cores) for arm in arms}
    with ThreadPoolExecutor(chosen.jobs) as pool:
        runs = [pool.submit(told, plan, arm, seed, steps[arm], chosen) for seed in chosen.seeds for arm in arms]
    failed = sum(run.result() != 0 for run in runs)
    if failed:
        sys.exit(f"{failed} of {len(runs)} runs did not come to their end: see the logs in {plan.work / 'runs'}.")


def affordable_steps(plan: Plan, arm: str, core_seconds: float) -> int:
    """Steps that fit into a budget, a multiple of `CHECKPOINT_EVERY`."""
    file = plan.work / "pace.json"
    pace = json.loads(file.read_text(encoding="utf-8"))["core_seconds_per_step"] if file.is_file() else {}
    if arm not in pace:
        sys.exit(f"{file} does not know how long a step of {arm} takes. Run pace.py first, or give --steps.")
    return max(1, round(core_seconds / pace[arm] / CHECKPOINT_EVERY)) * CHECKPOINT_EVERY


def told(plan: Plan, arm: str, seed: int, steps: int, chosen: Namespace) -> int:
    """Train, and say how it went."""
    started = time.perf_counter()
    changes = dict(item.split("=", 1) for item in chosen.set)
    code = train(plan, arm, seed, steps, label=chosen.label, changes=changes, jobs=chosen.jobs)
    seconds = time.perf_counter() - started
    print(f"{arm}{chosen.label} seed {seed}: {steps} steps, exit {code}, {seconds:.0f} s", flush=True)
    return code


def train(
    plan: Plan,
    arm: str,
    seed: int,
    steps: int,
    *,
    label: str = "",
    changes: Mapping[str, Any] | None = None,
    jobs: int = 1,
) -> int:
    """One run of 'creps train'; 0 if it came to its end.

    Args:
        plan: Where everything is.
        arm: What is trained.
        seed: Of the run.
        steps: Of the run.
        label: Added to the folder's name.
        changes: Settings by their dotted names, which win over those of the arm and of this benchmark.
        jobs: Runs side by side, which share the cores.
    """
    folder = plan.run(arm, seed, label)
    file = plan.work / "settings" / f"{folder.name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(plan.tree(arm)), encoding="utf-8")
    settings = {
        "training.seed": seed,
        "training.steps": steps,
        "training.epochs": 1_000_000,
        "training.checkpoint_every": CHECKPOINT_EVERY,
        "training.keep_checkpoints": 1_000,
        "training.validate_every": 10 * CHECKPOINT_EVERY,
        **(changes or {}),
    }
    command = [sys.executable, "-m", "creps", "train", str(plan.prepared(arm).folder), "-o", str(folder)]
    command += ["-s", str(file), "--resume", "auto"]
    if model := plan.starts_from(arm):
        command += ["--from", model]
    command += [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // jobs))
    log = Path(f"{folder}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as output:
        environment = {**os.environ, "OMP_NUM_THREADS": threads}
        return subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, env=environment, check=False).returncode


if __name__ == "__main__":
    main()
